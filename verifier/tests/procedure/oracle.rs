//! What is true, by trying every order of the requests and every choice of the lost ones.
//!
//! Written from the description of a correct campaign alone. It has no rule of the verifier in it,
//! and no idea but one: it never looks twice at what it has seen to lead nowhere.

use std::collections::HashSet;

use super::story::{Ask, Precedence, Row, Story, Told};

/// Whether a correct campaign can have answered like this.
pub(crate) fn is_valid(story: &Story) -> bool {
    let group = |at: usize| {
        let Ask { user, key, .. } = story.asks[at];
        let same = |b: &Ask| key.is_some() && !b.told.is_read() && (b.user, b.key) == (user, key);
        story.asks.iter().position(same).unwrap_or(at)
    };
    let groups = (0..story.asks.len()).map(group).collect();
    let (unseen, seen) = (unissued(story), HashSet::new());
    let mut search = Search { story, groups, unseen, seen, ends: false };
    let told = |wanted: Told| story.asks.iter().any(|ask| ask.told == wanted);
    // Where nobody was told that there is none, it was there from the first.
    let created = !told(Told::NotFound);
    search.ends = told(Told::Ended);
    let nothing = State { done: 0, created, started: false, ended: false, issued: [None; MOST] };
    search.leads_somewhere(&nothing)
}

/// No story has more requests.
pub(crate) const MOST: usize = 10;

/// The state of the campaign in the middle of an order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    /// The requests that had their turn, one bit each.
    done: u16,
    created: bool,
    started: bool,
    ended: bool,
    /// The code and the rank of each request (of each key) that consumed a coupon.
    issued: [Option<(u8, i64)>; MOST],
}

impl State {
    fn count(&self) -> i64 {
        self.issued.iter().flatten().count() as i64
    }

    fn codes(&self) -> u16 {
        self.issued.iter().flatten().filter(|(code, _)| *code < 16).map(|(c, _)| 1 << c).sum()
    }
}

/// A code that nobody ever sees.
const HIDDEN: u8 = 99;

struct Search<'a> {
    story: &'a Story,
    /// The request that stands for all with the same user and key.
    groups: Vec<usize>,
    /// Codes that were seen and not told to whoever got them.
    unseen: Vec<u8>,
    seen: HashSet<State>,
    /// Somebody was told that it had ended; nobody else cares whether it had.
    ends: bool,
}

/// Codes that somebody saw and that no `issued` carries: those of lost requests.
fn unissued(story: &Story) -> Vec<u8> {
    let mut seen = 0_u16;
    let mut told = 0_u16;
    for ask in story.asks.iter().filter(|a| a.to.is_some()) {
        match ask.told {
            Told::Issued { code, .. } => told |= 1 << code,
            Told::Already(Some(code)) => seen |= 1 << code,
            Told::Listed(set) => seen |= set,
            _ => {}
        }
    }
    for row in story.rows.iter().flatten() {
        seen |= 1 << row.code;
    }
    (0..16).filter(|c| seen & !told & (1 << c) != 0).collect()
}

