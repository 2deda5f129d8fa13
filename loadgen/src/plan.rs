//! What a scenario would do, and whether it can: `loadgen plan`.
//!
//! The numbers come from the very schedule that a run follows, so they are exact.

mod beside;

use std::collections::VecDeque;
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::client::MOST_UNDER_WAY;
use crate::client::reach::{Reach, ReachError};
use crate::pace::Pacing;
use crate::report::{table, thousands};
use crate::run::{cores, thread_count};
use crate::scenario::{Load, Origin, Protocol, Saturate, Scenario, Span, Target, WarmUp};
use crate::schedule::Schedule;
use crate::users::Users;

/// Answer time that the attempts in flight are estimated for where none is given.
pub const USUAL_LATENCY: Span = Span::from_millis(50);
/// A table longer than this is shortened.
const MOST_ROWS: usize = 40;
/// Lengths of a row of a shortened table, in seconds.
const STEPS: [i64; 12] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 3_600];
/// Files the generator has open besides its connections: history, timers, logs, standard streams.
const OTHER_FILES: u64 = 64;
/// How long a target may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(2);
const SECOND: i64 = 1_000_000_000;

/// Prints the plan of a scenario; says whether nothing stands in its way.
pub fn show(scenario: &Scenario, latency: Span) -> bool {
    let schedule = Schedule::of(scenario);
    crate::print(&text(scenario, &schedule, latency));
    let findings = preflight(scenario, &schedule);
    for finding in &findings {
        crate::print(&format!("{finding}\n"));
    }
    findings.iter().all(|f| f.ready)
}

/// The plan as text, without what depends on the host.
pub fn text(scenario: &Scenario, schedule: &Schedule, latency: Span) -> String {
    let notes = beside::notes(scenario, schedule, targets(scenario));
    let planned = match scenario.load.saturate {
        Some(saturate) => saturating(scenario, saturate),
        None => arriving(scenario, schedule, latency),
    };
    planned + &notes
}

fn saturating(scenario: &Scenario, saturate: Saturate) -> String {
    let (name, begin) = (scenario.name.as_str(), scenario.load.begin);
    let (connections, length) = (u32::from(saturate.connections), saturate.length.span());
    format!(
        "{name}: as much as {} connections carry, from {begin} of the start for {length}\n\n",
        thousands(u64::from(connections))
    )
}

fn arriving(scenario: &Scenario, schedule: &Schedule, latency: Span) -> String {
    let seconds = per_second(schedule);
    let peak = seconds.iter().max_by_key(|s| s.arrivals);
    let peak = peak.map_or_else(String::new, |s| {
        format!(", at most {} in a second (second {})", thousands(s.arrivals), s.second)
    });
    let begin = Span::from_millis(schedule.begin() / 1_000_000);
    let end = Span::from_millis(schedule.end() / 1_000_000);
    let timeout = scenario.load.timeout.span();
    let limit = u32::from(scenario.load.max_in_flight);
    let estimate = |latency: Span| thousands(in_flight(schedule, latency.nanos()));
    format!(
        "{}: {} arrivals from {begin} to {end} of the start{peak}\n\n{}\n\n\
         in flight, where every answer takes {latency}: {}; {timeout} (the timeout): {}; the limit \
         is {}\n\n",
        scenario.name.as_str(),
        thousands(schedule.len()),
        arrivals(&seconds),
        estimate(latency),
        estimate(timeout),
        thousands(u64::from(limit)),
    )
}

/// A second of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    /// Which one, from the campaign's start on.
    second: i64,
    arrivals: u64,
}

fn per_second(schedule: &Schedule) -> Vec<Planned> {
    if schedule.is_empty() {
        return Vec::new();
    }
    let (first, last) = (schedule.begin().div_euclid(SECOND), schedule.end().div_euclid(SECOND));
    let mut before = 0;
    let planned = |second| {
        let until = schedule.count_before((second + 1) * SECOND);
        let arrivals = until - before;
        before = until;
        Planned { second, arrivals }
    };
    (first..=last).map(planned).collect()
}

