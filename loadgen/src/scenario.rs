//! What a scenario file says: the one description of a run.
//!
//! Values are checked while they are read, by their own types, so that every complaint points at
//! its line and column. `docs/scenarios.md` documents every key.

pub mod buyers;
mod number;
mod problem;
pub mod schema;
mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use contract::campaign::{PerUser, Precedence};
use contract::store;
use contract::yaml::duration;
pub use contract::yaml::duration::Span;
use contract::yaml::spelled::Spelled;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use buyers::{Buyer, Pause};
use number::number;
pub use problem::ScenarioError;
use schema::{Text, one_of};
pub use target::{Protocol, Scheme, Target, Trust};

use crate::mapping::{Around, Mapping};
use crate::schedule::Schedule;
use crate::secrets;
use crate::thresholds::Threshold;
use crate::users::{Unread, UserList, Users};

/// Gives a complaint its place.
type Wrong<'a> = dyn Fn(String) -> ScenarioError + 'a;

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Who asks; absent means that users are made up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<UserList>,
    /// How to speak with it; absent means the reference server's interface.
    #[serde(default = "Mapping::coupon_server")]
    #[schemars(transform = schema::without_default)]
    pub mapping: Mapping,
    /// How the verifier reads the store; absent means the reference server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<store::Mapping>,
    /// The load.
    pub load: Load,
    /// How buyers behave; without it each asks once.
    #[serde(default)]
    pub buyers: Vec<Buyer>,
    /// What the run has to keep to.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
}

fn default_seed() -> u64 {
    1
}

/// A name that is also a folder's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "Text", extend("pattern" = r"^[\p{L}\p{N}_-]{1,60}$"), example = &"launch")]
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
        Err(format!("found {text:?}, expected 1 to 60 letters, digits, '-' or '_'"))
    }
}

/// The campaign that the run creates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// How many coupons there are.
    pub coupons: u64,
    /// When it starts, from its creation on.
    pub starts_in: Span,
    /// When it starts, as an instant: `--start-at`. Then `starts_in` means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// How many such campaigns the run has, each with the whole load.
    #[serde(default)]
    pub count: Count,
    /// How much later each starts than the one before; `0s` is side by side.
    #[serde(default)]
    pub apart: Pause,
    /// Whether coupons may come back during the run, such as reservations that expire.
    #[serde(default)]
    pub restock: bool,
    /// Reads may show a state that is so old, such as that of a replica or a cache; for the verifier.
    #[serde(default)]
    pub read_lag: Pause,
    /// Coupons a user may get; only 1 is supported, absent means any number.
    #[serde(default)]
    pub per_user_limit: Option<One>,
    /// What a user who holds a coupon is told once all are gone; the reference server says
    /// `already_issued` always.
    #[serde(default = "already_first")]
    #[schemars(schema_with = "precedences")]
    pub precedence: Precedence,
}

impl Campaign {
    /// The limit per user, if there is one, as the history has it.
    pub fn per_user(&self) -> Option<PerUser> {
        let precedence = self.precedence;
        self.per_user_limit.map(|limit| PerUser { limit: limit.into(), precedence })
    }
}

/// The type is not this crate's, so its words are taken from its values.
fn precedences(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let all = [Precedence::AlreadyFirst, Precedence::SoldOutFirst, Precedence::Either];
    schemars::json_schema!({ "type": "string", "enum": all })
}

fn already_first() -> Precedence {
    Precedence::AlreadyFirst
}

/// The number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(with = "u32", extend("minimum" = 1, "maximum" = 1))]
pub struct One;

impl TryFrom<u32> for One {
    type Error = String;

    fn try_from(n: u32) -> Result<Self, String> {
        if n == 1 { Ok(Self) } else { Err(format!("found {n}, only 1 is supported")) }
    }
}

impl From<One> for u32 {
    fn from(_: One) -> Self {
        1
    }
}

/// What is put under load: instances that the run starts, or targets that run already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawSystem")]
#[schemars(with = "RawSystem")]
pub struct System {
    /// Who answers.
    #[serde(flatten)]
    pub origin: Origin,
    /// URL of the store behind it, for the verifier, and for `{store}` in a command.
    pub store: Option<String>,
    /// Which HTTP the load speaks with it.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whose certificates are accepted where a target has TLS.
    #[serde(default)]
    pub tls: Trust,
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

impl System {
    /// Whether it takes its time from the same processors as the load: it is on this machine.
    pub fn is_here(&self) -> bool {
        match &self.origin {
            Origin::Spawn(_) => true,
            Origin::Targets(targets) => targets.iter().all(Target::is_here),
        }
    }
}

/// How instances are started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    /// Program and arguments; `{port}`, `{store}`, `{instance}` and `{run}` are filled in.
    pub command: Command,
    /// How many instances.
    #[serde(default = "default_instances")]
    pub instances: Instances,
    /// Further environment variables, filled in like the command.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Text>")]
    pub env: BTreeMap<String, String>,
    /// Path that answers 200 once an instance is ready.
    #[serde(default = "default_ready")]
    pub ready: UrlPath,
    /// What single instances get besides: the first entry is the first instance's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<OneInstance>,
}

