//! One attempt of a buyer to get a coupon: the request, what follows an answer that decides nothing
//! yet, and whether the buyer asks again.

use std::future::pending;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll as Polled};

use contract::history::Kind;
use contract::outcome::{Doubt, Failure, Outcome};

use super::wire::{Left, Reply, UnderWay, Wanted};
use super::{Later, Worker};
use crate::client::{Link, Packed, Whole};
use crate::mapping::rule::Captured;
use crate::mapping::{Confirm, Form, Forms, Poll, Read, Rule, Told};
use crate::record::{Ending, Timing};
use crate::scenario::buyers::{Confirming, KeyUse, Retry, Towards, Trigger};
use crate::workload::{Asking, Order};

/// A request that is ready to leave.
pub(super) struct Prepared {
    pub(super) order: Order,
    packed: Packed,
    /// How many times it was tried before.
    tried: u32,
}

/// An attempt that has begun.
pub(super) struct Journey {
    worker: Rc<Worker>,
    prepared: Prepared,
    timing: Timing,
    stage: Stage,
    hang_up: Option<i64>,
    /// Until it is answered.
    under_way: Option<UnderWay>,
}

/// How far it has come.
enum Stage {
    /// No connection was idle.
    Waits,
    /// The request left on this link.
    Left(Left),
    /// It was answered, and that was not the last word.
    Told(Reply),
}

/// What is left to do after an answer that was not the last word.
enum FollowUp<'a> {
    /// To ask what came of it.
    Poll(&'a Captured, &'a Poll),
    /// To confirm what was reserved.
    Confirm(&'a Captured, &'a Confirm),
}

impl Worker {
    /// Fills in a request ahead of its moment.
    pub(super) fn prepare(&self, order: Order, tried: u32) -> Prepared {
        let packed = self.pack(&self.forms(&order).issue, &order, &Captured::new());
        Prepared { order, packed, tried }
    }

    /// What is asked of the campaign of an order.
    pub(super) fn forms(&self, order: &Order) -> &Forms {
        let last = self.job.forms.len() - 1;
        &self.job.forms[last.min(order.campaign as usize)]
    }

    fn pack(&self, form: &Form, order: &Order, told: &Captured) -> Packed {
        let lane = &self.lanes[order.target];
        let row = self.job.workload.row(order);
        lane.pack(form, &Asking { order, row, target: lane.authority(), told })
    }

    /// Reads one campaign, and notes what was seen.
    pub(super) fn read(this: &Rc<Self>, due: i64) {
        let op = this.job.new_op();
        let kinds = (this.job.mapping.reads.len(), this.job.forms.len(), this.lanes.len());
        let number = this.reads.replace(this.reads.get() + 1);
        let (which, campaign, target) = turn(number, kinds);
        let order = Order {
            op,
            campaign: u32::try_from(campaign).unwrap_or(0),
            buyer: 0,
            target,
            user: String::new(),
            key: String::new(),
            follows: None,
        };
        let timing = Timing { due: Some(due), woken: this.job.clock.now() };
        let worker = Rc::clone(this);
        this.travel(Box::pin(async move { worker.observe(&order, timing, which).await }));
    }

    async fn observe(&self, order: &Order, timing: Timing, which: usize) -> io::Result<()> {
        let read: &Read = &self.job.mapping.reads[which];
        let packed = self.pack(&self.forms(order).reads[which], order, &Captured::new());
        let wanted = Wanted { order, kind: Kind::Read, packed: &packed, timing, hang_up: None };
        let seen = |whole: &Whole| {
            let seen = read.see.observe(&whole.answer());
            Told::Outcome(seen.unwrap_or(Outcome::Indeterminate(Doubt::Unreadable)))
        };
        let reply = self.fetch(&wanted, None, seen).await?;
        self.recorder.complete(order.op, reply.ending())
    }
}

