//! Reads a history from its beginning to its end, once, and counts. What is held in memory grows
//! with what is under way, with the seconds of the run and with its campaigns, not with the number of
//! attempts.

use std::collections::{BTreeMap, HashMap};

use contract::history::{Completion, Event, Invocation, Kind};
use contract::outcome::{Doubt, Outcome};
use contract::run::Run;

use super::beside::{Reads, Steps};
use super::bursts::Bursts;
use super::campaigns::Campaigns;
use super::distribution::Samples;
use super::{Outcomes, Phase, PhaseSummary, Second, Step};
use super::{doubt_name, failure_name};

/// How many steps the first second after the start has.
const STEPS: usize = 10;
/// Length of a step.
const STEP_NS: i64 = 100_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// An attempt that ended, for whoever else listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// When.
    pub(super) at: i64,
    /// End minus intended start.
    pub(super) response: i64,
}

/// What is kept of a request until it ends.
struct Open {
    kind: Kind,
    at: i64,
    intended: i64,
    target: usize,
    campaign: Option<usize>,
    phase: Option<usize>,
    /// Step of the first second after the start that it was due in.
    step: Option<usize>,
}

/// Outcomes and response times of some of the attempts.
pub(super) struct Share {
    pub(super) outcomes: Outcomes,
    pub(super) response: Samples,
}

impl Share {
    fn new() -> Self {
        Self { outcomes: Outcomes::default(), response: Samples::new() }
    }

    fn end(&mut self, response: Option<i64>, outcome: &Outcome<'_>) {
        self.outcomes.add(outcome);
        if let Some(response) = response {
            self.response.record(response);
        }
    }
}

/// Everything that is counted.
pub(super) struct Gather {
    open: HashMap<u64, Open>,
    pub(super) all: Share,
    pub(super) targets: Vec<Share>,
    phases: [Share; 3],
    steps: [Share; STEPS],
    pub(super) issued: Samples,
    pub(super) refused: Samples,
    pub(super) service: Samples,
    pub(super) accepted: Samples,
    pub(super) lag: Samples,
    pub(super) queue: Samples,
    pub(super) read: Samples,
    pub(super) failures: BTreeMap<&'static str, u64>,
    pub(super) doubts: BTreeMap<&'static str, u64>,
    /// Attempts of buyers who had asked before.
    pub(super) repeats: u64,
    /// Polls and confirmations.
    pub(super) follow: Steps,
    pub(super) reads: Reads,
    pub(super) campaigns: Campaigns,
    pub(super) bursts: Bursts,
    seconds: BTreeMap<i64, Second>,
    first: i64,
    last: i64,
}

impl Gather {
    pub(super) fn new(run: &Run) -> Self {
        Self {
            open: HashMap::new(),
            all: Share::new(),
            targets: run.targets.iter().map(|_| Share::new()).collect(),
            phases: std::array::from_fn(|_| Share::new()),
            steps: std::array::from_fn(|_| Share::new()),
            issued: Samples::new(),
            refused: Samples::new(),
            service: Samples::new(),
            accepted: Samples::new(),
            lag: Samples::new(),
            queue: Samples::new(),
            read: Samples::new(),
            failures: BTreeMap::new(),
            doubts: BTreeMap::new(),
            repeats: 0,
            follow: Steps::default(),
            reads: Reads::default(),
            campaigns: Campaigns::default(),
            bursts: Bursts::of(run),
            seconds: BTreeMap::new(),
            first: i64::MAX,
            last: i64::MIN,
        }
    }

    /// Counts an event; gives the attempt that ended with it, if it may have reached a server.
    pub(super) fn event(&mut self, event: Event<'_>) -> Option<Ended> {
        match event {
            Event::Campaign(promise) => {
                self.campaigns.promise(&promise);
                None
            }
            Event::Invoke(i) => {
                self.invoke(&i);
                None
            }
            Event::Complete(c) => self.complete(&c),
        }
    }