/// What one instance gets besides what all get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneInstance {
    /// Further environment variables; they replace those of the same name that all get.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Text>")]
    pub env: BTreeMap<String, String>,
    /// Further arguments, behind those that all get.
    #[serde(default)]
    #[schemars(with = "Vec<Text>")]
    pub args: Vec<String>,
}

impl Spawn {
    /// What instance `number` gets besides, counted from 1.
    pub fn one(&self, number: u16) -> Option<&OneInstance> {
        self.each.get(usize::from(number).checked_sub(1)?)
    }

    /// What is wrong with it as a whole, if anything is.
    fn check(&self) -> Result<(), String> {
        let (settings, instances) = (self.each.len(), u16::from(self.instances));
        if settings > usize::from(instances) {
            return Err(format!(
                "system.spawn.each: settings for {settings} instances, expected at most \
                 {instances}, which is system.spawn.instances"
            ));
        }
        all_known("system.spawn.command", self.command.words())?;
        all_set("system.spawn.env", &self.env)?;
        self.each.iter().enumerate().try_for_each(|(at, one)| {
            all_set(&format!("system.spawn.each[{at}].env"), &one.env)?;
            all_known(&format!("system.spawn.each[{at}].args"), &one.args)
        })
    }
}

/// Whether the environment has every variable that is named in a list.
fn all_known(at: &str, texts: &[String]) -> Result<(), String> {
    texts.iter().enumerate().try_for_each(|(n, text)| {
        secrets::expanded(text).map(|_| ()).map_err(|what| format!("{at}[{n}]: {what}"))
    })
}

/// The same for variables that are set.
fn all_set(at: &str, variables: &BTreeMap<String, String>) -> Result<(), String> {
    variables.iter().try_for_each(|(name, text)| {
        secrets::expanded(text).map(|_| ()).map_err(|what| format!("{at}.{name}: {what}"))
    })
}

fn default_instances() -> Instances {
    Instances(1)
}

fn default_ready() -> UrlPath {
    UrlPath("/readyz".into())
}

/// Program and arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<String>")]
#[schemars(with = "Vec<Text>", extend("contains" = { "type": "string", "pattern": r"\{port\}" }))]
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
            return Err("expected program and arguments with {port} in one of them".into());
        }
        Ok(Self(words))
    }
}

/// How many instances: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64", into = "u16")]
#[schemars(with = "u16", extend("minimum" = 1, "maximum" = 100))]
pub struct Instances(u16);

impl TryFrom<u64> for Instances {
    type Error = String;

    fn try_from(n: u64) -> Result<Self, String> {
        let fits = u16::try_from(n).ok().filter(|n| (1..=100).contains(n));
        fits.map(Self).ok_or_else(|| format!("found {n}, expected 1 to 100"))
    }
}

impl From<Instances> for u16 {
    fn from(n: Instances) -> Self {
        n.0
    }
}

/// An absolute path of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "Text", extend("pattern" = "^/"), example = &"/readyz")]
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
        Err(format!("found {text:?}, expected a path like /readyz"))
    }
}

/// `system` as the file spells it: exactly one of the two origins.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = one_of(&["spawn", "targets"])))]
struct RawSystem {
    /// Instances that the run starts and stops.
    spawn: Option<Spawn>,
    /// Base URLs of a system that runs already; instead of `spawn`.
    targets: Option<Targets>,
    /// URL of the store behind it, for the verifier, and for `{store}` in a command; `{run}` is the
    /// run's folder.
    store: Option<String>,
    /// Which HTTP the load speaks with it.
    #[serde(default)]
    protocol: Protocol,
    /// Whose certificates are accepted where a target has TLS.
    #[serde(default)]
    tls: Trust,
}

/// 1 to 1,000 targets.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Target>")]
#[schemars(with = "Vec<Target>", inline, extend("minItems" = 1, "maxItems" = 1_000))]
struct Targets(Vec<Target>);