impl Journey {
    /// Begins an attempt: where a connection is idle, the request leaves here and now.
    pub(super) fn begin(
        worker: &Rc<Worker>,
        prepared: Prepared,
        timing: Timing,
    ) -> io::Result<Self> {
        let under_way = Some(UnderWay::begins(worker));
        let hang_up = worker.job.workload.behaviour(&prepared.order).hang_up;
        let hang_up = hang_up.map(|after| timing.woken + after.span().nanos());
        let Prepared { order, packed, .. } = &prepared;
        let wanted = Wanted { order, kind: Kind::Issue, packed, timing, hang_up };
        let left = worker.send_at_once(&wanted).inspect_err(|_| {
            worker.count(|tally| tally.dropped += 1);
        })?;
        worker.count(|tally| tally.sent += 1);
        worker.live().sent();
        let stage = left.map_or(Stage::Waits, Stage::Left);
        Ok(Self { worker: Rc::clone(worker), prepared, timing, stage, hang_up, under_way })
    }

    /// When the load thread got to it.
    pub(super) fn began(&self) -> i64 {
        self.timing.woken
    }

    /// Its link, if the request left on one.
    fn link(&mut self) -> Option<&mut Link> {
        match &mut self.stage {
            Stage::Left(left) => Some(&mut left.link),
            Stage::Waits | Stage::Told(_) => None,
        }
    }

    /// Whether nobody is in a hurry to see the answer, for the request left whole.
    pub(super) fn can_rest(&self) -> bool {
        // Whoever is going to hang up is in a hurry.
        let Stage::Left(left) = &self.stage else { return false };
        self.hang_up.is_none() && left.link.has_left(&self.prepared.packed)
    }

    /// Says so, if it is.
    pub(super) fn rest(&mut self) {
        if self.can_rest() {
            self.under_way.iter_mut().for_each(UnderWay::rests);
        }
    }

    /// Reads what has come of the answer, once the event loop says that something has; only for one that
    /// can rest.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Polled<()> {
        self.link().map_or(Polled::Ready(()), |link| link.poll_read(context))
    }

    /// Reads what is there of the answer by now, whatever the event loop knows.
    pub(super) fn read(&mut self) {
        self.link().into_iter().for_each(Link::read);
    }

    /// Looks whether what was read is the answer. If it is the last word, that is written down, and nothing
    /// is left to do.
    pub(super) fn look(&mut self) -> io::Result<bool> {
        let Some(reply) = self.answered() else { return Ok(false) };
        self.under_way = None;
        if self.worker.follow_up(&reply).is_none() {
            let retry_after = reply.retry_after;
            return self.end(reply.ending(), retry_after).map(|()| true);
        }
        self.stage = Stage::Told(reply);
        Ok(false)
    }

    /// What the answer says, if it was read to its end.
    fn answered(&mut self) -> Option<Reply> {
        let whole = self.link()?.whole().ok()??;
        let Stage::Left(left) = std::mem::replace(&mut self.stage, Stage::Waits) else {
            return None;
        };
        let worker = &self.worker;
        let told = worker.understand(&whole, &worker.job.mapping.outcomes);
        Some(worker.reply(self.prepared.order.target, left, &whole, told))
    }

    /// Waits for what comes of it, and writes that down.
    pub(super) async fn follow_through(mut self) -> io::Result<()> {
        let reply = match std::mem::replace(&mut self.stage, Stage::Waits) {
            Stage::Waits => self.ask(None).await?,
            Stage::Left(left) => self.ask(Some(left)).await?,
            Stage::Told(reply) => reply,
        };
        self.under_way = None;
        let retry_after = reply.retry_after;
        let ending = Rc::clone(&self.worker).settle(&self.prepared.order, reply).await?;
        self.end(ending, retry_after)
    }

    /// Waits for the first answer.
    async fn ask(&self, left: Option<Left>) -> io::Result<Reply> {
        let Self { worker, prepared: Prepared { order, packed, .. }, timing, hang_up, .. } = self;
        let (timing, hang_up, recorded) = (*timing, *hang_up, left.is_some());
        let wanted = Wanted { order, kind: Kind::Issue, packed, timing, hang_up };
        let asked = worker.exchange(&wanted, left, &worker.job.mapping.outcomes).await;
        asked.inspect_err(|_| {
            // It could not be written down, so it was not sent.
            if !recorded {
                worker.count(|tally| {
                    (tally.sent, tally.dropped) = (tally.sent - 1, tally.dropped + 1)
                });
            }
        })
    }

    /// Writes down how it ended, and lets the buyer ask again.
    fn end(&self, ending: Ending, retry_after: Option<i64>) -> io::Result<()> {
        let Self { worker, prepared: Prepared { order, tried, .. }, timing, .. } = self;
        let (at, since) = (ending.at, timing.due.unwrap_or(timing.woken));
        worker.live().done(&ending.outcome, at - since);
        let retry = worker.retry(order, *tried, &ending.outcome);
        worker.recorder.complete(order.op, ending)?;
        if let Some(retry) = retry {
            let again = worker.again(order, retry);
            let wait = retry.wait(tried + 1, worker.job.workload.luck(again.op), retry_after);
            worker.later(Later { due: at + wait, order: again, tried: tried + 1 });
        }
        Ok(())
    }
}

