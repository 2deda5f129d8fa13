//! Random small histories: a correct campaign is played, the moments of its requests are stretched
//! to intervals, and then, most of the time, something is changed.

use super::story::{Ask, Precedence, Row, Story, Told};

/// SplitMix64: a seed is a story, on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below n.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn time(&mut self, most: i64) -> i64 {
        self.below(usize::try_from(most).unwrap() + 1) as i64
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a story is about.
struct Features {
    users: bool,
    keys: bool,
    /// Some requests name nobody, where nobody need be named.
    mixed: bool,
    ranks: bool,
    counts: bool,
    lists: bool,
    /// How far the moments are stretched.
    stretch: i64,
    /// One request in so many is lost.
    lost: usize,
    /// It is created at the first moment and over from the second on.
    phases: Option<(i64, i64)>,
}

/// Where a campaign is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Absent,
    Ahead,
    Open,
    Over,
}

/// A correct campaign in the middle of its story.
#[derive(Clone, Default)]
struct Campaign {
    issued: Vec<Issue>,
}

#[derive(Clone, Copy)]
struct Issue {
    code: u8,
    user: Option<u8>,
    key: Option<u8>,
}

/// The story of this seed, with reads that may lag so far. With a store, it ends with what is in it.
pub(crate) fn story(seed: u64, lag: i64, with_store: bool) -> Story {
    let mut dice = Dice(seed);
    // Dice of their own: a seed's story without phases stays what it is.
    let mut of_phases = Dice(!seed);
    let features = Features {
        users: dice.below(3) > 0,
        keys: dice.one_in(4),
        mixed: dice.one_in(3),
        ranks: dice.one_in(2),
        counts: dice.one_in(2),
        lists: dice.one_in(3),
        stretch: [0, 4, 12, 40][dice.below(4)],
        lost: [100, 6, 3][dice.below(3)],
        phases: phases(&mut of_phases),
    };
    let mut story = play(&mut dice, &features, (lag, with_store));
    for _ in 0..[0, 1, 2, 3, 4, 6][dice.below(6)] {
        change(&mut dice, &mut story);
    }
    if features.phases.is_some() && of_phases.one_in(2) {
        misplace(&mut of_phases, &mut story);
    }
    story
}

/// When a campaign is created and when it is over, of one story in four.
fn phases(dice: &mut Dice) -> Option<(i64, i64)> {
    let (created, ended) = (dice.time(40) - 20, dice.time(120));
    dice.one_in(4).then_some((created, created.max(ended)))
}

/// Tells somebody of another phase.
fn misplace(dice: &mut Dice, story: &mut Story) {
    let asks = story.asks.iter_mut().filter(|ask| !ask.told.is_read());
    let mut asks: Vec<&mut Ask> = asks.collect();
    if !asks.is_empty() {
        let at = dice.below(asks.len());
        let told = [Told::NotFound, Told::Ended, Told::NotStarted, Told::SoldOut];
        asks[at].told = told[dice.below(4)];
    }
}

fn play(dice: &mut Dice, features: &Features, (lag, with_store): (i64, bool)) -> Story {
    let precedences = [Precedence::AlreadyFirst, Precedence::SoldOutFirst, Precedence::Either];
    let limit = (features.users && dice.below(4) > 0).then(|| precedences[dice.below(3)]);
    let start = dice.time(30);
    let start = features.phases.map_or(start, |(created, _)| start.max(created));
    let coupons = dice.below(5) as i64;
    let window = (start - dice.time(features.stretch), start + dice.time(features.stretch));
    let mut story = Story {
        coupons,
        start: window,
        limit,
        lag,
        answers_first: dice.one_in(2),
        asks: Vec::new(),
        rows: with_store.then(Vec::new),
    };
    let mut campaign = Campaign::default();
    for n in 0..dice.below(9) as i64 {
        let at = n * 10 + dice.time(9);
        let mut ask = draw(dice, features, &story, at);
        let (created, ended) = features.phases.unwrap_or((i64::MIN, i64::MAX));
        let phase = match () {
            () if at < created => Phase::Absent,
            () if at >= ended => Phase::Over,
            () if at < start => Phase::Ahead,
            () => Phase::Open,
        };
        ask.told = answer(dice, &mut campaign, &story, (&ask, phase), features);
        if dice.one_in(features.lost) && !ask.told.is_read() {
            ask.told = Told::Unknown;
            ask.to = ask.to.filter(|_| dice.one_in(2));
        }
        story.asks.push(ask);
    }
    let named = (dice.below(4) > 0, dice.below(3) > 0);
    let row = |i: &Issue| Row {
        code: i.code,
        user: i.user.filter(|_| named.0),
        key: i.key.filter(|_| named.1),
    };
    story.rows = with_store.then(|| campaign.issued.iter().map(row).collect());
    story
}

fn draw(dice: &mut Dice, features: &Features, story: &Story, at: i64) -> Ask {
    let reads = (features.counts || features.lists) && dice.one_in(3);
    let earlier = story.asks.iter().filter(|a| !a.told.is_read()).count();
    let (mut user, mut key) = (None, None);
    // Where a user may hold one coupon, every request says whose it is.
    let nobody = features.mixed && story.limit.is_none() && dice.one_in(3);
    if !reads && features.users && !nobody {
        user = Some(dice.below(4) as u8);
    }
    let keyed = features.keys && dice.below(3) > 0;
    if !reads && keyed {
        key = Some(dice.below(4) as u8);
        if earlier > 0 && dice.one_in(2) {
            let before = dice.below(earlier);
            let again = story.asks.iter().filter(|a| !a.told.is_read()).nth(before).unwrap();
            (user, key) = (again.user, again.key);
        }
    }
    let told = if reads { Told::Counted(0) } else { Told::Unknown };
    // A read shows the state of `at`, and may be sent later by the lag.
    let late = if reads { dice.time(story.lag) } else { 0 };
    let from = at + late - dice.time(features.stretch);
    let to = Some(from.max(at) + dice.time(features.stretch));
    Ask { user, key, from, to, told }
}