impl TryFrom<Vec<Target>> for Targets {
    type Error = String;

    fn try_from(targets: Vec<Target>) -> Result<Self, String> {
        if (1..=1_000).contains(&targets.len()) {
            return Ok(Self(targets));
        }
        Err(format!("found {} URLs, expected 1 to 1,000", targets.len()))
    }
}

impl TryFrom<RawSystem> for System {
    type Error = String;

    fn try_from(raw: RawSystem) -> Result<Self, String> {
        let origin = match (raw.spawn, raw.targets) {
            (Some(spawn), None) => Origin::Spawn(spawn),
            (None, Some(Targets(targets))) => Origin::Targets(targets),
            _ => return Err("expected one of `spawn` and `targets`".into()),
        };
        Ok(Self { origin, store: raw.store, protocol: raw.protocol, tls: raw.tls })
    }
}

/// The load: an open model, so arrivals follow this plan whatever the answers do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// When the first stage begins, from the campaign's start on; negative is before it.
    #[serde(default)]
    pub begin: Span,
    /// Stages, one after another.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// As much as so many connections carry, instead of stages and bursts: not an open model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturate: Option<Saturate>,
    /// Connections that are opened before the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// How often the campaign is read during the load, times a second; see `mapping.reads`.
    #[serde(default)]
    pub reads: Rate,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// As independent people come: a Poisson process with the stages' rate, drawn from the seed.
    Poisson,
}

/// Which target gets an arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

impl Load {
    /// What two of its keys say against each other.
    fn contradiction(&self) -> Option<&'static str> {
        let planned = !self.stages.is_empty() || !self.bursts.is_empty();
        match &self.saturate {
            Some(_) if planned => Some("load.saturate: expected no stages and no bursts beside it"),
            None if !planned => Some("load.stages: expected at least one stage or burst"),
            _ => None,
        }
    }
}

/// A stretch of time with a rate that stays or changes evenly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// When it begins, from the campaign's start on.
    pub at: Span,
    /// How many arrivals.
    pub requests: BurstSize,
    /// Over how long they are spread.
    pub over: Span,
}

/// As much as some connections carry: each sends the next request once the last is answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Saturate {
    /// How many connections, over all targets.
    pub connections: InFlight,
    /// For how long, from `load.begin` on.
    #[serde(rename = "for")]
    pub length: Positive,
}

/// Connections that are opened and proven alive before the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// How many connections to each target.
    pub connections: InFlight,
    /// How many are opened a second, over all targets.
    #[serde(default)]
    pub rate: Opening,
    /// What is asked on each with GET; any whole answer proves that it is alive.
    #[serde(default = "root")]
    pub path: UrlPath,
}

fn root() -> UrlPath {
    UrlPath("/".into())
}

/// Arrivals a second: 0 to 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64", extend("minimum" = 0, "maximum" = 1_000_000))]
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
            .ok_or_else(|| format!("found {rate}, expected 0 to 1,000,000 arrivals a second"))
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

/// A span of more than no time, at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Span")]
#[schemars(with = "Span", extend("pattern" = duration::POSITIVE))]
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
            .ok_or_else(|| format!("found {span}, expected more than 0s, at most 24h"))
    }
}

number! {
    /// How many attempts may be under way at once.
    InFlight, 65_536, "65,536"
}
number! {
    /// How many connections are opened a second.
    Opening, 1_000_000, "1,000,000"
}

impl Default for Opening {
    fn default() -> Self {
        Self(500)
    }
}

number! {
    /// How many campaigns a run has.
    Count, 10_000, "10,000"
}

impl Default for Count {
    fn default() -> Self {
        Self(1)
    }
}

number! {
    /// How many arrivals a burst has.
    BurstSize, 1_000_000, "1,000,000"
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
    /// Replaces `campaign.starts_in` and `campaign.starts_at`.
    pub start_at: Option<DateTime<Utc>>,
}

impl Overrides {
    /// The flags that a complaint may be about; `None` where there are none.
    fn place(&self) -> Option<String> {
        let set = self.set.iter().map(|assignment| set_flag(assignment));
        let others = [
            (self.store.is_some(), "--store"),
            (!self.targets.is_empty(), "--target"),
            (self.seed.is_some(), "--seed"),
            (self.start_at.is_some(), "--start-at"),
        ];
        let others = others.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.into());
        let all: Vec<String> = set.chain(others).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }
}