impl Worker {
    /// What an answer leaves to do, if anything.
    fn follow_up<'a>(&'a self, reply: &'a Reply) -> Option<FollowUp<'a>> {
        let mapping = &self.job.mapping;
        match &reply.told {
            Told::Outcome(_) | Told::Pending => None,
            Told::Accepted(told) => Some(FollowUp::Poll(told, mapping.poll.as_ref()?)),
            Told::Reserved(told) => Some(FollowUp::Confirm(told, mapping.confirm.as_ref()?)),
        }
    }

    /// What comes of a request after its first answer.
    async fn settle(self: Rc<Self>, order: &Order, reply: Reply) -> io::Result<Ending> {
        let accepted = Some(reply.at);
        // Rare and large: apart, so that what is common stays small.
        let settled = match self.follow_up(&reply) {
            None => return Ok(reply.ending()),
            Some(FollowUp::Poll(told, poll)) => {
                Box::pin(self.clone().poll(order, told, poll)).await?
            }
            Some(FollowUp::Confirm(told, confirm)) => {
                Box::pin(self.clone().confirm(order, told, confirm)).await?
            }
        };
        Ok(Ending { accepted, ..settled })
    }

    /// Asks what came of an accepted request until that is known, or patience ends.
    async fn poll(
        self: Rc<Self>,
        order: &Order,
        told: &Captured,
        poll: &Poll,
    ) -> io::Result<Ending> {
        let give_up = self.job.clock.now() + poll.give_up.span().nanos();
        let every = poll.every.span().nanos();
        loop {
            if self.job.clock.now() + every > give_up {
                return Ok(self.open_end(Doubt::Undecided));
            }
            if !self.rest(every).await {
                return Ok(self.open_end(Doubt::Abandoned));
            }
            let packed =
                |step: &Order, forms: &Forms| Some(self.pack(forms.poll.as_ref()?, step, told));
            let reply = self.step(order, Kind::Poll, packed, &poll.outcomes).await?;
            if let Some(ending) = decided(reply) {
                return Ok(ending);
            }
        }
    }

    /// Confirms what was reserved, as this buyer does.
    async fn confirm(
        self: Rc<Self>,
        order: &Order,
        told: &Captured,
        confirm: &Confirm,
    ) -> io::Result<Ending> {
        let unconfirmed = || self.open_end(Doubt::Unconfirmed);
        match self.job.workload.behaviour(order).confirm {
            Confirming::Now => {}
            Confirming::Never => return Ok(unconfirmed()),
            Confirming::After(wait) => {
                if !self.rest(wait.span().nanos()).await {
                    return Ok(unconfirmed());
                }
            }
        }
        let packed =
            |step: &Order, forms: &Forms| Some(self.pack(forms.confirm.as_ref()?, step, told));
        let reply = self.step(order, Kind::Confirm, packed, &confirm.outcomes).await?;
        // What never reached the system confirmed nothing, but the reservation stands.
        let unseen = matches!(
            reply.told,
            Told::Outcome(Outcome::Failed(
                Failure::NotConnected | Failure::NotWritten | Failure::NoSocket | Failure::Busy
            ))
        );
        Ok(if unseen { unconfirmed() } else { reply.ending() })
    }

