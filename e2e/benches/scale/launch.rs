//! A launch that went well, written down as a load generator with two load threads would have: nobody
//! asked anything. Its store stands beside it.

use std::collections::VecDeque;
use std::path::Path;

use contract::campaign::{PerUser, Precedence};
use contract::history::clock::Probe;
use contract::history::stored::{Record, Segment, StoredPromise};
use contract::history::{Completion, Invocation, Kind};
use contract::outcome::{Coupon, Observation, Outcome};

/// Requests are sent so far apart, and answered so much later, in nanoseconds.
const APART: i64 = 1_000;
const TAKES: i64 = 500_000;
/// So many requests of each campaign come before its start.
const EARLY: u64 = 100;
/// Where anybody counts, each load thread does so once while so many requests are sent: each 10 ms.
const COUNTED_EACH: u64 = 10_000;
/// The load threads.
const THREADS: usize = 2;

/// So many requests of so many campaigns, one campaign after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    pub(crate) requests: u64,
    pub(crate) campaigns: u64,
    pub(crate) told: Told,
}

/// What is told of a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its code alone.
    Code,
    /// Its code, its rank and how many are left, as coupon-server tells them; and somebody reads the
    /// number of those that were issued.
    Rank,
}

/// One request.
struct Asked {
    op: u64,
    kind: Kind,
    /// Its campaign, and its place among the requests of it.
    campaign: u64,
    at: u64,
}

impl Launch {
    fn of_each(&self) -> u64 {
        self.requests / self.campaigns
    }

    /// Of each campaign.
    fn offered(&self) -> u64 {
        self.of_each() / 10
    }

    /// Of all.
    pub(crate) fn coupons(&self) -> u64 {
        self.offered() * self.campaigns
    }

