//! Reads a history from its beginning to its end, once, and counts. What is held in memory grows
//! with what is under way and with the seconds of the run, not with the number of attempts.

use std::collections::{BTreeMap, HashMap};

use contract::campaign::Window;
use contract::history::{Completion, Event, Invocation, Kind};
use contract::outcome::{Doubt, Outcome};

use super::distribution::Samples;
use super::{Launch, Outcomes, Phase, PhaseSummary, Second, Step};
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

/// What is kept of an attempt until it ends.
struct Open {
    at: i64,
    intended: i64,
    target: usize,
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
    pub(super) lag: Samples,
    pub(super) queue: Samples,
    pub(super) failures: BTreeMap<&'static str, u64>,
    pub(super) doubts: BTreeMap<&'static str, u64>,
    seconds: BTreeMap<i64, Second>,
    start: Option<Window>,
    first_issued: Option<i64>,
    last_issued: Option<i64>,
    first_sold_out: Option<i64>,
    first: i64,
    last: i64,
}

impl Gather {
    pub(super) fn new(targets: usize) -> Self {
        Self {
            open: HashMap::new(),
            all: Share::new(),
            targets: (0..targets).map(|_| Share::new()).collect(),
            phases: std::array::from_fn(|_| Share::new()),
            steps: std::array::from_fn(|_| Share::new()),
            issued: Samples::new(),
            refused: Samples::new(),
            service: Samples::new(),
            lag: Samples::new(),
            queue: Samples::new(),
            failures: BTreeMap::new(),
            doubts: BTreeMap::new(),
            seconds: BTreeMap::new(),
            start: None,
            first_issued: None,
            last_issued: None,
            first_sold_out: None,
            first: i64::MAX,
            last: i64::MIN,
        }
    }

    /// Counts an event; gives the attempt that ended with it, if it may have reached a server.
    pub(super) fn event(&mut self, event: Event<'_>) -> Option<Ended> {
        match event {
            Event::Campaign(promise) => {
                // A start that could be anywhere is none; the history says so in its gaps.
                let placed = promise.starts_at.earliest > i64::MIN;
                self.start = self.start.or(placed.then_some(promise.starts_at));
                None
            }
            Event::Invoke(i) => {
                self.invoke(&i);
                None
            }
            Event::Complete(c) => self.complete(&c),
        }
    }

    /// The campaign's start: the middle of the window that it lies in.
    fn start(&self) -> Option<i64> {
        self.start.map(|w| w.earliest + w.width() / 2)
    }

    fn invoke(&mut self, i: &Invocation<'_>) {
        if i.kind == Kind::Read {
            return;
        }
        let intended = i.intended.unwrap_or(i.at);
        let woken = i.woken.unwrap_or(i.at);
        self.first = self.first.min(i.at);
        self.lag.record(woken - intended);
        self.queue.record(i.at - woken);
        if let Some(second) = self.second(i.at) {
            second.sent += 1;
        }
        let open = Open {
            at: i.at,
            intended,
            target: i.target.map_or(usize::MAX, usize::from),
            phase: self.phase(i.at),
            step: self.step(intended),
        };
        self.open.insert(i.op, open);
    }

    /// Which phase an attempt that begins now belongs to. Events come in order of time, so a
    /// sold-out answer that was seen was there before.
    fn phase(&self, at: i64) -> Option<usize> {
        let start = self.start()?;
        Some(match self.first_sold_out {
            _ if at < start => Phase::BeforeStart,
            None => Phase::Selling,
            Some(_) => Phase::SoldOut,
        } as usize)
    }

    fn step(&self, intended: i64) -> Option<usize> {
        let step = (intended - self.start()?).div_euclid(STEP_NS);
        usize::try_from(step).ok().filter(|step| *step < STEPS)
    }

    fn second(&mut self, at: i64) -> Option<&mut Second> {
        let second = (at - self.start()?).div_euclid(SECOND_NS);
        Some(self.seconds.entry(second).or_insert(Second { second, sent: 0, issued: 0 }))
    }

    fn complete(&mut self, c: &Completion<'_>) -> Option<Ended> {
        let open = self.open.remove(&c.op)?;
        self.last = self.last.max(c.at);
        // What certainly never reached a server says nothing about how fast it answers.
        let reached = !matches!(c.outcome, Outcome::Failed(_));
        let response = reached.then_some(c.at - open.intended);
        self.count(&open, response, &c.outcome);
        if reached {
            self.service.record(c.at - open.at);
        }
        self.decided(c, c.at - open.intended);
        response.map(|response| Ended { at: c.at, response })
    }

    fn decided(&mut self, c: &Completion<'_>, response: i64) {
        match c.outcome {
            Outcome::Issued(_) => {
                self.issued.record(response);
                self.first_issued.get_or_insert(c.at);
                self.last_issued = Some(c.at);
                if let Some(second) = self.second(c.at) {
                    second.issued += 1;
                }
            }
            Outcome::SoldOut => {
                self.refused.record(response);
                self.first_sold_out.get_or_insert(c.at);
            }
            Outcome::NotStarted | Outcome::AlreadyIssued(_) => self.refused.record(response),
            Outcome::Failed(_) | Outcome::Indeterminate(_) | Outcome::Read(_) => {}
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
            | Outcome::AlreadyIssued(_)
            | Outcome::Read(_) => {}
        }
    }

    /// What has no completion may have had an effect.
    pub(super) fn close(&mut self) {
        let outcome = Outcome::Indeterminate(Doubt::Unspecified);
        for open in std::mem::take(&mut self.open).into_values() {
            self.count(&open, None, &outcome);
        }
    }

    /// From the first invocation to the last completion, nanoseconds.
    pub(super) fn length(&self) -> i64 {
        self.last.saturating_sub(self.first).max(0)
    }

    /// What counts from the campaign's start; nothing where that is not known.
    #[expect(clippy::cast_precision_loss, reason = "times and counts are far below 2^53")]
    pub(super) fn launch(&self) -> Option<Launch> {
        let start = self.start()?;
        let since = |at: Option<i64>| at.map(|at| (at - start) as f64 / 1e3);
        let selling = self.last_issued.map(|at| at - start).filter(|ns| *ns > 0);
        let rate = |ns: i64| self.all.outcomes.issued as f64 / (ns as f64 / 1e9);
        Some(Launch {
            start_uncertainty_us: self.start.map_or(0, Window::width) as f64 / 2e3,
            start_delay_us: since(self.first_issued),
            time_to_sell_out_us: since(self.first_sold_out),
            issue_rate: selling.map(rate),
        })
    }

    /// The phases, in order of time; none where the start is not known.
    pub(super) fn phases(&self) -> Vec<PhaseSummary> {
        let phases = Phase::ALL.iter().zip(&self.phases).map(|(phase, share)| PhaseSummary {
            phase: *phase,
            outcomes: share.outcomes,
            response: share.response.distribution(),
        });
        phases.filter(|_| self.start.is_some()).collect()
    }

    /// The first second after the start; nothing where that is not known.
    pub(super) fn first_second(&self) -> Vec<Step> {
        let steps = (0_u32..).zip(&self.steps).map(|(number, share)| Step {
            from_ms: number * 100,
            sent: share.outcomes.total(),
            outcomes: share.outcomes,
            response: share.response.distribution(),
        });
        steps.filter(|_| self.start.is_some()).collect()
    }

    /// Second by second, those without anything left out.
    pub(super) fn per_second(&self) -> Vec<Second> {
        self.seconds.values().copied().collect()
    }
}
