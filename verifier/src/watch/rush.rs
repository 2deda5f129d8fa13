//! The extreme moments of one campaign: the base procedure, answer by answer.
//!
//! A rule that compares two requests is looked at when the later of the two is read, whichever that is;
//! so no more than the most extreme request of each kind is kept.

use contract::campaign::{PerUser, Precedence, Window};
use contract::history::Promise;

use super::height::Heights;
use super::phases::Phases;

/// One campaign, as far as it is remembered.
#[derive(Debug)]
pub(super) struct Rush {
    name: Box<str>,
    coupons: u64,
    starts_at: Window,
    restock: bool,
    pub(super) limit: Option<PerUser>,
    pub(super) precedence: Option<Precedence>,
    /// So many coupons were told, replays aside.
    pub(super) told: u64,
    /// Too many are suspected from so many on.
    too_many: u64,
    /// Requests whose outcome nobody knows that were sent before the first "sold out".
    lost: u64,
    phases: Phases,
    first_sold_out: Option<Answer>,
    /// "Sold out" was read, and requests that were sent before it are still under way.
    uncounted: bool,
    heights: Heights,
    /// Answers were told that only all requests together can say of whether they fit.
    entangled: bool,
    /// An answer came since all of them were looked at.
    news: bool,
    /// What was proven needs no further proof.
    proven: Vec<&'static str>,
}

/// An answer that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) op: u64,
    pub(super) sent: i64,
    pub(super) end: i64,
}

/// A check that these operations may break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct What {
    pub(super) check: &'static str,
    /// None: all of the campaign.
    pub(super) ops: Vec<u64>,
}

/// The same, with the campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub(super) campaign: Box<str>,
    pub(super) what: What,
}

impl What {
    pub(super) fn new(check: &'static str, ops: impl Into<Vec<u64>>) -> Self {
        Self { check, ops: ops.into() }
    }
}

impl Rush {
    pub(super) fn new(promise: &Promise<'_>) -> Self {
        Self {
            name: promise.campaign.as_ref().into(),
            coupons: promise.coupons,
            starts_at: promise.starts_at,
            restock: promise.restock,
            limit: promise.per_user,
            precedence: promise.per_user.filter(|p| p.limit == 1).map(|p| p.precedence),
            told: 0,
            too_many: promise.coupons.saturating_add(1),
            lost: 0,
            phases: Phases::default(),
            first_sold_out: None,
            uncounted: false,
            heights: Heights::default(),
            entangled: false,
            news: false,
            proven: Vec::new(),
        }
    }

    /// Its start is known otherwise.
    pub(super) fn starts(&mut self, starts_at: Window) {
        self.starts_at = starts_at;
    }

    pub(super) fn coupons(&self) -> i128 {
        self.coupons.into()
    }

    /// Whether this check is known to be broken.
    pub(super) fn is_proven(&self, check: &str) -> bool {
        self.proven.contains(&check)
    }

    /// What is still to be proven.
    pub(super) fn suspicion(&self, what: What) -> Option<Suspicion> {
        let new = !self.is_proven(what.check);
        new.then(|| Suspicion { campaign: self.name.clone(), what })
    }

    /// This check is broken; says whether that is new. Once is enough.
    pub(super) fn prove(&mut self, check: &'static str) -> bool {
        let new = !self.is_proven(check);
        self.proven.extend(new.then_some(check));
        new
    }

    /// An answer came. Where it says something of others, no few extreme moments decide.
    pub(super) fn heard(&mut self, of_others: bool) {
        self.news = true;
        self.entangled |= of_others && !self.restock;
    }

    /// Whether something came since this was asked last that only all requests decide.
    pub(super) fn is_unsettled(&mut self) -> bool {
        std::mem::take(&mut self.news) && self.entangled
    }

    /// All of it was read again, and so many coupons were told in truth.
    pub(super) fn recounted(&mut self, told: u64) {
        self.too_many = self.told + self.coupons.saturating_add(1).saturating_sub(told).max(1);
    }

