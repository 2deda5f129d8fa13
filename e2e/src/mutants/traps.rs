//! What is no bug and looks like one: the clean server, the clean server at the edges of what a
//! campaign can be, and processes that die, stall and come back.

use super::{Blow, Nature, Subject};

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Subject> {
    situations().into_iter().chain(blows())
}

fn trap(name: &str, sentence: &str) -> Subject {
    Subject {
        name: name.to_owned(),
        nature: Nature::Trap,
        checks: Vec::new(),
        sentence: sentence.to_owned(),
        bug: None,
        set: &[],
        blow: None,
    }
}

fn situations() -> [Subject; 7] {
    let set = |set, name, sentence| Subject { set, ..trap(name, sentence) };
    let slow = set(&["load.timeout=50ms"], "timed-out", SLOW);
    [
        trap("clean", "No bug."),
        set(&["campaign.coupons=0"], "no-coupons", "A campaign of no coupon at all."),
        set(&["campaign.coupons=1"], "one-coupon", "A campaign of one coupon."),
        set(&["campaign.coupons=100000"], "few-requests", "More coupons than requests."),
        set(NO_TRAFFIC, "no-traffic", "Nobody asks."),
        set(REPLAYS, "replayed-keys", "Everybody asks three times under one key."),
        Subject { bug: Some("slow".to_owned()), ..slow },
    ]
}

const NO_TRAFFIC: &[&str] =
    &["load.stages=[{for: 1s, rate: 0}]", "load.bursts=[]", "load.reads=0", "buyers=[{}]"];
const REPLAYS: &[&str] = &["buyers=[{requests: 3, apart: 100ms, key: same}]"];
const SLOW: &str =
    "Clients give up after 50 ms; where `slow` strikes, before or after the decision.";

fn blows() -> [Subject; 4] {
    let blow = |blow, name, sentence| Subject { blow: Some(blow), ..trap(name, sentence) };
    let stalls = "An instance stands still for 300 ms; clients give up after 100 ms.";
    [
        blow(Blow::KillGenerator, "killed-generator", "The load generator is killed."),
        blow(
            Blow::KillInstance,
            "killed-instance",
            "An instance is killed with requests on their way to it, and started again.",
        ),
        blow(
            Blow::ReplaceInstance,
            "replaced-instance",
            "An instance stops in order, which closes connections in use, and is started again.",
        ),
        Subject {
            set: &["load.timeout=100ms"],
            ..blow(Blow::StallInstance, "stalled-instance", stalls)
        },
    ]
}