impl Search<'_> {
    fn leads_somewhere(&mut self, state: &State) -> bool {
        if !self.seen.insert(state.clone()) {
            return false;
        }
        if self.is_end(state) {
            return true;
        }
        let deadline = self.deadline(state);
        if self.phases_after(state, deadline).iter().any(|next| self.leads_somewhere(next)) {
            return true;
        }
        for at in 0..self.story.asks.len() {
            let lag = if self.story.asks[at].told.is_read() { self.story.lag } else { 0 };
            let waits = state.done & (1 << at) == 0 && self.story.asks[at].from - lag <= deadline;
            if waits && self.turns(state, at).iter().any(|next| self.leads_somewhere(next)) {
                return true;
            }
        }
        false
    }

    /// It is created, then it starts; it may end whenever it is there, and it ends for good.
    fn phases_after(&self, state: &State, deadline: i64) -> Vec<State> {
        let (earliest, latest) = self.story.start;
        let starts = state.created && !state.started && earliest <= deadline.min(latest);
        let ends = self.ends && state.created && !state.ended;
        let created = State { created: true, ..state.clone() };
        let started = State { started: true, ..state.clone() };
        let ended = State { ended: true, ..state.clone() };
        let next = [(!state.created, created), (starts, started), (ends, ended)];
        next.into_iter().filter(|(may, _)| *may).map(|(_, next)| next).collect()
    }

    /// Whoever was sent after this has to wait for somebody who had not had a turn.
    fn deadline(&self, state: &State) -> i64 {
        let mut first = if state.started { i64::MAX } else { self.story.start.1 };
        for (at, ask) in self.story.asks.iter().enumerate() {
            if state.done & (1 << at) == 0 && must_happen(ask) {
                first = first.min(ask.to.unwrap_or(i64::MAX));
            }
        }
        first
    }

    fn is_end(&self, state: &State) -> bool {
        let asks = self.story.asks.iter().enumerate();
        let all = asks.filter(|(_, a)| must_happen(a)).all(|(at, _)| state.done & (1 << at) != 0);
        all && state.started && self.story.rows.as_ref().is_none_or(|rows| self.holds(state, rows))
    }

    /// The store holds exactly what was issued.
    fn holds(&self, state: &State, rows: &[Row]) -> bool {
        let fits = |at: usize, code: u8| {
            let ask = &self.story.asks[at];
            let agree = |a: Option<u8>, b: Option<u8>| a.is_none() || b.is_none() || a == b;
            let fits =
                |r: &&Row| r.code == code && agree(r.user, ask.user) && agree(r.key, ask.key);
            rows.iter().filter(fits).count() == 1
        };
        let issued = state.issued.iter().enumerate().filter_map(|(at, i)| Some((at, (*i)?)));
        rows.len() as i64 == state.count()
            && { issued }.all(|(at, (code, _))| fits(at, code))
            && rows.iter().all(|row| self.has_its_key_alone(row, rows))
    }

    /// A system may give a key of its own to a request that carried none, but none that is another
    /// request's: a key of a user has one row, with the code that was told under it.
    fn has_its_key_alone(&self, row: &Row, rows: &[Row]) -> bool {
        let answered = |ask: &&Ask| must_happen(ask) && matches!(ask.told, Told::Issued { .. });
        let lost = |ask: &&Ask| ask.to.is_none() || ask.told == Told::Unknown;
        let asks = || self.story.asks.iter().filter(|ask| !ask.told.is_read());
        let named = asks().any(|ask| ask.user.is_some() && (answered(&ask) || lost(&ask)));
        if row.key.is_none() || row.user.is_none() && named {
            return true;
        }
        let same = |user: Option<u8>, key: Option<u8>| (user, key) == (row.user, row.key);
        let other = |ask: &Ask| match ask.told {
            Told::Issued { code, .. } => same(ask.user, ask.key) && code != row.code,
            _ => false,
        };
        rows.iter().filter(|other| same(other.user, other.key)).count() == 1
            && !asks().filter(answered).any(other)
    }

    /// What the campaign can be after it answered this request exactly as recorded.
    fn turns(&self, state: &State, at: usize) -> Vec<State> {
        let mut after = state.clone();
        after.done |= 1 << at;
        let ask = self.story.asks[at];
        let told = if ask.to.is_some() { ask.told } else { Told::Unknown };
        let yes = |answer: bool| if answer { vec![after.clone()] } else { Vec::new() };
        let left = self.story.coupons - state.count();
        match told {
            Told::Failed => return yes(true),
            Told::Counted(n) => return yes(n == state.count()),
            Told::Left(n) => return yes(n == left),
            Told::Listed(set) => {
                let all_seen = state.issued.iter().flatten().all(|(code, _)| *code != HIDDEN);
                return yes(all_seen && set == state.codes());
            }
            _ => {}
        }
        if !state.created {
            return yes(told == Told::NotFound);
        }
        if told == Told::Ended {
            return yes(state.ended);
        }
        if !state.started {
            return yes(told == Told::NotStarted && !state.ended);
        }
        let group = self.groups[at];
        let held = self.held_by(state, ask.user);
        let already = |code: u8, told: Told| match told {
            Told::Already(told) => told.is_none_or(|told| told == code),
            _ => false,
        };
        let still = left > 0 || self.story.limit != Some(Precedence::SoldOutFirst);
        if let Some((code, rank)) = state.issued[group] {
            return yes(match told {
                Told::Issued { .. } => self.tells(told, code, rank),
                _ => held.is_some() && still && already(code, told),
            });
        }
        if let Some(code) = held {
            let gone = told == Told::SoldOut
                && left <= 0
                && !state.ended
                && self.story.limit != Some(Precedence::AlreadyFirst);
            return yes(gone || still && already(code, told));
        }
        if state.ended {
            return Vec::new();
        }
        if left <= 0 {
            return yes(told == Told::SoldOut);
        }
        self.issue(&after, at, told)
    }

    /// The code of the coupon that this user holds, where that counts.
    fn held_by(&self, state: &State, user: Option<u8>) -> Option<u8> {
        self.story.limit?;
        let user = user?;
        let issued = state.issued.iter().enumerate();
        let mut mine =
            issued.filter(|(at, _)| self.story.asks.get(*at).is_some_and(|a| a.user == Some(user)));
        mine.find_map(|(_, issued)| issued.map(|(code, _)| code))
    }

    /// Whether an answer tells this coupon as it is.
    fn tells(&self, told: Told, held: u8, rank: i64) -> bool {
        let Told::Issued { code, seq, remaining } = told else { return false };
        code == held
            && seq.is_none_or(|seq| seq == rank)
            && remaining.is_none_or(|left| left == self.story.coupons - rank)
    }

    fn issue(&self, after: &State, at: usize, told: Told) -> Vec<State> {
        let rank = after.count() + 1;
        let with = |code: u8| {
            let mut next = after.clone();
            next.issued[self.groups[at]] = Some((code, rank));
            next
        };
        let used = |code: u8| after.issued.iter().flatten().any(|(c, _)| *c == code);
        match told {
            Told::Issued { code, .. } if !used(code) && self.tells(told, code, rank) => {
                vec![with(code)]
            }
            Told::Unknown => {
                // Its code may be one that its own key was told later, one that was seen, or none.
                let own =
                    self.story.asks.iter().enumerate().filter_map(|(b, ask)| match ask.told {
                        Told::Issued { code, .. } if ask.to.is_some() => {
                            (self.groups[b] == self.groups[at]).then_some(code)
                        }
                        _ => None,
                    });
                let codes = own.chain(self.unseen.iter().copied()).filter(|c| !used(*c));
                codes.chain([HIDDEN]).map(with).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Whether it has to have its turn: it was answered, and the answer says something.
fn must_happen(ask: &Ask) -> bool {
    ask.to.is_some() && !matches!(ask.told, Told::Failed | Told::Unknown)
}
