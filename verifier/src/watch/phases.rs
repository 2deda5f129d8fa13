//! The phases of one campaign, which it goes through once: it is not there yet, it has not started, it is
//! open, it is over.
//!
//! Of each no more than the most extreme answer is kept: the first that tells of a later phase, the last to be
//! asked for of those that tell of an earlier one.

use contract::campaign::Window;

use super::rush::{Answer, What};

/// What was told of each phase.
#[derive(Debug, Default)]
pub(super) struct Phases {
    last_not_found: Option<Answer>,
    first_not_started: Option<Answer>,
    /// Asked for last of "not found" and "not started".
    last_shut: Option<Answer>,
    /// The first answer that needs an open gate.
    first_open: Option<Answer>,
    first_ended: Option<Answer>,
    last_coupon: Option<Answer>,
    last_sold_out: Option<Answer>,
}

impl Phases {
    pub(super) fn not_found(&mut self, answer: Answer, start: Window) -> Vec<What> {
        keep_last(&mut self.last_not_found, answer);
        let mut found = self.shut(answer, start);
        found.extend(self.first_not_started.and_then(|there| flapped(there, answer)));
        found
    }

    pub(super) fn not_started(&mut self, answer: Answer, start: Window) -> Vec<What> {
        let mut found = self.shut(answer, start);
        if keep_first(&mut self.first_not_started, answer) {
            found.extend(self.last_not_found.and_then(|gone| flapped(answer, gone)));
        }
        found
    }

    fn shut(&mut self, answer: Answer, start: Window) -> Vec<What> {
        keep_last(&mut self.last_shut, answer);
        let late = answer.sent > start.latest;
        let past = [self.first_open, self.first_ended].into_iter().flatten();
        let flapped = past.min_by_key(|past| past.end).and_then(|past| flapped(past, answer));
        late.then(|| What::new("late-start", [answer.op])).into_iter().chain(flapped).collect()
    }

    /// An answer that needs an open gate.
    pub(super) fn opened(&mut self, answer: Answer, start: Window) -> Vec<What> {
        let mut found = self.early(answer, start);
        if keep_first(&mut self.first_open, answer) {
            found.extend(self.last_shut.and_then(|shut| flapped(answer, shut)));
        }
        found
    }

    /// Whatever was issued was issued before the campaign was over.
    fn early(&self, answer: Answer, start: Window) -> Vec<What> {
        let ended = self.first_ended.filter(|ended| ended.end < answer.end);
        let by = ended.map_or(answer.end, |ended| ended.end);
        let ops: Vec<u64> = [Some(answer), ended].iter().flatten().map(|a| a.op).collect();
        (by < start.earliest).then(|| What::new("early-issue", ops)).into_iter().collect()
    }

    pub(super) fn issued(&mut self, answer: Answer) -> Option<What> {
        keep_last(&mut self.last_coupon, answer);
        self.first_ended.and_then(|ended| afterwards(ended, answer))
    }

    pub(super) fn sold_out(&mut self, answer: Answer) -> Option<What> {
        keep_last(&mut self.last_sold_out, answer);
        self.first_ended.and_then(|ended| afterwards(ended, answer))
    }

    pub(super) fn ended(&mut self, answer: Answer, start: Window) -> Vec<What> {
        if !keep_first(&mut self.first_ended, answer) {
            return Vec::new();
        }
        let asked = [self.last_coupon, self.last_sold_out].into_iter().flatten();
        let mut found: Vec<What> = asked.filter_map(|asked| afterwards(answer, asked)).collect();
        found.extend(self.last_shut.and_then(|shut| flapped(answer, shut)));
        found.extend(self.first_open.into_iter().flat_map(|open| self.early(open, start)));
        found
    }

    /// The coupon that was asked for last.
    pub(super) fn last_coupon(&self) -> Option<Answer> {
        self.last_coupon
    }

    /// The answer by whose end it was over.
    pub(super) fn over(&self) -> Option<Answer> {
        self.first_ended
    }
}

/// Keeps what was over first, and says whether this was.
fn keep_first(first: &mut Option<Answer>, answer: Answer) -> bool {
    let is = first.is_none_or(|first| answer.end < first.end);
    if is {
        *first = Some(answer);
    }
    is
}

/// Keeps what was asked for last.
fn keep_last(last: &mut Option<Answer>, answer: Answer) {
    if last.is_none_or(|last| last.sent < answer.sent) {
        *last = Some(answer);
    }
}

/// A phase that was over was told of after a later one.
fn flapped(past: Answer, shut: Answer) -> Option<What> {
    (past.end < shut.sent).then(|| What::new("gate-flapped", [past.op, shut.op]))
}

/// A coupon was asked for, or there was none left, after the campaign was over.
fn afterwards(ended: Answer, asked: Answer) -> Option<What> {
    let ops = [ended.op, asked.op];
    (ended.end < asked.sent).then(|| What::new("issued-after-ended", ops))
}