impl Scenario {
    /// Reads a scenario file and applies what the command line says on top.
    ///
    /// # Errors
    /// When the file cannot be read or says something it must not; the message has the place.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let bytes = std::fs::read(path)
            .map_err(|source| ScenarioError::Io { path: path.to_owned(), source })?;
        let text = String::from_utf8(bytes)
            .map_err(|e| problem::no_text(path, e.as_bytes(), e.utf8_error().valid_up_to()))?;
        Self::parse(path, &text, overrides)
    }

    /// Reads a scenario file as [`Self::load`] does, and says besides what `run` would say of it
    /// before anything is started.
    ///
    /// # Errors
    /// The same, and when there are fewer users than arrivals.
    pub fn validate(path: &Path) -> Result<Self, ScenarioError> {
        let scenario = Self::load(path, &Overrides::default())?;
        // Without a count there are as many as it takes, and a plan need not be made.
        if scenario.users().count().is_some() && scenario.load.saturate.is_none() {
            let arrivals = Schedule::of(&scenario).buyers();
            if let Err(too_few) = scenario.users().enough_for(arrivals) {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ScenarioError::Io { path: path.to_owned(), source })?;
                return Err(problem::whole(path, &text, &format!("users: {too_few}")));
            }
        }
        Ok(scenario)
    }

    /// The path of a CA file counts from the scenario's folder.
    fn beside(mut self, path: &Path) -> Self {
        if let (Trust::Also(file), Some(dir)) = (&mut self.system.tls, path.parent()) {
            *file = dir.join(&file);
        }
        self
    }

    fn parse(path: &Path, text: &str, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let file: Self = serde_saphyr::from_str(text).map_err(|e| problem::at(path, text, &e))?;
        let in_file = |what: String| problem::whole(path, text, &what);
        let Some(place) = overrides.place() else { return file.whole(path, &in_file) };
        let changed = file.clone().overridden(text, &overrides.set)?.redirected(overrides)?;
        let by_flags = |what| ScenarioError::Wrong { place: place.clone(), what };
        changed.whole(path, &by_flags).map_err(|error| match file.whole(path, &in_file) {
            // No flag is to blame.
            Err(alone) if alone.what() == error.what() => alone,
            Err(_) | Ok(_) => error,
        })
    }

    /// The same with its users, if all its parts fit together.
    fn whole(self, path: &Path, wrong: &Wrong<'_>) -> Result<Self, ScenarioError> {
        Ok(self.peopled(path, wrong)?.checked(wrong)?.beside(path))
    }

    /// Reads the users' file, whose path counts from the scenario's folder.
    fn peopled(mut self, path: &Path, wrong: &Wrong<'_>) -> Result<Self, ScenarioError> {
        if let Some(list) = &mut self.users {
            let dir = path.parent().unwrap_or(Path::new(""));
            list.read(dir).map_err(|unread| match unread {
                Unread::File(what) => wrong(format!("users.file: {what}")),
                Unread::Line { place, what } => ScenarioError::Wrong { place, what },
            })?;
        }
        Ok(self)
    }

    /// Who asks.
    pub fn users(&self) -> Arc<Users> {
        self.users.as_ref().map(UserList::users).unwrap_or_default()
    }

    /// What no single value can know.
    fn checked(self, wrong: &Wrong<'_>) -> Result<Self, ScenarioError> {
        if self.campaign.starts_in.nanos() < 0 {
            let found = self.campaign.starts_in;
            return Err(wrong(format!("campaign.starts_in: found {found}, expected 0s or later")));
        }
        if let Some(n) = self.load.bursts.iter().position(|b| b.over.nanos() < 0) {
            let found = self.load.bursts[n].over;
            return Err(wrong(format!(
                "load.bursts[{n}].over: found {found}, expected 0s or more"
            )));
        }
        if let Some(what) = self.load.contradiction().or_else(|| self.contradiction()) {
            return Err(wrong(what.into()));
        }
        if self.load.saturate.is_some() && self.users().enough_for(u64::MAX).is_err() {
            return Err(wrong(
                "load.saturate: it asks as often as it can, expected users.reuse: true".into(),
            ));
        }
        if self.load.reads.per_second() > 0.0 && self.mapping.reads.is_empty() {
            return Err(wrong("load.reads: expected mapping.reads to say what is read".into()));
        }
        if let Some(what) = self.too_early().or_else(|| self.between_units()) {
            return Err(wrong(what));
        }
        self.check_names(wrong)?;
        Ok(self)
    }

    /// What of the load comes before the campaign is created, if anything does.
    fn too_early(&self) -> Option<String> {
        if self.campaign.starts_at.is_some() {
            return None;
        }
        let earliest = -self.campaign.starts_in.nanos();
        let begin = [("load.begin".to_owned(), self.load.begin)];
        let bursts = self.load.bursts.iter().enumerate();
        let bursts = bursts.map(|(n, burst)| (format!("load.bursts[{n}].at"), burst.at));
        let (key, found) = begin.into_iter().chain(bursts).find(|(_, at)| at.nanos() < earliest)?;
        Some(format!(
            "{key}: found {found}, which is before the campaign is created: expected {} or later, \
             by campaign.starts_in",
            Span::from_nanos(earliest)
        ))
    }

    /// Why the system cannot be told the start as an instant, if it cannot.
    fn between_units(&self) -> Option<String> {
        let found = self.campaign.starts_at?;
        let (unit, words) = match self.mapping.start_unit_ms() {
            1 => (1_000_000, "a whole millisecond"),
            _ => (1_000_000_000, "a whole second, since mapping.setup names {starts_at_s}"),
        };
        (found.timestamp_subsec_nanos() % unit != 0).then(|| {
            let found = found.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            format!("campaign.starts_at: found {found}, expected {words}: it is told to the system")
        })
    }

    /// What two of its parts say against each other.
    fn contradiction(&self) -> Option<&'static str> {
        let asks_again = |b: &Buyer| b.requests.get() > 1 || !b.retry.is_empty();
        let several = u32::from(self.campaign.count) > 1;
        if self.load.saturate.is_some() && (several || self.buyers.iter().any(asks_again)) {
            return Some(
                "load.saturate: expected one campaign, and no buyers with `requests` or `retry`; a \
                 connection's next request follows its last answer",
            );
        }
        let unit = self.mapping.start_unit_ms() * 1_000_000;
        if self.campaign.apart.nanos() % unit != 0 {
            return Some(
                "campaign.apart: expected whole milliseconds, and whole seconds where mapping.setup \
                 names {starts_at_s}: each start is told to the system",
            );
        }
        None
    }

    /// Whether every name and every variable has a value.
    fn check_names(&self, wrong: &Wrong<'_>) -> Result<(), ScenarioError> {
        if let Origin::Spawn(spawn) = &self.system.origin {
            spawn.check().map_err(wrong)?;
        }
        let store = self.system.store.as_deref().map(secrets::expanded_url).transpose();
        let store = store.map_err(|what| wrong(format!("system.store: {what}")))?;
        if let Some(mapping) = &self.store {
            mapping.check_variables().map_err(|what| wrong(format!("store.{what}")))?;
        }
        let users = self.users();
        let around = Around { store: store.as_deref(), users: &users };
        self.mapping.check(around).map_err(|what| wrong(format!("mapping.{what}")))
    }

    /// Applies `--set`. What depends on several values is judged once all of them are set.
    fn overridden(self, text: &str, set: &[String]) -> Result<Self, ScenarioError> {
        let mut scenario = self;
        let mut spelled = None;
        for assignment in set {
            let place = set_flag(assignment);
            let wrong = |what: String| ScenarioError::Wrong { place: place.clone(), what };
            let file = || Spelled::read(text).map_err(|e| wrong(e.to_string()));
            let changed = assigned(spelled.map_or_else(file, Ok)?, assignment).map_err(wrong)?;
            let text = changed.to_string();
            scenario =
                serde_saphyr::from_str(&text).map_err(|e| problem::in_set(&place, &text, &e))?;
            spelled = Some(changed);
        }
        Ok(scenario)
    }

    /// Applies `--store`, `--target`, `--seed` and `--start-at`.
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
        if overrides.start_at.is_some() {
            self.campaign.starts_at = overrides.start_at;
        }
        if let Some(seed) = overrides.seed {
            self.seed = seed;
        }
        Ok(self)
    }
}

/// A flag as a message may show it.
fn set_flag(assignment: &str) -> String {
    format!("--set {}", secrets::without_password(assignment))
}

/// The scenario with one value set: `load.stages.0.rate=200`.
fn assigned(mut scenario: Spelled, assignment: &str) -> Result<Spelled, String> {
    let (key, text) = assignment
        .split_once('=')
        .ok_or_else(|| "expected KEY=VALUE, such as campaign.coupons=100".to_owned())?;
    let value = Spelled::read(text).map_err(|_| {
        let found = secrets::without_password(text);
        format!("{found:?} is not YAML")
    })?;
    scenario.set(key, value)?;
    Ok(scenario)
}

/// Where the scenarios that come with the project lie; for tests.
#[doc(hidden)]
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

#[cfg(test)]
mod tests;
