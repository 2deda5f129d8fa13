//! One request on the wire, from its connection to its answer.

use std::io;
use std::rc::Rc;

use contract::history::Kind;
use contract::outcome::{Doubt, Failure, Outcome};

use super::Worker;
use crate::client::{Link, Packed, Whole, not_connected};
use crate::mapping::rule::classify;
use crate::mapping::{Rule, Told};
use crate::record::{Ending, Sent, Timing};
use crate::workload::Order;

/// A request that counts as under way as long as this lives.
pub(super) struct UnderWay {
    worker: Rc<Worker>,
    /// Its answer is all that is awaited.
    rests: bool,
}

impl UnderWay {
    pub(super) fn begins(worker: &Rc<Worker>) -> Self {
        worker.in_flight.set(worker.in_flight.get() + 1);
        Self { worker: Rc::clone(worker), rests: false }
    }

    /// From now on its answer is all that is awaited.
    pub(super) fn rests(&mut self) {
        if !std::mem::replace(&mut self.rests, true) {
            self.worker.resting.set(self.worker.resting.get() + 1);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.worker.in_flight.set(self.worker.in_flight.get() - 1);
        if self.rests {
            self.worker.resting.set(self.worker.resting.get() - 1);
        }
    }
}

/// A request to send: what, for whom, and how long to wait for it.
pub(super) struct Wanted<'a> {
    pub(super) order: &'a Order,
    pub(super) kind: Kind,
    pub(super) packed: &'a Packed,
    pub(super) timing: Timing,
    /// The buyer hangs up at this moment.
    pub(super) hang_up: Option<i64>,
}

/// A link that a request left on, after it was written down.
pub(super) struct Left {
    pub(super) link: Link,
    /// When it was written down.
    at: i64,
}

/// What came of it.
pub(super) struct Reply {
    /// When it came, or was given up.
    pub(super) at: i64,
    pub(super) told: Told,
    pub(super) status: Option<u16>,
    pub(super) stamp: Option<i64>,
    /// How long the answer asks to wait, nanoseconds.
    pub(super) retry_after: Option<i64>,
}

impl Reply {
    fn unanswered(at: i64, outcome: Outcome<'static>) -> Self {
        Self { at, told: Told::Outcome(outcome), status: None, stamp: None, retry_after: None }
    }

    /// How a request ended whose answer is the last word.
    pub(super) fn ending(self) -> Ending {
        let (at, status, stamp) = (self.at, self.status, self.stamp);
        let accepted = matches!(self.told, Told::Accepted(_) | Told::Reserved(_)).then_some(at);
        let outcome = match self.told {
            Told::Outcome(outcome) => outcome,
            Told::Pending => Outcome::Pending,
            Told::Accepted(_) => Outcome::Indeterminate(Doubt::Undecided),
            Told::Reserved(_) => Outcome::Indeterminate(Doubt::Unconfirmed),
        };
        Ending { at, outcome, accepted, status, stamp }
    }
}

impl Worker {
    /// An idle link that the request left on, if there is one: written down, then begun.
    pub(super) fn send_at_once(&self, wanted: &Wanted<'_>) -> io::Result<Option<Left>> {
        let Some(mut link) = self.lanes[wanted.order.target].idle() else { return Ok(None) };
        let at = self.invoke(wanted)?;
        link.begin(wanted.packed);
        Ok(Some(Left { link, at }))
    }

    /// Writes a request down; gives the moment that is written.
    fn invoke(&self, wanted: &Wanted<'_>) -> io::Result<i64> {
        let Wanted { order, kind, timing, .. } = *wanted;
        let campaign = self.job.workload.campaign(order.campaign);
        let keyed = self.forms(order).issue.is_keyed();
        let sent = Sent { order, kind, campaign, keyed };
        let at = self.job.clock.now();
        self.recorder.invoke(&sent, timing, at)?;
        Ok(at)
    }

    /// The answer to a request, on the link that it left on already, or on a new one.
    pub(super) async fn exchange(
        &self,
        wanted: &Wanted<'_>,
        begun: Option<Left>,
        rules: &[Rule],
    ) -> io::Result<Reply> {
        let read = |whole: &Whole| self.understand(whole, rules);
        self.fetch(wanted, begun, read).await
    }

    /// The same with an answer that is understood in some other way.
    pub(super) async fn fetch(
        &self,
        wanted: &Wanted<'_>,
        begun: Option<Left>,
        understand: impl Fn(&Whole) -> Told,
    ) -> io::Result<Reply> {
        let give_up = wanted.timing.woken + self.job.timeout();
        let mut left = match begun {
            Some(left) => left,
            // Rare, and large with TLS in it: apart, so that what is common stays small.
            None => match Box::pin(self.open(wanted, give_up)).await? {
                Ok(left) => left,
                Err(outcome) => return Ok(Reply::unanswered(self.job.clock.now(), outcome)),
            },
        };
        let until = wanted.hang_up.map_or(give_up, |at| at.min(give_up));
        let answered = self.patience.wait(left.link.answer(wanted.packed), until).await;
        let now = || self.job.clock.now();
        Ok(match answered {
            Ok(Ok(whole)) => self.reply(wanted.order.target, left, &whole, understand(&whole)),
            Ok(Err(broken)) => Reply::unanswered(now(), broken.outcome()),
            Err(_) if !left.link.has_written() => {
                Reply::unanswered(now(), Outcome::Failed(Failure::NotWritten))
            }
            Err(doubt) => {
                let planned = doubt == Doubt::Timeout && until < give_up;
                let doubt = if planned { Doubt::HungUp } else { doubt };
                Reply::unanswered(now(), Outcome::Indeterminate(doubt))
            }
        })
    }

    /// What came of a request that was answered. Its link is kept for the next one, if the answer leaves that
    /// open.
    pub(super) fn reply(&self, target: usize, left: Left, whole: &Whole, told: Told) -> Reply {
        let now = || self.job.clock.now();
        let at = whole.received.map_or_else(now, |stamp| self.stamps.place(stamp));
        let (at, status, stamp) = (at.max(left.at), Some(whole.status), whole.stamp());
        if whole.reusable() {
            self.lanes[target].keep(left.link);
        }
        Reply { at, told, status, stamp, retry_after: whole.retry_after() }
    }

    /// A link for a request, which is written down once there is one, or there will be none.
    async fn open(
        &self,
        wanted: &Wanted<'_>,
        give_up: i64,
    ) -> io::Result<Result<Left, Outcome<'static>>> {
        let lane = &self.lanes[wanted.order.target];
        let linked = match lane.idle() {
            Some(link) => Ok(Ok(link)),
            None => self.patience.wait(lane.connect(), give_up).await,
        };
        let at = self.invoke(wanted)?;
        Ok(match linked {
            Ok(Ok(mut link)) => {
                link.begin(wanted.packed);
                Ok(Left { link, at })
            }
            Ok(Err(error)) => Err(not_connected(&error)),
            Err(_) => Err(not_connected(&io::ErrorKind::TimedOut.into())),
        })
    }

    /// What an answer says by the rules. One that no rule matches is kept as a sample.
    pub(super) fn understand(&self, whole: &Whole, rules: &[Rule]) -> Told {
        let told = classify(rules, &whole.answer());
        if told == Told::Outcome(Outcome::Indeterminate(Doubt::Unclassified)) {
            self.job.samples.add(whole.status, &whole.body);
        }
        told
    }
}