    fn invoke(&mut self, i: &Invocation<'_>) {
        let intended = i.intended.unwrap_or(i.at);
        let campaign = self.campaigns.number(&i.campaign);
        let mut open = Open {
            kind: i.kind,
            at: i.at,
            intended,
            target: i.target.map_or(usize::MAX, usize::from),
            campaign,
            phase: None,
            step: None,
        };
        match i.kind {
            Kind::Issue => {
                open.phase = self.phase(campaign, i.at);
                open.step = self.step(campaign, intended);
                self.attempt(i, intended, campaign);
            }
            Kind::Read => self.reads.sent += 1,
            Kind::Poll | Kind::Confirm => self.follow.begin(i.kind),
        }
        self.open.insert(i.op, open);
    }

    fn attempt(&mut self, i: &Invocation<'_>, intended: i64, campaign: Option<usize>) {
        let woken = i.woken.unwrap_or(i.at);
        self.first = self.first.min(i.at);
        self.lag.record(woken - intended);
        self.queue.record(i.at - woken);
        if let Some(second) = self.second(campaign, i.at) {
            second.sent += 1;
        }
        match (i.follows, campaign) {
            (Some(_), _) => self.repeats += 1,
            (None, Some(campaign)) => self.bursts.sent(campaign, intended, i.at),
            (None, None) => {}
        }
    }

    /// The start of a campaign, where it is known.
    fn start(&self, campaign: Option<usize>) -> Option<i64> {
        self.campaigns.get(campaign)?.start()
    }

    /// Which phase of its campaign an attempt that begins now belongs to. A sold-out answer that was
    /// there and that nobody had looked at yet, which takes some milliseconds, has not ended the sale.
    fn phase(&self, campaign: Option<usize>, at: i64) -> Option<usize> {
        let start = self.start(campaign)?;
        let sold_out = self.campaigns.get(campaign)?.is_sold_out();
        Some(match sold_out {
            _ if at < start => Phase::BeforeStart,
            false => Phase::Selling,
            true => Phase::SoldOut,
        } as usize)
    }

    fn step(&self, campaign: Option<usize>, intended: i64) -> Option<usize> {
        let step = (intended - self.start(campaign)?).div_euclid(STEP_NS);
        usize::try_from(step).ok().filter(|step| *step < STEPS)
    }

    fn second(&mut self, campaign: Option<usize>, at: i64) -> Option<&mut Second> {
        let second = (at - self.start(campaign)?).div_euclid(SECOND_NS);
        Some(self.seconds.entry(second).or_insert(Second { second, sent: 0, issued: 0 }))
    }

    fn complete(&mut self, c: &Completion<'_>) -> Option<Ended> {
        let open = self.open.remove(&c.op)?;
        let response = measures(&c.outcome).then_some(c.at - open.intended);
        match open.kind {
            Kind::Issue => {}
            Kind::Read => {
                self.reads.end(&c.outcome);
                response.into_iter().for_each(|ns| self.read.record(ns));
                return None;
            }
            Kind::Poll | Kind::Confirm => {
                self.follow.end(&c.outcome);
                return None;
            }
        }
        self.last = self.last.max(c.at);
        self.count(&open, response, &c.outcome);
        if response.is_some() {
            self.service.record(c.at - open.at);
        }
        if let Some(accepted) = c.accepted {
            self.accepted.record(accepted - open.at);
        }
        self.decided(c, &open);
        response.map(|response| Ended { at: c.at, response })
    }

