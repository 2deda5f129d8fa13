//! What a scenario file says: the one description of a run.
//!
//! Values are checked while they are read, by their own types, so that every complaint points at
//! its line and column. `docs/scenarios.md` documents every key.

pub mod duration;
mod problem;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::campaign::{PerUser, Precedence};
use serde::{Deserialize, Serialize};

pub use duration::Span;
pub use problem::ScenarioError;

use crate::mapping::Mapping;
use crate::thresholds::Threshold;

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Names the run's folder.
    pub name: Name,
    /// Seed of everything random; `--seed` overrides it. The same seed gives the same plan.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The campaign that the run creates.
    pub campaign: Campaign,
    /// What is put under load.
    pub system: System,
    /// How to speak with it; absent means the reference server's interface.
    #[serde(default = "Mapping::coupon_server")]
    pub mapping: Mapping,
    /// The load.
    pub load: Load,
    /// What the run has to keep to.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
}

fn default_seed() -> u64 {
    1
}

/// A name that is also a folder's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        if (1..=60).contains(&text.chars().count()) && text.chars().all(fits) {
            return Ok(Self(text));
        }
        Err(format!("name {text:?}: expected 1 to 60 letters, digits, '-' or '_'"))
    }
}

/// The campaign that the run creates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// How many coupons there are.
    pub coupons: u64,
    /// When it starts, from its creation on.
    pub starts_in: Span,
    /// Coupons a user may get; only 1 is supported, absent means any number.
    #[serde(default)]
    pub per_user_limit: Option<One>,
    /// What a user who holds a coupon is told once all are gone; the reference server says
    /// `already_issued` always.
    #[serde(default = "already_first")]
    pub precedence: Precedence,
}

impl Campaign {
    /// The limit per user, if there is one, as the history has it.
    pub fn per_user(&self) -> Option<PerUser> {
        let precedence = self.precedence;
        self.per_user_limit.map(|limit| PerUser { limit: limit.into(), precedence })
    }
}

fn already_first() -> Precedence {
    Precedence::AlreadyFirst
}

/// The number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct One;

impl TryFrom<u32> for One {
    type Error = String;

    fn try_from(n: u32) -> Result<Self, String> {
        if n == 1 { Ok(Self) } else { Err(format!("per_user_limit {n}: only 1 is supported")) }
    }
}

impl From<One> for u32 {
    fn from(_: One) -> Self {
        1
    }
}

/// What is put under load: instances that the run starts, or targets that run already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSystem")]
pub struct System {
    /// Who answers.
    #[serde(flatten)]
    pub origin: Origin,
    /// URL of the store behind it, for the verifier, and for `{store}` in a command.
    pub store: Option<String>,
}

/// Where the targets come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The run starts and stops them.
    Spawn(Spawn),
    /// They run already.
    Targets(Vec<Target>),
}

/// How instances are started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    /// Program and arguments; `{port}`, `{store}`, `{instance}` and `{run}` are filled in.
    pub command: Command,
    /// How many instances.
    #[serde(default = "default_instances")]
    pub instances: Instances,
    /// Further environment variables, filled in like the command.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Path that answers 200 once an instance is ready.
    #[serde(default = "default_ready")]
    pub ready: UrlPath,
}

fn default_instances() -> Instances {
    Instances(1)
}

fn default_ready() -> UrlPath {
    UrlPath("/readyz".into())
}

/// Program and arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Command(Vec<String>);

impl Command {
    /// The words, the program first; never empty.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Command {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        if !words.iter().any(|w| w.contains("{port}")) {
            return Err("command: expected program and arguments with {port} in one of them".into());
        }
        Ok(Self(words))
    }
}

/// How many instances: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Instances(u16);

impl TryFrom<u16> for Instances {
    type Error = String;

    fn try_from(n: u16) -> Result<Self, String> {
        let fits = (1..=100).contains(&n);
        fits.then_some(Self(n)).ok_or_else(|| format!("instances {n}: expected 1 to 100"))
    }
}

impl From<Instances> for u16 {
    fn from(n: Instances) -> Self {
        n.0
    }
}

/// An absolute path of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UrlPath(String);

impl UrlPath {
    /// The path, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UrlPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with('/') && text.parse::<hyper::Uri>().is_ok() {
            return Ok(Self(text));
        }
        Err(format!("{text:?}: expected a path like /readyz"))
    }
}

/// Base URL of a target that runs already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// Host and port.
    pub authority: String,
}

