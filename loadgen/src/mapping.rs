//! How to speak with a system: what is asked, what an answer means, and how a campaign is made.
//!
//! The reference server is one mapping among others, `mapping/coupon-server.yaml`. Everything is
//! checked while the scenario is read; nothing that can be wrong is left for the measured load.

pub mod fields;
pub mod follow;
pub mod form;
pub mod jwt;
pub mod path;
pub mod redis;
pub mod rule;
pub mod source;
pub mod sql;
pub mod step;
mod store_url;
pub mod template;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use follow::{Confirm, Poll, Read};
pub use form::{Form, Forms};
pub use rule::{Answer, Rule, Told};
pub use source::Source;
pub use step::{Action, Each, Step};
pub use template::{Request, RequestTemplate, Template, Values, Write};

use crate::users::Users;

/// How to speak with a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What is done once, before any campaign is created: users registered, tokens fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Step>,
    /// What creates the campaign, in order, outside the measured load.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// What asks for a coupon.
    pub request: RequestTemplate,
    /// What an answer means: the first rule that matches.
    pub outcomes: Vec<Rule>,
    /// How to learn what came of an accepted request. Without it only the store tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    /// How to confirm what was reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// What `load.reads` reads, in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read>,
    /// Whose clock rules the start.
    #[serde(default)]
    pub clock: Clock,
}

/// What a mapping is used with.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// URL of the store, where the scenario has one.
    pub store: Option<&'a str>,
    /// The users.
    pub users: &'a Users,
}

/// Whose clock rules the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The load host's: the system runs on the same machine, or on one with the same time.
    #[default]
    LoadHost,
    /// The system is asked for it.
    Asked(Box<Asked>),
}

/// How the system is asked for its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What is asked.
    pub request: RequestTemplate,
    /// Where the answer has the time, RFC 3339.
    pub now: Source,
}

impl Asked {
    /// Whether all that the request names has a value already.
    pub(crate) fn is_ready(&self, names: &BTreeMap<String, String>) -> bool {
        let known: Vec<&str> = names.keys().map(String::as_str).collect();
        self.request.check(&known).is_ok()
    }
}

impl Mapping {
    /// The mapping of the reference server.
    pub fn coupon_server() -> Self {
        serde_saphyr::from_str(include_str!("mapping/coupon-server.yaml"))
            .unwrap_or_else(|e| unreachable!("the mapping that comes with loadgen is valid: {e}"))
    }

    /// How fine the start can be told to the system, in milliseconds.
    pub fn start_unit_ms(&self) -> i64 {
        let in_seconds = self.setup.iter().any(|s| s.mentions("starts_at_s"));
        if in_seconds { 1_000 } else { 1 }
    }

    /// The names of what the set-up captures: secrets, as far as anybody can tell. What the
    /// campaign is called is none.
    pub(crate) fn captured(&self) -> Vec<&str> {
        let steps = self.prepare.iter().chain(&self.setup);
        steps.flat_map(Step::captured).filter(|n| !matches!(*n, "campaign" | "user")).collect()
    }

    /// What is wrong with it as a whole, if anything is.
    ///
    /// # Errors
    /// When a template uses a name that nothing gives it, or the environment lacks a variable.
    pub fn check(&self, around: Around<'_>) -> Result<(), String> {
        let (shared, own) = self.check_prepare(around)?;
        let mut known: Vec<&str> = template::SETUP_NAMES.to_vec();
        known.extend(shared);
        for (at, step) in self.setup.iter().enumerate() {
            let wrong = |what: String| format!("setup[{at}].{what}");
            if step.each.is_some() {
                return Err(wrong("each: it has its place in prepare only".into()));
            }
            step.check(&known, around.store).map_err(wrong)?;
            known.extend(step.captured());
            if let Some(name) = step.captured().into_iter().find(|name| own.contains(name)) {
                return Err(wrong(format!("capture.{name}: it belongs to each user already")));
            }
        }
        known.retain(|name| *name != "store");
        if let Clock::Asked(asked) = &self.clock {
            asked.request.check(&known).map_err(|what| format!("clock.asked.request.{what}"))?;
        }
        for (at, read) in self.reads.iter().enumerate() {
            read.request.check(&known).map_err(|what| format!("reads[{at}].request.{what}"))?;
        }
        known.extend(template::ORDER_NAMES);
        known.extend(own);
        self.request.check(&known).map_err(|what| format!("request.{what}"))?;
        self.check_follow_ups(known)
    }