    fn decided(&mut self, c: &Completion<'_>, open: &Open) {
        let response = c.at - open.intended;
        match &c.outcome {
            Outcome::Issued(coupon) => {
                self.issued.record(response);
                self.campaigns.issued(open.campaign, c.at, &coupon.code);
                if let Some(second) = self.second(open.campaign, c.at) {
                    second.issued += 1;
                }
            }
            Outcome::SoldOut => {
                self.refused.record(response);
                self.campaigns.sold_out(open.campaign, c.at);
            }
            Outcome::NotStarted
            | Outcome::NotFound
            | Outcome::Ended
            | Outcome::AlreadyIssued(_) => self.refused.record(response),
            Outcome::Failed(_)
            | Outcome::Indeterminate(_)
            | Outcome::Read(_)
            | Outcome::Pending => {}
        }
    }

    fn count(&mut self, open: &Open, response: Option<i64>, outcome: &Outcome<'_>) {
        self.all.end(response, outcome);
        let target = self.targets.get_mut(open.target);
        let phase = open.phase.map(|p| &mut self.phases[p]);
        let step = open.step.map(|s| &mut self.steps[s]);
        for share in [target, phase, step].into_iter().flatten() {
            share.end(response, outcome);
        }
        match outcome {
            Outcome::Failed(f) => *self.failures.entry(failure_name(*f)).or_default() += 1,
            Outcome::Indeterminate(d) => *self.doubts.entry(doubt_name(*d)).or_default() += 1,
            Outcome::Issued(_)
            | Outcome::SoldOut
            | Outcome::NotStarted
            | Outcome::NotFound
            | Outcome::Ended
            | Outcome::AlreadyIssued(_)
            | Outcome::Read(_)
            | Outcome::Pending => {}
        }
    }

    /// What has no completion may have had an effect.
    pub(super) fn close(&mut self) {
        let outcome = Outcome::Indeterminate(Doubt::Unspecified);
        for open in std::mem::take(&mut self.open).into_values() {
            match open.kind {
                Kind::Issue => self.count(&open, None, &outcome),
                Kind::Read => self.reads.end(&outcome),
                Kind::Poll | Kind::Confirm => self.follow.end(&outcome),
            }
        }
    }

    /// How many things are kept that grow with the requests.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.open.len() + self.seconds.len() + self.campaigns.kept()
    }

    /// Requests of any kind.
    pub(super) fn requests(&self) -> u64 {
        self.all.outcomes.total() + self.follow.total() + self.reads.sent
    }

    /// From the first invocation to the last completion, nanoseconds.
    pub(super) fn length(&self) -> i64 {
        self.last.saturating_sub(self.first).max(0)
    }

    /// The phases, in order of time; none where no start is known.
    pub(super) fn phases(&self) -> Vec<PhaseSummary> {
        let phases = Phase::ALL.iter().zip(&self.phases).map(|(phase, share)| PhaseSummary {
            phase: *phase,
            outcomes: share.outcomes,
            response: share.response.distribution(),
        });
        phases.filter(|_| self.campaigns.any_placed()).collect()
    }

    /// The first second after the start; nothing where that is not known.
    pub(super) fn first_second(&self) -> Vec<Step> {
        let steps = (0_u32..).zip(&self.steps).map(|(number, share)| Step {
            from_ms: number * 100,
            sent: share.outcomes.total(),
            outcomes: share.outcomes,
            response: share.response.distribution(),
        });
        steps.filter(|_| self.campaigns.any_placed()).collect()
    }

    /// Second by second, those without anything left out.
    pub(super) fn per_second(&self) -> Vec<Second> {
        self.seconds.values().copied().collect()
    }
}

/// Whether the time that a request took says anything about the system: not where it certainly never
/// reached it, and not where the scenario's own patience ended it.
fn measures(outcome: &Outcome<'_>) -> bool {
    match outcome {
        Outcome::Failed(_) | Outcome::Indeterminate(Doubt::HungUp) => false,
        Outcome::Issued(_)
        | Outcome::SoldOut
        | Outcome::NotStarted
        | Outcome::NotFound
        | Outcome::Ended
        | Outcome::AlreadyIssued(_)
        | Outcome::Indeterminate(_)
        | Outcome::Read(_)
        | Outcome::Pending => true,
    }
}