/// One row for each second, or for several where there are too many. Rows begin at multiples of
/// their length, so that none spans the start.
fn arrivals(seconds: &[Planned]) -> String {
    let fits = |step: &&i64| rows(seconds, **step).len() <= MOST_ROWS;
    let step = STEPS.iter().find(fits).copied().unwrap_or(STEPS[STEPS.len() - 1]);
    if step == 1 {
        let mut table = table(&["second", "arrivals"]);
        for s in seconds {
            table.add_row([s.second.to_string(), thousands(s.arrivals)]);
        }
        return table.to_string();
    }
    let mut table = table(&["seconds", "arrivals", "fewest in a second", "most in a second"]);
    for row in rows(seconds, step) {
        let each = || row.iter().map(|s| s.arrivals);
        table.add_row([
            format!("{} to {}", row[0].second, row[row.len() - 1].second),
            thousands(each().sum()),
            thousands(each().min().unwrap_or(0)),
            thousands(each().max().unwrap_or(0)),
        ]);
    }
    table.to_string()
}

fn rows(seconds: &[Planned], step: i64) -> Vec<&[Planned]> {
    let row = |s: &Planned| s.second.div_euclid(step);
    seconds.chunk_by(|a, b| row(a) == row(b)).collect()
}

/// The most attempts in flight where every answer takes `latency`. Little's law for the busiest
/// stretch: what is in flight at a moment is what arrived within the latency before it.
fn in_flight(schedule: &Schedule, latency: i64) -> u64 {
    let (mut under_way, mut most) = (VecDeque::new(), 0);
    for arrival in schedule.share(0, 1) {
        while under_way.front().is_some_and(|due| due + latency <= arrival.due) {
            under_way.pop_front();
        }
        under_way.push_back(arrival.due);
        most = most.max(under_way.len());
    }
    most as u64
}

/// Something that was looked at before the run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    ready: bool,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.ready { '✓' } else { '✗' }, self.what)
    }
}

/// How many targets there are.
fn targets(scenario: &Scenario) -> u64 {
    match &scenario.system.origin {
        Origin::Targets(targets) => targets.len().max(1) as u64,
        Origin::Spawn(spawn) => u16::from(spawn.instances).into(),
    }
}

/// The most connections that attempts have open at once; polls, confirmations and reads come on top.
fn connections(load: &Load, targets: u64, protocol: Protocol) -> u64 {
    let under_way = load.saturate.map_or(load.max_in_flight, |saturate| saturate.connections);
    let warm = load.warm_up.as_ref().map_or(0, |warm_up| beside::opened(warm_up, targets));
    let under_way = u64::from(u32::from(under_way));
    let opened = match protocol {
        Protocol::Http1 => under_way,
        // Each target has at least one, and one more for each so many requests.
        Protocol::Http2 => under_way.div_ceil(MOST_UNDER_WAY as u64) + targets,
    };
    opened.max(warm)
}

/// Connections are opened between the campaign's creation and the first arrival, or not at all.
fn warm_up(warm_up: &WarmUp, targets: u64, room: Span) -> Finding {
    let needed = beside::length(warm_up, targets);
    let ready = needed < room;
    let remedy = if ready { "" } else { ": raise campaign.starts_in or load.warm_up.rate" };
    let what = format!("warm-up: {needed} of the {room} before the first arrival{remedy}");
    Finding { ready, what }
}

fn preflight(scenario: &Scenario, schedule: &Schedule) -> Vec<Finding> {
    let protocol = scenario.system.protocol;
    let wanted = connections(&scenario.load, targets(scenario), protocol);
    // A run raises the soft limit to the hard one by itself.
    let mut findings = vec![open_files(wanted, getrlimit(Resource::Nofile).maximum)];
    findings.extend(users(&scenario.users(), schedule.buyers()));
    let count = thread_count(scenario, schedule);
    findings.push(threads(count, cores()));
    let paced = format!("pacing: {}", Pacing::of(count, cores()).words());
    findings.push(Finding { ready: true, what: paced });
    if let (Some(wanted), None) = (&scenario.load.warm_up, scenario.campaign.starts_at) {
        let room = scenario.campaign.starts_in.nanos() + schedule.begin();
        findings.push(warm_up(wanted, targets(scenario), Span::from_nanos(room)));
    }
    match &scenario.system.origin {
        Origin::Targets(targets) => {
            findings.extend(ports(wanted.div_ceil(targets.len().max(1) as u64), port_range()));
            findings.extend(targets.iter().map(answers));
            findings.extend(Reach::of(&scenario.system).err().map(not_reachable));
        }
        Origin::Spawn(spawn) => findings.push(Finding {
            ready: true,
            what: format!("targets: {} started by the run", u16::from(spawn.instances)),
        }),
    }
    findings
}