    /// The same for what comes after the answer.
    fn check_follow_ups(&self, known: Vec<&str>) -> Result<(), String> {
        use rule::Meaning::{Accepted, Pending, Reserved};
        follow::check(&self.outcomes, "outcomes", &[Accepted, Reserved])?;
        for (at, rule) in self.outcomes.iter().enumerate() {
            if let Some(name) = rule.capture.keys().find(|name| known.contains(&name.as_str())) {
                return Err(format!(
                    "outcomes[{at}].capture.{name}: this name has a meaning already"
                ));
            }
        }
        let told = |is| {
            let captured = follow::captured_by_all(&self.outcomes, is);
            known.iter().copied().chain(captured).collect::<Vec<&str>>()
        };
        if let Some(poll) = &self.poll {
            poll.request.check(&told(Accepted)).map_err(|what| format!("poll.request.{what}"))?;
            follow::check(&poll.outcomes, "poll.outcomes", &[Pending])?;
        }
        if let Some(confirm) = &self.confirm {
            let checked = confirm.request.check(&told(Reserved));
            checked.map_err(|what| format!("confirm.request.{what}"))?;
            follow::check(&confirm.outcomes, "confirm.outcomes", &[])?;
        }
        Ok(())
    }

    /// Gives the names that later steps know, and those that belong to each user.
    fn check_prepare<'a>(
        &'a self,
        around: Around<'a>,
    ) -> Result<(Vec<&'a str>, Vec<&'a str>), String> {
        let mut shared: Vec<&str> = around.store.map(|_| "store").into_iter().collect();
        let mut own: Vec<&str> = around.users.columns().iter().map(String::as_str).collect();
        for (at, step) in self.prepare.iter().enumerate() {
            let wrong = |what: String| format!("prepare[{at}].{what}");
            let mut known: Vec<&str> = template::PREPARE_NAMES.to_vec();
            known.extend(&shared);
            if step.each.is_some() {
                if around.users.count().is_none() {
                    return Err(wrong("each: expected `users` with a file or a count".into()));
                }
                known.extend(template::USER_NAMES);
                known.extend(&own);
            }
            step.check(&known, around.store).map_err(wrong)?;
            let of_user = step.each.is_some();
            let (mine, others) = if of_user { (&mut own, &shared) } else { (&mut shared, &own) };
            if let Some(name) = step.captured().into_iter().find(|name| others.contains(name)) {
                return Err(wrong(format!(
                    "capture.{name}: it cannot be one value and one for each user"
                )));
            }
            mine.extend(step.captured());
        }
        Ok((shared, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mapping: &Mapping, store: Option<&str>) -> Result<(), String> {
        mapping.check(Around { store, users: &Users::default() })
    }

    fn with(steps: &str) -> Mapping {
        let text = format!("{steps}\nrequest: {{path: '/{{token}}'}}\noutcomes: []\n");
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn the_reference_mapping_is_whole() {
        assert_eq!(check(&Mapping::coupon_server(), None), Ok(()));
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        let mut mapping = Mapping::coupon_server();
        mapping.request.path = Template::from("/x/{capaign}".to_owned());
        let message = check(&mapping, None).unwrap_err();
        assert!(
            message
                .starts_with("request.path: `{capaign}`: no such name; did you mean `{campaign}`?"),
            "{message}"
        );
    }

    #[test]
    fn names_come_from_the_steps_before() {
        let get = |path: &str, rest: &str| format!("{{request: {{path: '{path}'}}{rest}}}");
        let token = ", capture: {token: $.t}";
        let prepare = |step: &str| format!("prepare: [{step}]");
        for (steps, want) in [
            (prepare(&get("/", token)), None),
            (format!("setup: [{}]", get("/{starts_at_utc}", token)), None),
            (
                prepare(&get("/{campaign}", token)),
                Some("prepare[0].request.path: `{campaign}`: no such name"),
            ),
            (
                prepare(&get("/{store}", token)),
                Some("prepare[0].request.path: `{store}`: no such name"),
            ),
            (
                prepare(&get("/{user}", &format!(", each: user{token}"))),
                Some("prepare[0].each: expected `users`"),
            ),
            (
                format!("setup: [{}]", get("/", ", each: user")),
                Some("setup[0].each: it has its place in prepare"),
            ),
            ("setup: []".into(), Some("request.path: `{token}`: no such name")),
        ] {
            let found = check(&with(&steps), None);
            match want {
                None => assert_eq!(found, Ok(()), "{steps}"),
                Some(want) => {
                    let message = found.unwrap_err();
                    assert!(message.starts_with(want), "{steps}: {message}");
                }
            }
        }
        assert_eq!(check(&with(&prepare(&get("/{store}", token))), Some("redis://h")), Ok(()));
    }

    #[test]
    fn what_belongs_to_a_user_is_no_name_of_the_set_up() {
        let list: crate::users::UserList = serde_saphyr::from_str("{count: 2}").unwrap();
        let users = list.users();
        let register = "{each: user, request: {path: '/{user_n}'}, capture: {token: body}}";
        let check = |steps: String| with(&steps).check(Around { store: None, users: &users });
        assert_eq!(check(format!("prepare: [{register}]")), Ok(()));
        let open = "{request: {path: '/{token}'}}";
        let message = check(format!("prepare: [{register}]\nsetup: [{open}]")).unwrap_err();
        assert!(message.starts_with("setup[0].request.path: `{token}`: no such name"), "{message}");
    }
}
