//! Every bug makes a difference: a small launch on a real store, with it and without it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use contract::wire::{LedgerRow, NewCampaign, Problem, ProblemCode};
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{Response, StatusCode};

use super::answer::Distortion;
use super::slip::Slip;
use super::store::Mutated;
use super::{Luck, Mutant, Nature, Sabotage};
use crate::code::CampaignNumber;
use crate::store::postgres::{PostgresStore, Settings};
use crate::store::redis::{self, RedisStore};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Ask, CampaignState, Coupon, Decision, Lead, Queue, Sharing, Store, StoreError};
use crate::user::User;

/// What can be said of a launch, and is the same for every one without a bug.
type Facts = BTreeMap<String, i64>;
type Told = (Ask, Result<Decision, StoreError>);

fn at(second_and_ms: (i64, u32)) -> DateTime<Utc> {
    let (second, ms) = second_and_ms;
    DateTime::from_timestamp(second, ms * 1_000_000).unwrap()
}

async fn until(moment: DateTime<Utc>) {
    tokio::time::sleep((moment - Utc::now()).to_std().unwrap_or_default()).await;
}

fn well_formed(code: &str) -> bool {
    let fits = |c: char| ('가'..='힣').contains(&c) || c.is_ascii_digit();
    (1..=10).contains(&code.chars().count()) && code.chars().all(fits)
}

/// A launch over two instances.
struct Launch<S> {
    instances: [S; 2],
    campaign: CampaignNumber,
    facts: Facts,
    codes: HashMap<String, HashSet<String>>,
    all: Vec<Coupon>,
}

impl<S: Store> Launch<S> {
    fn note(&mut self, fact: &str, by: usize) {
        *self.facts.entry(fact.to_owned()).or_default() += i64::try_from(by).unwrap();
    }

    /// Requests of these users at once, each through the instance of its number.
    async fn rush(&mut self, phase: &str, users: impl IntoIterator<Item = (u32, String)>) {
        let campaign = self.campaign;
        let ask = |(n, key)| Ask { campaign, user: User::new(format!("u{n}")), key: Some(key) };
        let asks: Vec<(u32, Ask)> = users.into_iter().map(|(n, key)| (n, ask((n, key)))).collect();
        let told = asks
            .into_iter()
            .map(async |(n, ask)| (ask.clone(), self.instances[n as usize % 2].issue(ask).await));
        let mut told = join_all(told).await;
        // Which of two requests of a user comes first is up to the store.
        told.sort_by_key(|(_, told)| !matches!(told, Ok(Decision::Issued(_))));
        told.into_iter().for_each(|told| self.heard(phase, told));
    }

    fn heard(&mut self, phase: &str, (ask, told): Told) {
        let user = ask.sent().to_owned();
        let what = match told {
            Err(_) => "error",
            Ok(Decision::SoldOut) => "sold_out",
            Ok(Decision::NotStarted) => "not_started",
            Ok(Decision::UserMissing | Decision::UnknownCampaign | Decision::Cancelled) => {
                "nonsense"
            }
            Ok(Decision::AlreadyIssued { code }) => {
                let theirs = self.codes.get(&user).is_some_and(|codes| codes.contains(&code));
                if theirs { "already_issued" } else { "already_issued_what" }
            }
            Ok(Decision::Issued(coupon)) => {
                self.note("malformed", usize::from(!well_formed(&coupon.code)));
                self.codes.entry(user).or_default().insert(coupon.code.clone());
                self.all.push(coupon);
                "issued"
            }
        };
        self.note(&format!("{phase}: {what}"), 1);
    }