fn open_files(in_flight: u64, limit: Option<u64>) -> Finding {
    let needed = in_flight + OTHER_FILES;
    let most = limit.map_or_else(|| "unlimited".to_owned(), thousands);
    let ready = limit.is_none_or(|limit| limit >= needed);
    let remedy = if ready { "" } else { ": raise it (ulimit -Hn) or lower load.max_in_flight" };
    let needed = thousands(needed);
    Finding { ready, what: format!("open files: up to {needed}, the limit is {most}{remedy}") }
}

/// Where there is a list of users, it has to be long enough.
fn users(users: &Users, arrivals: u64) -> Option<Finding> {
    let count = users.count()?;
    Some(match users.enough_for(arrivals) {
        Ok(()) => Finding { ready: true, what: format!("users: {}", thousands(count)) },
        Err(few) => Finding { ready: false, what: format!("users: {few}") },
    })
}

fn threads(threads: usize, cores: usize) -> Finding {
    let s = |n: usize| if n == 1 { "" } else { "s" };
    let what = format!("{threads} load thread{} on {cores} core{}", s(threads), s(cores));
    Finding { ready: true, what }
}

/// Each connection to one target takes a local port of its own.
fn ports(per_target: u64, range: Option<(u64, u64)>) -> Option<Finding> {
    let (first, last) = range?;
    let count = last.saturating_sub(first) + 1;
    let ready = per_target <= count;
    let remedy = if ready { "" } else { ": widen net.ipv4.ip_local_port_range or add targets" };
    let (needed, count) = (thousands(per_target), thousands(count));
    Some(Finding { ready, what: format!("local ports: up to {needed} of {count}{remedy}") })
}

fn port_range() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = text.split_whitespace().map(str::parse);
    Some((ends.next()?.ok()?, ends.next()?.ok()?))
}

fn not_reachable(why: ReachError) -> Finding {
    Finding { ready: false, what: why.to_string() }
}