    /// Sends a request that belongs to `order`, to the same target, and writes it down.
    async fn step(
        self: &Rc<Self>,
        order: &Order,
        kind: Kind,
        pack: impl Fn(&Order, &Forms) -> Option<Packed>,
        rules: &[Rule],
    ) -> io::Result<Reply> {
        let op = self.job.new_op();
        let mut step = self.job.workload.again(order, op, Towards::SameTarget, KeyUse::Same);
        step.follows = Some(order.op);
        let _under_way = UnderWay::begins(self);
        let now = self.job.clock.now();
        let timing = Timing { due: Some(now), woken: now };
        let packed = pack(&step, self.forms(order)).ok_or(io::ErrorKind::NotFound)?;
        let wanted = Wanted { order: &step, kind, packed: &packed, timing, hang_up: None };
        let reply = self.exchange(&wanted, None, rules).await?;
        let written = Ending {
            at: reply.at,
            outcome: reply.outcome(),
            accepted: None,
            status: reply.status,
            stamp: reply.stamp,
        };
        self.recorder.complete(op, written)?;
        Ok(reply)
    }

    /// Nobody knows what came of it, from now on.
    fn open_end(&self, doubt: Doubt) -> Ending {
        Ending::unanswered(self.job.clock.now(), Outcome::Indeterminate(doubt))
    }

    /// Waits so many nanoseconds; says whether the run goes on.
    async fn rest(&self, wait: i64) -> bool {
        let waited = self.patience.wait(pending::<()>(), self.job.clock.now() + wait).await;
        waited != Err(Doubt::Abandoned)
    }

    /// The rule by which the buyer asks again, if one does.
    fn retry(&self, order: &Order, tried: u32, outcome: &Outcome<'_>) -> Option<&Retry> {
        let rules = &self.job.workload.behaviour(order).retry;
        let rule = rules.iter().find(|r| r.on.iter().any(|on| on.is_met_by(outcome)))?;
        (tried < rule.at_most.get()).then_some(rule)
    }

    fn again(&self, order: &Order, retry: &Retry) -> Order {
        self.job.workload.again(order, self.job.new_op(), retry.to, retry.key)
    }
}

impl Reply {
    /// What a poll or a confirmation itself was told.
    fn outcome(&self) -> Outcome<'static> {
        match &self.told {
            Told::Outcome(outcome) => outcome.clone(),
            Told::Accepted(_) | Told::Reserved(_) | Told::Pending => Outcome::Pending,
        }
    }
}

/// What the read of this number reads, of which campaign and from which target, where there are so many of
/// each: as long as there is something else, nothing is read again.
fn turn(
    number: usize,
    (kinds, campaigns, targets): (usize, usize, usize),
) -> (usize, usize, usize) {
    (number % kinds, number / kinds % campaigns, number / (kinds * campaigns) % targets)
}

/// What a poll decided; `None` means to ask again, also where it was not answered: a poll has no
/// effect that could be doubtful.
fn decided(reply: Reply) -> Option<Ending> {
    let again = match &reply.told {
        Told::Pending | Told::Accepted(_) | Told::Reserved(_) => true,
        Told::Outcome(Outcome::Failed(failure)) => *failure != Failure::Rejected,
        Told::Outcome(Outcome::Indeterminate(doubt)) => *doubt != Doubt::Unclassified,
        Told::Outcome(_) => false,
    };
    (!again).then(|| reply.ending())
}

impl Trigger {
    fn is_met_by(self, outcome: &Outcome<'_>) -> bool {
        match self {
            Self::Timeout => *outcome == Outcome::Indeterminate(Doubt::Timeout),
            Self::Disconnected => *outcome == Outcome::Indeterminate(Doubt::Disconnected),
            Self::Indeterminate => matches!(outcome, Outcome::Indeterminate(_)),
            Self::NotConnected => *outcome == Outcome::Failed(Failure::NotConnected),
            Self::Busy => *outcome == Outcome::Failed(Failure::Busy),
            Self::Failed => matches!(outcome, Outcome::Failed(_)),
            Self::NotStarted => *outcome == Outcome::NotStarted,
            Self::NotFound => *outcome == Outcome::NotFound,
            Self::SoldOut => *outcome == Outcome::SoldOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::turn;

    #[test]
    fn everything_is_read_from_everybody() {
        for of in [(2, 3, 2), (2, 2, 4), (1, 4, 2), (3, 1, 3)] {
            let all: HashSet<_> = (0..of.0 * of.1 * of.2).map(|number| turn(number, of)).collect();
            assert_eq!(all.len(), of.0 * of.1 * of.2, "{of:?}");
        }
    }
}