    pub(super) fn issued(&mut self, answer: Answer, ranks: &[i128]) -> Vec<What> {
        let mut found = self.opened(answer);
        if self.told >= self.too_many {
            self.too_many = u64::MAX;
            found.push(What::new("over-issued", []));
        }
        found.extend(self.phases.issued(answer));
        if self.restock {
            return found;
        }
        found.extend(self.first_sold_out.and_then(|refused| late(refused, answer)));
        for rank in ranks {
            let outside = !(1..=self.coupons()).contains(rank);
            found.extend(outside.then(|| What::new("contradicting-counts", [answer.op])));
            found.extend(self.seen(answer, rank - 1, *rank));
        }
        found
    }

    pub(super) fn sold_out(&mut self, answer: Answer) -> Vec<What> {
        let mut found = self.opened(answer);
        found.extend(self.phases.sold_out(answer));
        if self.restock {
            return found;
        }
        self.heights.told(answer.op, self.by(answer), self.coupons());
        if self.first_sold_out.is_none_or(|first| answer.end < first.end) {
            self.first_sold_out = Some(answer);
            self.uncounted = true;
            found.extend(self.phases.last_coupon().and_then(|last| late(answer, last)));
        }
        found
    }

    pub(super) fn not_found(&mut self, answer: Answer) -> Vec<What> {
        self.phases.not_found(answer, self.starts_at)
    }

    pub(super) fn not_started(&mut self, answer: Answer) -> Vec<What> {
        self.phases.not_started(answer, self.starts_at)
    }

    /// An answer that needs an open gate.
    pub(super) fn opened(&mut self, answer: Answer) -> Vec<What> {
        self.phases.opened(answer, self.starts_at)
    }

    pub(super) fn ended(&mut self, answer: Answer) -> Vec<What> {
        // Fewer requests may have consumed a coupon than those until "sold out".
        self.uncounted |= self.first_sold_out.is_some_and(|refused| answer.end < refused.end);
        self.phases.ended(answer, self.starts_at)
    }

    /// The moment by which what an answer tells of had come about: whatever was issued was issued before
    /// the campaign was over.
    fn by(&self, answer: Answer) -> i64 {
        self.phases.over().map_or(answer.end, |over| answer.end.min(over.end))
    }

    /// Nobody knows what came of a request.
    pub(super) fn lost(&mut self, answer: Answer) -> Vec<What> {
        let counts = self.first_sold_out.is_none_or(|refused| answer.sent <= self.by(refused));
        self.lost += u64::from(counts);
        Vec::new()
    }

    /// A read saw so many issued.
    pub(super) fn counted(&mut self, answer: Answer, coupons: i128) -> Vec<What> {
        if self.restock {
            return Vec::new();
        }
        let outside = !(0..=self.coupons()).contains(&coupons);
        let mut found: Vec<What> =
            outside.then(|| What::new("contradicting-counts", [answer.op])).into_iter().collect();
        found.extend(self.seen(answer, coupons, coupons));
        found
    }

    /// At most so many had been issued at its beginning or later, and at least so many by its end.
    fn seen(&mut self, answer: Answer, most: i128, least: i128) -> Option<What> {
        let before = self.heights.above(most, answer.sent).filter(|op| *op != answer.op);
        self.heights.told(answer.op, self.by(answer), least);
        let over = self.phases.over().map(|over| over.op);
        before.map(|before| {
            let ops: Vec<u64> = [before, answer.op].into_iter().chain(over).collect();
            What::new("contradicting-counts", ops)
        })
    }

    /// When "sold out" was answered first, or the campaign was over before that, while it is not known
    /// whether requests enough were there.
    pub(super) fn refused(&self) -> Option<i64> {
        self.first_sold_out.filter(|_| self.uncounted).map(|refused| self.by(refused))
    }

    /// With so many requests under way that may have consumed a coupon by then, there were too few for
    /// "sold out" to be true.
    pub(super) fn short_with(&mut self, under_way: u64) -> Option<Suspicion> {
        let most = self.told.saturating_add(self.lost).saturating_add(under_way);
        let short = most < self.coupons;
        self.uncounted = !short && under_way > 0;
        self.suspicion(What::new("under-issued", [])).filter(|_| short)
    }
}

/// A coupon was asked for after "sold out" was answered.
fn late(refused: Answer, issued: Answer) -> Option<What> {
    let ops = [refused.op, issued.op];
    (refused.end < issued.sent).then(|| What::new("issued-after-sold-out", ops))
}