    /// What the store holds, against what was told.
    async fn audit(&mut self, phase: &str) {
        let state = self.instances[0].campaign(self.campaign).await.unwrap().unwrap();
        let rows = self.instances[0].ledger(self.campaign, 0, 1_000).await.unwrap().unwrap();
        let held: HashSet<_> =
            rows.iter().map(|row| (row.user.clone().unwrap_or_default(), &row.code)).collect();
        let told = self.codes.iter().flat_map(|(user, codes)| {
            codes.iter().map(|code| (user.clone(), code)).collect::<Vec<_>>()
        });
        let lost = told.filter(|row| !held.contains(row)).count();
        let codes: HashSet<_> = rows.iter().map(|row| &row.code).collect();
        let prefix = self.campaign.prefix();
        let foreign = codes.iter().filter(|code| !code.starts_with(&prefix)).count();
        let last = rows.last().map_or(0, |row| row.seq);
        for (fact, number) in [
            ("counter", usize::try_from(state.issued).unwrap()),
            ("rows", rows.len()),
            ("last", usize::try_from(last).unwrap()),
            ("codes", codes.len()),
            ("foreign", foreign),
            ("lost", lost),
        ] {
            self.note(&format!("{phase}: {fact}"), number);
        }
    }

    /// What the answers say of this campaign, before the next one begins.
    fn conclude(&mut self) {
        let (all, codes) = (std::mem::take(&mut self.all), std::mem::take(&mut self.codes));
        let ranks: HashSet<_> = all.iter().map(|coupon| coupon.seq).collect();
        let highest = ranks.iter().max().copied().unwrap_or(0);
        self.note("ranks", ranks.len());
        self.note("highest rank", usize::try_from(highest).unwrap());
        self.note("sums", all.iter().filter(|c| c.seq + c.remaining != 60).count());
        self.note("two codes", codes.values().filter(|codes| codes.len() > 1).count());
    }
}

/// New requests of these users.
fn new(phase: &str, users: std::ops::Range<u32>) -> Vec<(u32, String)> {
    users.map(|n| (n, format!("{phase}-{n}"))).collect()
}

async fn launch<S: Store>(mut instances: [S; 2], starts_at: DateTime<Utc>) -> Facts {
    let mut starts_at = starts_at;
    loop {
        match try_launch(instances, starts_at).await {
            Ok(facts) => return facts,
            // The machine was too slow for the early ones to be early.
            Err(again) => (instances, starts_at) = (again, soon()),
        }
    }
}

async fn try_launch<S: Store>(
    instances: [S; 2],
    starts_at: DateTime<Utc>,
) -> Result<Facts, [S; 2]> {
    let campaign = |limit| NewCampaign {
        name: "launch".to_owned(),
        coupons: 60,
        starts_at,
        per_user_limit: limit,
    };
    let limited = instances[0].create(campaign(Some(1)), None).await.unwrap().number;
    let free = instances[0].create(campaign(None), None).await.unwrap().number;
    let mut all = Launch {
        instances,
        campaign: limited,
        facts: Facts::new(),
        codes: HashMap::new(),
        all: Vec::new(),
    };
    until(starts_at - Duration::from_millis(90)).await;
    all.rush("early", new("early", 0..6)).await;
    if Utc::now() >= starts_at {
        return Err(all.instances);
    }
    until(starts_at + Duration::from_millis(10)).await;
    all.audit("begin").await;
    all.rush("begin", new("begin", 10..50)).await;
    all.audit("middle").await;
    all.rush("same key", new("begin", 10..50)).await;
    all.rush("new key", new("again", 10..30)).await;
    all.rush("twice", [new("a", 60..64), new("b", 60..64)].concat()).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    all.rush("later", new("later", 10..20)).await;
    all.rush("end", new("end", 70..130)).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    all.rush("over", new("over", 130..150)).await;
    all.rush("over again", new("over again", 130..150)).await;
    all.rush("holders", new("holders", 10..20)).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    all.audit("end").await;
    all.conclude();
    all.campaign = free;
    all.rush("free", new("free", 10..50)).await;
    all.rush("free again", new("free", 10..50)).await;
    all.audit("free").await;
    all.conclude();
    Ok(all.facts)
}

const QUEUE: Queue = Queue { capacity: 1_000, patience: Duration::MAX };

/// Two instances on a store of their own, of number `n`.
fn sqlite(dir: &Path, n: usize) -> [SqliteStore; 2] {
    let path = dir.join(format!("{n}.db"));
    let settings = sqlite::Settings { queue: QUEUE, sharing: Sharing::Gathered };
    std::array::from_fn(|_| SqliteStore::open(&path, settings).unwrap())
}