fn answers(target: &Target) -> Finding {
    let found = target.authority.to_socket_addrs().and_then(|mut addresses| {
        let address = addresses.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        TcpStream::connect_timeout(&address, PATIENCE)
    });
    match found {
        Ok(_) => Finding { ready: true, what: format!("{} accepts connections", target.url()) },
        Err(e) => Finding { ready: false, what: format!("{} does not answer: {e}", target.url()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Load, Scheme};

    fn schedule(yaml: &str) -> Schedule {
        Schedule::new(&serde_saphyr::from_str::<Load>(yaml).unwrap(), 1)
    }

    #[test]
    fn every_second_is_exact() {
        let plan = schedule(
            "{begin: -1500ms, stages: [{for: 1500ms, rate: 10}, {for: 2s, rate: 100, to: 300}], \
             bursts: [{at: -20ms, requests: 50, over: 40ms}]}",
        );
        let found: Vec<(i64, u64)> =
            per_second(&plan).iter().map(|s| (s.second, s.arrivals)).collect();
        // Half of the burst lies before the start, half after it.
        assert_eq!(found, [(-2, 5), (-1, 35), (0, 175), (1, 250)]);
        assert_eq!(found.iter().map(|s| s.1).sum::<u64>(), plan.len());
    }

    #[test]
    fn a_long_plan_is_shortened_and_loses_nothing() {
        let plan = schedule("{begin: -5s, stages: [{for: 5s, rate: 2}, {for: 10m, rate: 3}]}");
        let text = arrivals(&per_second(&plan));
        assert!(text.lines().count() <= MOST_ROWS + 1, "{text}");
        let first: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(first, ["-5", "to", "-1", "10", "2", "2"], "{text}");
        let second: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(second, ["0", "to", "19", "60", "3", "3"], "{text}");
    }

    #[test]
    fn in_flight_follows_littles_law() {
        let steady = schedule("{begin: 0s, stages: [{for: 10s, rate: 1000}]}");
        for (latency, want) in [(50 * 1_000_000, 50), (SECOND, 1_000), (60 * SECOND, 10_000)] {
            let found = in_flight(&steady, latency);
            assert_eq!(found, want, "{latency}");
        }
        // Little's law on the mean rate would miss the burst.
        let burst = schedule(
            "{begin: 0s, stages: [{for: 10s, rate: 0}], \
             bursts: [{at: 5003ms, requests: 700, over: 10ms}]}",
        );
        assert_eq!(in_flight(&burst, 50 * 1_000_000), 700);
        assert_eq!(in_flight(&schedule("{begin: 0s, stages: [{for: 1s, rate: 0}]}"), 1), 0);
    }

    fn shown(changes: &[&str]) -> String {
        let overrides = crate::scenario::Overrides {
            set: changes.iter().map(|c| (*c).to_owned()).collect(),
            ..crate::scenario::Overrides::default()
        };
        let path = crate::scenario::shipped().join("smoke.yaml");
        let scenario = Scenario::load(&path, &overrides).unwrap();
        text(&scenario, &Schedule::of(&scenario), USUAL_LATENCY)
    }

    #[test]
    fn what_comes_beside_the_arrivals_is_named() {
        let plain = shown(&[]);
        assert!(plain.ends_with("the limit is 4,096\n\n"), "{plain}");
        let text = shown(&[
            "campaign.count=20",
            "campaign.apart=250ms",
            "buyers=[{requests: 2, retry: [{on: [busy], at_most: 3}, {on: [timeout], at_most: 1}]}]",
            "load.warm_up={connections: 50, rate: 400}",
        ]);
        // One campaign's plan has 1,010 arrivals: 60 + 850 + 100.
        for want in [
            "smoke: 40,400 arrivals from ",
            "20 campaigns, each 250ms after the one before: 2,020 arrivals each\n",
            "20,200 of the arrivals are further requests of the same buyers\n",
            "retries come on top, as the answers are: up to 3 of an arrival\n",
            "100 connections are opened before, 400 a second: 250ms\n",
        ] {
            assert!(text.contains(want), "{text}\nlacks {want}");
        }
    }

    #[test]
    fn a_load_without_arrivals_is_shown_as_what_it_is() {
        let saturate = "load.saturate={connections: 1500, for: 30s}";
        let text = shown(&["load.stages=[]", "load.bursts=[]", "load.begin=0s", saturate]);
        let want = "smoke: as much as 1,500 connections carry, from 0s of the start for 30s\n\n";
        assert_eq!(text, want);
    }

    #[test]
    fn a_warm_up_needs_its_time_and_its_connections() {
        let load = "{stages: [{for: 1s, rate: 1}], warm_up: {connections: 3000, rate: 1000}}";
        let load: Load = serde_saphyr::from_str(load).unwrap();
        let wanted = load.warm_up.as_ref().unwrap();
        let opened = |targets, protocol| connections(&load, targets, protocol);
        let http1 = [1, 2].map(|targets| opened(targets, Protocol::Http1));
        assert_eq!((http1, opened(1, Protocol::Http2)), ([4_096, 6_000], 3_000));
        let late = warm_up(wanted, 2, Span::from_millis(6_000)).to_string();
        let want = "✗ warm-up: 6s of the 6s before the first arrival: raise campaign.starts_in";
        assert!(late.starts_with(want), "{late}");
        assert!(warm_up(wanted, 2, Span::from_millis(6_001)).ready);
    }

    #[test]
    fn what_stands_in_the_way_is_named_with_its_remedy() {
        assert!(
            open_files(4_096, Some(4_160)).ready && open_files(u64::from(u32::MAX), None).ready
        );
        let short = open_files(4_096, Some(1_024)).to_string();
        assert!(
            short.starts_with("✗ open files: up to 4,160, the limit is 1,024: raise"),
            "{short}"
        );
        assert!(ports(28_232, Some((32_768, 60_999))).unwrap().ready);
        assert!(!ports(28_233, Some((32_768, 60_999))).unwrap().ready);
        assert_eq!(threads(1, 2).to_string(), "✓ 1 load thread on 2 cores");
    }

    #[test]
    fn a_target_answers_or_does_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let target = Target { scheme: Scheme::Http, authority };
        assert!(answers(&target).ready);
        drop(listener);
        let finding = answers(&target).to_string();
        assert!(finding.contains("does not answer: Connection refused"), "{finding}");
    }
}
