//! How to speak with a system: what is asked, what an answer means, and how a campaign is made.
//!
//! The reference server is one mapping among others, `mapping/coupon-server.yaml`. Everything is
//! checked while the scenario is read; nothing that can be wrong is left for the measured load.

pub mod jwt;
pub mod rule;
pub mod source;
pub mod template;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use rule::{Answer, Rule};
pub use source::Source;
pub use template::{Request, RequestTemplate, Template, Values};

/// How to speak with a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What creates the campaign, in order, outside the measured load.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// What asks for a coupon.
    pub request: RequestTemplate,
    /// What an answer means: the first rule that matches.
    pub outcomes: Vec<Rule>,
    /// Whose clock rules the start.
    #[serde(default)]
    pub clock: Clock,
}

/// One request of the set-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is asked.
    pub request: RequestTemplate,
    /// The status that means success; absent means any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<rule::Statuses>,
    /// Values of the answer that later templates use by name; `campaign` is the campaign's id.
    #[serde(default)]
    pub capture: BTreeMap<String, Source>,
}

/// Whose clock rules the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The load host's: the system runs on the same machine, or on one with the same time.
    #[default]
    LoadHost,
    /// The system is asked for it.
    Asked(Box<Asked>),
}

/// How the system is asked for its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What is asked.
    pub request: RequestTemplate,
    /// Where the answer has the time, RFC 3339.
    pub now: Source,
}

impl Mapping {
    /// The mapping of the reference server.
    pub fn coupon_server() -> Self {
        serde_saphyr::from_str(include_str!("mapping/coupon-server.yaml"))
            .unwrap_or_else(|e| unreachable!("the mapping that comes with loadgen is valid: {e}"))
    }

    /// How fine the start can be told to the system, in milliseconds.
    pub fn start_unit_ms(&self) -> i64 {
        let in_seconds = self.setup.iter().any(|s| s.request.mentions("starts_at_s"));
        if in_seconds { 1_000 } else { 1 }
    }

    /// What is wrong with it as a whole, if anything is.
    ///
    /// # Errors
    /// When a template uses a name that nothing gives it.
    pub fn check(&self) -> Result<(), String> {
        let mut known: Vec<&str> = template::SETUP_NAMES.to_vec();
        for step in &self.setup {
            step.request.check(&known)?;
            known.extend(step.capture.keys().map(String::as_str));
        }
        if let Clock::Asked(asked) = &self.clock {
            asked.request.check(&known)?;
        }
        known.extend(template::ORDER_NAMES);
        self.request.check(&known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_mapping_is_whole() {
        assert_eq!(Mapping::coupon_server().check(), Ok(()));
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        let mut mapping = Mapping::coupon_server();
        mapping.request.path = Template::try_from("/x/{capaign}".to_owned()).unwrap();
        let message = mapping.check().unwrap_err();
        assert!(
            message.starts_with("`{capaign}`: no such name; did you mean `{campaign}`?"),
            "{message}"
        );
    }
}