/// Two instances on a database of their own, of number `n`.
async fn redis(server: &e2e::Redis, n: usize) -> [RedisStore; 2] {
    let url = format!("redis://127.0.0.1:{}/{n}", server.port());
    let settings = redis::Settings {
        queue: QUEUE,
        timeout: Duration::from_secs(5),
        durability: redis::Durability::Memory,
        sharing: Sharing::Gathered,
        ca: None,
    };
    let connect = || RedisStore::connect(&url, settings.clone());
    [connect().await.unwrap(), connect().await.unwrap()]
}

/// Two instances on a database of their own, of number `n`.
async fn postgres(server: &e2e::Postgres, n: usize) -> [PostgresStore; 2] {
    server.sql(&format!("CREATE DATABASE launch_{n}"));
    let url = format!("postgres://postgres@127.0.0.1:{}/launch_{n}", server.port());
    let timeout = Duration::from_secs(5);
    let settings = Settings { queue: QUEUE, timeout, sharing: Sharing::Gathered, ca: None };
    let connect = || PostgresStore::connect(&url, settings.clone());
    [connect().await.unwrap(), connect().await.unwrap()]
}

/// 600 ms after a whole second, and soon.
fn soon() -> DateTime<Utc> {
    at((Utc::now().timestamp() + 2, 600))
}

async fn clean_on_sqlite() -> Facts {
    let dir = tempfile::tempdir().unwrap();
    launch(sqlite(dir.path(), 0), soon()).await
}

/// Bugs of answers, which a store does not have.
const OF_ANSWERS: [Mutant; 3] =
    [Mutant::WrongStatus, Mutant::SwappedResponses, Mutant::TruncatedBody];

/// A few at a time: their machine is one.
fn bugs_of_stores(at_once: usize) -> Vec<Vec<Mutant>> {
    let of_stores = |m: &&Mutant| !OF_ANSWERS.contains(m) && m.nature() != Nature::Trap;
    let all: Vec<_> = Mutant::ALL.iter().filter(of_stores).copied().collect();
    all.chunks(at_once).map(<[_]>::to_vec).collect()
}

/// Those of these bugs that come out as the clean store does, which has the first of the stores.
async fn equivalent<S: Sabotage>(bugs: &[Mutant], stores: Vec<[S; 2]>) -> Vec<&'static str> {
    let starts_at = soon();
    let mut stores = stores.into_iter();
    let right = launch(stores.next().unwrap(), starts_at);
    let wrong = bugs.iter().zip(stores).map(|(&bug, stores)| {
        launch(stores.map(|store| Mutated::new(store, bug, Luck::new(1))), starts_at)
    });
    let (right, wrong) = tokio::join!(right, join_all(wrong));
    let same = bugs.iter().zip(wrong).filter(|(_, facts)| *facts == right);
    same.map(|(bug, _)| bug.name()).collect()
}