    /// Writes its history and its SQLite store.
    pub(crate) fn write(&self, dir: &Path) {
        let history = dir.join("history");
        std::fs::create_dir_all(&history).unwrap();
        self.write_control(&history);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let history = &history;
                scope.spawn(move || self.write_segment(history, thread));
            }
        });
        self.write_store(&dir.join("coupons.db"));
    }

    fn write_control(&self, history: &Path) {
        let mut control = Segment::create(history, "control").unwrap();
        for campaign in 0..self.campaigns {
            let promise = StoredPromise {
                campaign: (campaign + 1).to_string().into(),
                coupons: self.offered(),
                starts_at_unix_ns: self.starts_at(campaign),
                per_user: Some(PerUser { limit: 1, precedence: Precedence::AlreadyFirst }),
                restock: false,
            };
            control.append(&Record::Campaign(promise)).unwrap();
        }
        // The clock was asked all the time: what is not known of it would make all coupons matter.
        for campaign in 0..self.campaigns {
            let at = self.starts_at(campaign);
            let probe = Probe { sent: at, received: at, stamp: at, resolution: 0 };
            control.append(&Record::Probe(probe)).unwrap();
        }
        control.finish().unwrap();
    }

    fn sent(&self, asked: &Asked) -> i64 {
        let number = asked.campaign * self.of_each() + asked.at;
        i64::try_from(number).unwrap() * APART
    }

    fn starts_at(&self, campaign: u64) -> i64 {
        self.sent(&Asked { op: 0, kind: Kind::Issue, campaign, at: EARLY })
    }

    fn write_segment(&self, history: &Path, thread: usize) {
        let mut segment = Segment::create(history, &format!("worker-{thread}")).unwrap();
        let mut under_way: VecDeque<Asked> = VecDeque::new();
        let all = 0..self.of_each() * self.campaigns;
        for number in all.skip(thread).step_by(THREADS) {
            let (campaign, at) = (number / self.of_each(), number % self.of_each());
            let asked = Asked { op: number + 1, kind: Kind::Issue, campaign, at };
            while let Some(first) =
                under_way.pop_front_if(|first| self.sent(first) + TAKES <= self.sent(&asked))
            {
                self.answer(&mut segment, &first);
            }
            self.ask(&mut segment, &asked);
            under_way.push_back(asked);
            if self.told == Told::Rank && number % COUNTED_EACH < THREADS as u64 {
                let op = self.requests + 1 + number;
                let read = Asked { op, kind: Kind::Read, campaign, at };
                self.ask(&mut segment, &read);
                under_way.push_back(read);
            }
        }
        under_way.iter().for_each(|asked| self.answer(&mut segment, asked));
        segment.finish().unwrap();
    }

    fn ask(&self, segment: &mut Segment, asked: &Asked) {
        let number = asked.campaign * self.of_each() + asked.at;
        let user = (asked.kind == Kind::Issue).then(|| format!("u{number:09}").into());
        let invoked = Invocation {
            op: asked.op,
            campaign: (asked.campaign + 1).to_string().into(),
            kind: asked.kind,
            at: self.sent(asked),
            intended: Some(self.sent(asked) - 20_000),
            woken: Some(self.sent(asked) - 5_000),
            target: Some((number % 5) as u16),
            user,
            key: None,
            follows: None,
        };
        segment.append(&Record::Invoke(invoked)).unwrap();
    }

    fn answer(&self, segment: &mut Segment, asked: &Asked) {
        let place = asked.at.checked_sub(EARLY);
        let ranked = |number: u64| Some(sql(number)).filter(|_| self.told == Told::Rank);
        let outcome = match place {
            _ if asked.kind == Kind::Read => {
                let issued = place.unwrap_or(0).min(self.offered());
                Outcome::Read(Observation::Issued(sql(issued)))
            }
            // They were answered before the start.
            None => Outcome::NotStarted,
            Some(seq) if seq < self.offered() => Outcome::Issued(Coupon {
                code: code(asked.campaign * self.offered() + seq).into(),
                seq: ranked(seq + 1),
                remaining: ranked(self.offered() - seq - 1),
                order: None,
            }),
            Some(_) => Outcome::SoldOut,
        };
        let at = self.sent(asked) + TAKES;
        let status = Some(match asked.kind {
            Kind::Read => 200,
            Kind::Issue if matches!(outcome, Outcome::Issued(_)) => 201,
            Kind::Issue | Kind::Poll | Kind::Confirm => 409,
        });
        let completed =
            Completion { op: asked.op, at, accepted: None, outcome, status, stamp: None };
        segment.append(&Record::Complete(completed)).unwrap();
    }

    /// As coupon-server lays it out.
    fn write_store(&self, path: &Path) {
        let mut store = rusqlite::Connection::open(path).unwrap();
        store.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").unwrap();
        store.execute_batch(include_str!("../../../server/src/store/sqlite/schema.sql")).unwrap();
        let writing = store.transaction().unwrap();
        for campaign in 0..self.campaigns {
            writing
                .execute(
                    "INSERT INTO campaigns (number, name, coupons, starts_at_us, per_user_limit, \
                     issued, created_at_us) VALUES (?1, 'x', ?2, ?3, 1, ?2, 0)",
                    (sql(campaign + 1), sql(self.offered()), self.starts_at(campaign) / 1_000),
                )
                .unwrap();
            let mut insert = writing
                .prepare_cached(
                    "INSERT INTO coupons (campaign, seq, code, user, key, issued_at_us) \
                     VALUES (?1, ?2, ?3, ?4, NULL, ?5)",
                )
                .unwrap();
            for seq in 0..self.offered() {
                let number = campaign * self.of_each() + EARLY + seq;
                let code = code(campaign * self.offered() + seq);
                let at_us = self.starts_at(campaign) / 1_000 + sql(seq);
                insert
                    .execute((
                        sql(campaign + 1),
                        sql(seq + 1),
                        code,
                        format!("u{number:09}"),
                        at_us,
                    ))
                    .unwrap();
            }
        }
        writing.commit().unwrap();
    }
}

fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

/// A code of its own for each number.
pub(crate) fn code(number: u64) -> String {
    let first = char::from_u32(0xAC00 + (number % 11_172) as u32).unwrap();
    format!("{first}{number:09}")
}