fn answer(
    dice: &mut Dice,
    campaign: &mut Campaign,
    story: &Story,
    (ask, phase): (&Ask, Phase),
    features: &Features,
) -> Told {
    let count = campaign.issued.len() as i64;
    let left = story.coupons - count;
    if ask.told.is_read() {
        if features.lists && (!features.counts || dice.one_in(2)) {
            return Told::Listed(campaign.issued.iter().map(|i| 1 << i.code).sum());
        }
        return if dice.one_in(2) { Told::Counted(count) } else { Told::Left(left) };
    }
    if dice.one_in(12) {
        return if dice.one_in(2) { Told::Failed } else { Told::Unknown };
    }
    match phase {
        Phase::Absent => return Told::NotFound,
        Phase::Ahead => return Told::NotStarted,
        Phase::Open | Phase::Over => {}
    }
    let same = |i: &Issue| ask.key.is_some() && (i.user, i.key) == (ask.user, ask.key);
    if let Some(before) = campaign.issued.iter().position(same) {
        return told(dice, campaign, before, story, features);
    }
    if phase == Phase::Over {
        return Told::Ended;
    }
    let mine = |i: &&Issue| story.limit.is_some() && i.user.is_some() && i.user == ask.user;
    if let Some(held) = campaign.issued.iter().find(mine) {
        let gone = left == 0
            && match story.limit {
                Some(Precedence::SoldOutFirst) => true,
                Some(Precedence::Either) => dice.one_in(2),
                Some(Precedence::AlreadyFirst) | None => false,
            };
        let code = dice.one_in(2).then_some(held.code);
        return if gone { Told::SoldOut } else { Told::Already(code) };
    }
    if left == 0 {
        return Told::SoldOut;
    }
    campaign.issued.push(Issue { code: count as u8, user: ask.user, key: ask.key });
    told(dice, campaign, campaign.issued.len() - 1, story, features)
}

fn told(
    dice: &mut Dice,
    campaign: &Campaign,
    at: usize,
    story: &Story,
    features: &Features,
) -> Told {
    let rank = at as i64 + 1;
    let mut some = |n: i64| (features.ranks && dice.one_in(2)).then_some(n);
    let (seq, remaining) = (some(rank), some(story.coupons - rank));
    Told::Issued { code: campaign.issued[at].code, seq, remaining }
}

/// Changes one thing.
fn change(dice: &mut Dice, story: &mut Story) {
    if story.asks.is_empty() {
        return;
    }
    let (a, b) = (dice.below(story.asks.len()), dice.below(story.asks.len()));
    let by = if dice.one_in(2) { 1 } else { -1 };
    match dice.below(13) {
        0 if story.asks[a].told.is_read() == story.asks[b].told.is_read() => {
            let (x, y) = (story.asks[a].told, story.asks[b].told);
            (story.asks[a].told, story.asks[b].told) = (y, x);
        }
        1 | 2 => shift(dice, &mut story.asks[a]),
        3 => story.coupons = (story.coupons + by).max(0),
        4 | 5 => twist(dice, &mut story.asks[a].told, by),
        6 => story.asks[a].user = story.asks[a].user.map(|_| dice.below(4) as u8),
        7 => story.asks[a].key = story.asks[a].key.map(|_| dice.below(4) as u8),
        8 if !story.asks[a].told.is_read() => story.asks[a].told = Told::Unknown,
        9 => story.start = (story.start.0 + by * dice.time(20), story.start.1 + 20),
        10 if !story.asks[a].told.is_read() => {
            let refusals = [Told::SoldOut, Told::NotStarted, Told::Already(None), Told::Failed];
            story.asks[a].told = refusals[dice.below(4)];
        }
        11 => {
            if let Some(rows) = story.rows.as_mut().filter(|rows| !rows.is_empty()) {
                let at = dice.below(rows.len());
                rows.remove(at);
            }
        }
        _ => {
            let code = dice.below(6) as u8;
            if let Told::Issued { code: told, .. } = &mut story.asks[a].told {
                *told = code;
            }
        }
    }
}

fn shift(dice: &mut Dice, ask: &mut Ask) {
    let by = dice.time(40) - 20;
    match dice.below(3) {
        0 => ask.from = ask.to.map_or(ask.from + by, |to| (ask.from + by).min(to)),
        1 => ask.to = ask.to.map(|to| (to + by).max(ask.from)),
        _ => (ask.from, ask.to) = (ask.from + by, ask.to.map(|to| to + by)),
    }
}

fn twist(dice: &mut Dice, told: &mut Told, by: i64) {
    match told {
        Told::Issued { seq, remaining, .. } => {
            let changed = if dice.one_in(2) { seq } else { remaining };
            *changed = Some(changed.map_or(1, |n| n + by));
        }
        Told::Counted(n) | Told::Left(n) => *n += by,
        Told::Listed(set) => *set ^= 1 << dice.below(5),
        Told::Already(code) => *code = (!dice.one_in(3)).then(|| dice.below(5) as u8),
        Told::SoldOut | Told::NotStarted | Told::Failed | Told::Unknown => {}
        Told::NotFound | Told::Ended => {}
    }
}
