//! Where somebody's system keeps its coupons, and how to read them: the store mapping.
//!
//! The trick is that everything in any store is one of five things ([`Meaning`]): rows, a count that
//! goes up, one that goes down, how many there are at all, or work that still waits. A mapping is a
//! list of readings, each of which says where something stands and which of the five it is. It stands
//! in a scenario as `store`, or in a file of its own. `docs/store-mapping.md` documents every key.

mod pattern;
mod place;
mod reading;
mod url;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::yaml::duration::{NOT_NEGATIVE, Span};
use crate::yaml::{self, Wrong};

pub use pattern::{Captured, Pattern};
pub use place::{Cell, JsonAt, Query};
pub use reading::{List, PAGES, Reading, RedisKey, Source};
pub use url::{Scheme, Secret, StoreUrl, URLS};

/// A store mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawMapping")]
#[schemars(with = "RawMapping", rename = "StoreMapping")]
pub struct Mapping {
    /// Where readings look that name no place of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<StoreUrl>,
    /// When the stores count as settled.
    pub settle: Settle,
    /// What is read.
    pub read: Vec<Reading>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawMapping {
    /// Where readings look that name no place of their own; absent means `--store`, or else
    /// `system.store`.
    url: Option<StoreUrl>,
    /// When the stores count as settled.
    #[serde(default)]
    settle: Settle,
    /// What is read, in this order.
    #[schemars(extend("minItems" = 1))]
    read: Vec<Reading>,
}

impl TryFrom<RawMapping> for Mapping {
    type Error = String;

    fn try_from(raw: RawMapping) -> Result<Self, String> {
        let RawMapping { url, settle, read } = raw;
        if read.is_empty() {
            return Err("read: expected at least one reading".into());
        }
        for (at, reading) in read.iter().enumerate() {
            if let (Some(url), None) = (&url, &reading.url) {
                reading.from.fits(url).map_err(|what| format!("read[{at}]: {what}"))?;
            }
        }
        let ledgers = read.iter().filter(|r| r.is == Meaning::Ledger).count();
        if ledgers > 1 {
            return Err(format!(
                "read: found {ledgers} ledgers, expected one; of the others say `is: issued`, which \
                 counts them"
            ));
        }
        Ok(Self { url, settle, read })
    }
}

/// When stores count as settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// How long they must stand still where something is missing in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still: Option<Wait>,
    /// They are given up after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Wait>,
}

/// A span of time that is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Span", into = "Span")]
#[schemars(with = "Span", inline, extend("pattern" = NOT_NEGATIVE))]
pub struct Wait(Span);

impl Wait {
    /// Its length.
    pub fn duration(self) -> std::time::Duration {
        self.0.to_duration()
    }
}

impl TryFrom<Span> for Wait {
    type Error = String;

    fn try_from(span: Span) -> Result<Self, String> {
        if span.nanos() < 0 {
            return Err(format!("found {span}, expected 0s or more"));
        }
        Ok(Self(span))
    }
}

impl From<Wait> for Span {
    fn from(wait: Wait) -> Self {
        wait.0
    }
}

/// What something in a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// One row a coupon that was issued.
    Ledger,
    /// How many coupons were issued.
    Issued,
    /// How many coupons are left.
    Remaining,
    /// How many coupons there are, issued or not.
    Total,
    /// How much work still waits to be written down. The store is at rest when it is 0.
    Waiting,
}

/// What a row of a ledger can tell.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// The coupon's code.
    Code,
    /// Whose it is.
    User,
    /// The idempotency key of its request.
    Key,
    /// What the system calls this issue, such as an order id.
    Order,
    /// Its rank, from 1.
    Seq,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Code, Self::User, Self::Key, Self::Order, Self::Seq];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::User => "user",
            Self::Key => "key",
            Self::Order => "order",
            Self::Seq => "seq",
        }
    }

    /// The column of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    /// All names, for a message.
    pub fn list() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl Mapping {
    /// Reads a mapping from a file of its own.
    ///
    /// # Errors
    /// When it cannot be read or says something it must not; the message has the place.
    pub fn load(path: &Path) -> Result<Self, Wrong> {
        let place = || path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|e| Wrong { place: place(), what: e.to_string() })?;
        let text = String::from_utf8(bytes)
            .map_err(|e| yaml::no_text(path, e.as_bytes(), e.utf8_error().valid_up_to()))?;
        yaml::read(path, &text, "a store mapping (see docs/store-mapping.md)")
    }

    /// Whether the environment has every variable that it names.
    ///
    /// # Errors
    /// Which one it lacks; the message begins with the keys that lead there.
    pub fn check_variables(&self) -> Result<(), String> {
        let urls = self.read.iter().enumerate();
        let urls = urls.filter_map(|(at, r)| Some((format!("read[{at}].url"), r.url.as_ref()?)));
        let own = self.url.iter().map(|url| ("url".to_owned(), url));
        for (key, url) in own.chain(urls) {
            url.expanded().map_err(|what| format!("{key}: {what}"))?;
        }
        for (at, reading) in self.read.iter().enumerate() {
            let Source::Http(list) = &reading.from else { continue };
            for (name, value) in &list.headers {
                value.expanded().map_err(|what| format!("read[{at}].headers.{name}: {what}"))?;
            }
        }
        Ok(())
    }
}