impl Target {
    /// Base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("target {text:?}: expected http://HOST:PORT");
        let uri: hyper::Uri = text.parse().map_err(|_| wrong())?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        match uri.authority() {
            Some(a) if plain && uri.query().is_none() && !a.as_str().contains('@') => {
                let port = a.port_u16().unwrap_or(80);
                Ok(Self { authority: format!("{}:{port}", a.host()) })
            }
            _ => Err(wrong()),
        }
    }
}

impl From<Target> for String {
    fn from(t: Target) -> Self {
        t.url()
    }
}

/// `system` as the file spells it: exactly one of the two origins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSystem {
    spawn: Option<Spawn>,
    targets: Option<Vec<Target>>,
    store: Option<String>,
}

impl TryFrom<RawSystem> for System {
    type Error = String;

    fn try_from(raw: RawSystem) -> Result<Self, String> {
        let origin = match (raw.spawn, raw.targets) {
            (Some(spawn), None) => Origin::Spawn(spawn),
            (None, Some(targets)) if (1..=1000).contains(&targets.len()) => {
                Origin::Targets(targets)
            }
            (None, Some(_)) => return Err("targets: expected 1 to 1,000 URLs".into()),
            _ => return Err("system: expected one of `spawn` and `targets`".into()),
        };
        Ok(Self { origin, store: raw.store })
    }
}

/// The load: an open model, so arrivals follow this plan whatever the answers do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// When the first stage begins, from the campaign's start on; negative is before it.
    pub begin: Span,
    /// Stages, one after another.
    pub stages: Vec<Stage>,
    /// Arrivals on top of the stages.
    #[serde(default)]
    pub bursts: Vec<Burst>,
    /// How arrivals lie within the stages.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Which target gets an arrival.
    #[serde(default)]
    pub spread: Spread,
    /// After how long an attempt is given up.
    #[serde(default = "default_timeout")]
    pub timeout: Positive,
    /// How many attempts may be under way at once; an arrival above it is dropped and counted.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: InFlight,
}

fn default_timeout() -> Positive {
    Positive(Span::from_millis(5_000))
}

fn default_max_in_flight() -> InFlight {
    InFlight(4_096)
}

/// How arrivals lie within the stages. Bursts are always even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// As independent people come: a Poisson process with the stages' rate, drawn from the seed.
    Poisson,
}

/// Which target gets an arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// They take turns: each gets the same share in each phase of the launch.
    #[default]
    RoundRobin,
    /// By lot, drawn from the seed.
    Random,
    /// The same user always the same target.
    ByUser,
}

/// A stretch of time with a rate that stays or changes evenly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How long.
    #[serde(rename = "for")]
    pub length: Positive,
    /// Arrivals a second at its beginning.
    pub rate: Rate,
    /// Arrivals a second at its end; absent means the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Rate>,
}

/// Arrivals on top of the stages, spread evenly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// When it begins, from the campaign's start on.
    pub at: Span,
    /// How many arrivals.
    pub requests: BurstSize,
    /// Over how long they are spread.
    pub over: Span,
}

/// Arrivals a second: 0 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate(f64);

impl Rate {
    /// Arrivals a second.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        let fits = (0.0..=1_000_000.0).contains(&rate);
        fits.then_some(Self(rate))
            .ok_or_else(|| format!("rate {rate}: expected 0 to 1,000,000 arrivals a second"))
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

/// A span of more than no time, at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Span")]
pub struct Positive(Span);

impl Positive {
    /// The span.
    pub fn span(self) -> Span {
        self.0
    }
}

impl TryFrom<Span> for Positive {
    type Error = String;

    fn try_from(span: Span) -> Result<Self, String> {
        let fits = span.nanos() > 0 && span.nanos() <= Span::DAY.nanos();
        fits.then_some(Self(span))
            .ok_or_else(|| format!("{span}: expected more than 0s, at most 24h"))
    }
}

macro_rules! count {
    ($(#[$doc:meta])* $name:ident, $key:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl TryFrom<u32> for $name {
            type Error = String;

            fn try_from(n: u32) -> Result<Self, String> {
                let fits = (1..=$max).contains(&n);
                fits.then_some(Self(n)).ok_or_else(|| format!("{} {n}: expected 1 to {}", $key, $max))
            }
        }

        impl From<$name> for u32 {
            fn from(n: $name) -> Self {
                n.0
            }
        }
    };
}

count! {
    /// How many attempts may be under way at once.
    InFlight, "max_in_flight", 65_536
}
count! {
    /// How many arrivals a burst has.
    BurstSize, "requests", 1_000_000
}

/// What the command line says on top of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `KEY=VALUE` with a dotted key and a YAML value.
    pub set: Vec<String>,
    /// Replaces `system.store`.
    pub store: Option<String>,
    /// Replace `system.spawn` or `system.targets`.
    pub targets: Vec<String>,
    /// Replaces `seed`.
    pub seed: Option<u64>,
}

