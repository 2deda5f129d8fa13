//! Where a store is. Passwords are used and never shown.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secrets;

/// A text that may name variables of the environment, and is never shown with their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Secret(String);

impl Secret {
    /// The text with its variables filled in.
    ///
    /// # Errors
    /// When the environment lacks one.
    pub fn expanded(&self) -> Result<String, String> {
        secrets::expanded(&self.0).map(std::borrow::Cow::into_owned)
    }
}

/// URL of a store: `redis://`, `rediss://`, `redis-cluster://`, `rediss-cluster://`, `redis-sentinel://`,
/// `rediss-sentinel://`, `redis+unix://`, `postgres://`, `mysql://`, `mariadb://`, `sqlite:PATH`, `http://` or `https://`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline, example = &"redis://127.0.0.1:6379/0")]
pub struct StoreUrl(String);

/// Which kind of store a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Redis, or a cluster of it.
    Redis,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
    /// HTTP, with TLS or without.
    Http,
}

impl Scheme {
    /// The kind of store at this URL.
    pub fn of(url: &str) -> Option<Self> {
        Some(match url.split_once(':')?.0 {
            "redis" | "rediss" | "redis+unix" | "redis-cluster" | "rediss-cluster"
            | "redis-sentinel" | "rediss-sentinel" => Self::Redis,
            "postgres" | "postgresql" => Self::Postgres,
            "mysql" | "mariadb" => Self::MySql,
            "sqlite" => Self::Sqlite,
            "http" | "https" => Self::Http,
            _ => return None,
        })
    }
}

/// What the URL of a store looks like.
pub const URLS: &str = "redis://…, rediss://…, redis-cluster://…, redis-sentinel://…, postgres://…, mysql://…, \
                        mariadb://…, sqlite:PATH or http://…";

impl TryFrom<String> for StoreUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with("${") || Scheme::of(&text).is_some() {
            return Ok(Self(text));
        }
        Err(format!("found {:?}, expected {URLS}", secrets::without_password(&text)))
    }
}

/// What is written down: a password only where it is a variable of the environment.
impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        secrets::recorded(&url.0)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&secrets::recorded(&self.0))
    }
}

impl StoreUrl {
    /// The URL with the variables of the environment filled in.
    ///
    /// # Errors
    /// When the environment lacks one.
    pub fn expanded(&self) -> Result<String, String> {
        secrets::expanded_url(&self.0).map(std::borrow::Cow::into_owned)
    }

    pub(super) fn scheme(&self) -> Option<Scheme> {
        Scheme::of(&self.0)
    }
}