/// Panics if a bug makes no difference, where `unseen` names those of some bugs that make none.
async fn each_makes_a_difference(
    at_once: usize,
    mut unseen: impl AsyncFnMut(&[Mutant]) -> Vec<&'static str>,
) {
    let mut perhaps = Vec::new();
    for bugs in bugs_of_stores(at_once) {
        perhaps.extend(unseen(&bugs).await);
    }
    // So many launches can be late for the start on a busy machine: again, one by one.
    for name in perhaps {
        assert!(unseen(&[name.parse().unwrap()]).await.is_empty(), "nobody can see {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bug_makes_a_difference_on_sqlite() {
    let unseen = async |bugs: &[Mutant]| {
        let dir = tempfile::tempdir().unwrap();
        let stores = (0..=bugs.len()).map(|n| sqlite(dir.path(), n)).collect();
        equivalent(bugs, stores).await
    };
    each_makes_a_difference(12, unseen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bug_makes_a_difference_on_redis() {
    let unseen = async |bugs: &[Mutant]| {
        let server = e2e::Redis::start();
        let stores = join_all((0..=bugs.len()).map(|n| redis(&server, n))).await;
        equivalent(bugs, stores).await
    };
    each_makes_a_difference(12, unseen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bug_makes_a_difference_on_postgres() {
    let server = e2e::Postgres::start();
    let mut databases = 0..;
    let unseen = async |bugs: &[Mutant]| {
        let numbers: Vec<usize> = databases.by_ref().take(bugs.len() + 1).collect();
        let stores = join_all(numbers.iter().map(|n| postgres(&server, *n))).await;
        equivalent(bugs, stores).await
    };
    // Each of their connections is a process.
    each_makes_a_difference(5, unseen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bug_every_launch_is_the_same() {
    let (one, other) = (clean_on_sqlite().await, clean_on_sqlite().await);
    assert_eq!(one, other);
    assert_eq!((one["end: rows"], one["malformed"], one["two codes"]), (60, 0, 0), "{one:#?}");
}

/// A store that decides by the step that bugs are made of.
struct Stepped<S>(S);

impl<S: Sabotage> Store for Stepped<S> {
    async fn create(
        &self,
        new: NewCampaign,
        key: Option<String>,
    ) -> Result<CampaignState, StoreError> {
        self.0.create(new, key).await
    }

    async fn cancel(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        self.0.cancel(number).await
    }

    async fn campaign(&self, number: CampaignNumber) -> Result<Option<CampaignState>, StoreError> {
        self.0.campaign(number).await
    }

    async fn ledger(
        &self,
        number: CampaignNumber,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<LedgerRow>>, StoreError> {
        self.0.ledger(number, after, limit).await
    }

    async fn issue(&self, ask: Ask) -> Result<Decision, StoreError> {
        self.0.slip(ask, Slip::default()).await
    }

    async fn ready(&self) -> Result<DateTime<Utc>, StoreError> {
        self.0.ready().await
    }

    async fn lead(&self, name: &str) -> Result<Lead, StoreError> {
        self.0.lead(name).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_a_slip_is_the_clean_one() {
    let clean = clean_on_sqlite().await;
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(launch(sqlite(dir.path(), 0).map(Stepped), soon()).await, clean);
    let server = e2e::Redis::start();
    assert_eq!(launch(redis(&server, 0).await.map(Stepped), soon()).await, clean);
    let server = e2e::Postgres::start();
    assert_eq!(launch(postgres(&server, 0).await.map(Stepped), soon()).await, clean);
}

fn answer(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer
}

async fn text(answer: Response<Full<Bytes>>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn sold_out_with_the_wrong_status() {
    let bug = Distortion::new(Mutant::WrongStatus, Luck::new(1));
    for (code, status) in [(ProblemCode::SoldOut, 201), (ProblemCode::AlreadyIssued, 409)] {
        let problem = serde_json::to_string(&Problem::new(code, "")).unwrap();
        let told = bug.distort("k", answer(StatusCode::CONFLICT, &problem)).await;
        assert_eq!(told.status(), status);
        assert_eq!(text(told).await, problem);
    }
}

#[tokio::test]
async fn some_bodies_break_off() {
    let bug = Distortion::new(Mutant::TruncatedBody, Luck::new(1));
    let mut short = 0;
    for n in 0..400 {
        let told = bug.distort(&n.to_string(), answer(StatusCode::CREATED, "{\"code\":1}")).await;
        short += usize::from(text(told).await == "{\"cod");
    }
    assert!((1..40).contains(&short), "{short}");
}

#[tokio::test]
async fn some_answers_change_places_and_none_is_lost() {
    let bug = Distortion::new(Mutant::SwappedResponses, Luck::new(1));
    let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let told = names.iter().map(|name| async {
        text(bug.distort(name, answer(StatusCode::CREATED, name)).await).await
    });
    let mut told = join_all(told).await;
    assert_ne!(told, names);
    told.sort_by_key(|n| n.parse::<u32>().unwrap());
    assert_eq!(told, names);
    let refusal = bug.distort("0", answer(StatusCode::CONFLICT, "no")).await;
    assert_eq!(text(refusal).await, "no");
}

#[test]
fn the_list_names_each_bug_once_with_what_should_see_it() {
    let names: HashSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    assert_eq!(names.len(), Mutant::ALL.len());
    for mutant in Mutant::ALL {
        assert_eq!(mutant.name().parse(), Ok(*mutant));
        assert_eq!(mutant.checks().is_empty(), mutant.nature() == Nature::Trap);
    }
    assert_eq!(Mutant::list().lines().count(), Mutant::ALL.len());
}