impl Scenario {
    /// Reads a scenario file and applies what the command line says on top.
    ///
    /// # Errors
    /// When the file cannot be read or says something it must not; the message has the place.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Io { path: path.to_owned(), source })?;
        let scenario = Self::parse(path, &text)?.overridden(path, &text, &overrides.set)?;
        scenario.redirected(overrides)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            serde_saphyr::from_str(text).map_err(|e| problem::at(path, text, e))?;
        scenario.checked(&path.display().to_string())
    }

    /// What no single value can know.
    fn checked(self, place: &str) -> Result<Self, ScenarioError> {
        let wrong = |what: &str| ScenarioError::Wrong { place: place.into(), what: what.into() };
        if self.campaign.starts_in.nanos() < 0 {
            return Err(wrong("campaign.starts_in: expected 0s or later"));
        }
        let first =
            self.load.bursts.iter().map(|b| b.at.nanos()).fold(self.load.begin.nanos(), i64::min);
        if -first > self.campaign.starts_in.nanos() {
            return Err(wrong(
                "the load begins before the campaign is created: expected load.begin and bursts.at \
                 no earlier than -campaign.starts_in",
            ));
        }
        if self.load.bursts.iter().any(|b| b.over.nanos() < 0) {
            return Err(wrong("load.bursts: `over` is negative"));
        }
        self.mapping.check().map_err(|what| wrong(&format!("mapping: {what}")))?;
        if self.load.stages.is_empty() && self.load.bursts.is_empty() {
            return Err(wrong("load.stages: expected at least one stage or burst"));
        }
        Ok(self)
    }

    /// Applies `--set`. The file alone was fine, so whatever is wrong now is in a `--set`.
    fn overridden(self, path: &Path, text: &str, set: &[String]) -> Result<Self, ScenarioError> {
        if set.is_empty() {
            return Ok(self);
        }
        let mut value: serde_json::Value =
            serde_saphyr::from_str(text).map_err(|e| problem::at(path, text, e))?;
        let mut scenario = self;
        for assignment in set {
            let place = format!("--set {assignment}");
            let wrong = |what: String| ScenarioError::Wrong { place: place.clone(), what };
            assign(&mut value, assignment).map_err(wrong)?;
            scenario = serde_json::from_value(value.clone())
                .map_err(|e| problem::in_set(&place, &e.to_string()))?;
        }
        // What depends on several values is judged once all of them are set.
        scenario.checked(&format!("--set {}", set.join(" --set ")))
    }

    /// Applies `--store`, `--target` and `--seed`.
    fn redirected(mut self, overrides: &Overrides) -> Result<Self, ScenarioError> {
        if let Some(store) = &overrides.store {
            self.system.store = Some(store.clone());
        }
        if !overrides.targets.is_empty() {
            let parse = |text: &String| {
                Target::try_from(text.clone())
                    .map_err(|what| ScenarioError::Wrong { place: "--target".into(), what })
            };
            let targets = overrides.targets.iter().map(parse).collect::<Result<_, _>>()?;
            self.system.origin = Origin::Targets(targets);
        }
        if let Some(seed) = overrides.seed {
            self.seed = seed;
        }
        Ok(self)
    }
}

/// Sets one value in the scenario: `load.stages.0.rate=200`.
fn assign(scenario: &mut serde_json::Value, assignment: &str) -> Result<(), String> {
    let (key, text) = assignment
        .split_once('=')
        .ok_or_else(|| "expected KEY=VALUE, such as campaign.coupons=100".to_owned())?;
    let value = serde_saphyr::from_str(text).map_err(|_| format!("{text:?} is not YAML"))?;
    let mut place = scenario;
    for part in key.split('.') {
        place = match place {
            serde_json::Value::Object(map) => map.entry(part).or_insert(serde_json::Value::Null),
            serde_json::Value::Array(list) => {
                let length = list.len();
                part.parse::<usize>().ok().and_then(|i| list.get_mut(i)).ok_or_else(|| {
                    format!(
                        "{part:?} is no place in this list: expected 0 to {}",
                        length.max(1) - 1
                    )
                })?
            }
            serde_json::Value::Null => {
                *place = serde_json::json!({ part: null });
                &mut place[part]
            }
            serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => {
                return Err(format!("{part:?} is inside a single value"));
            }
        };
    }
    *place = value;
    Ok(())
}

/// Where the scenarios that come with the project lie; for tests.
#[doc(hidden)]
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

#[cfg(test)]
mod tests;
