//! `cargo bench -p e2e --bench scale`: how long the verifier takes for how much, and how much memory.
//!
//! Histories of launches that went well, with the ledgers of their stores, from a million requests to
//! as many as asked for; a tenth of the requests get a coupon. The limit is a bare pass: the same
//! history read and decoded on the same processors by a program that does nothing with it, in processor
//! time.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod launch;
mod peers;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use launch::{Launch, Told};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const USAGE: &str = "\
usage: cargo bench -p e2e --bench scale [-- MILLIONS...]
       cargo bench -p e2e --bench scale -- write DIR MILLIONS CAMPAIGNS
  MILLIONS   millions of requests of each history (72 bytes each on disk) [default: 1 10]
  write      only writes such a history, of so many campaigns, and its store into an empty folder";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let asked: Vec<String> = arguments.by_ref().collect();
    if let [bare, history] = asked.as_slice()
        && bare == "bare-pass"
    {
        return bare_pass(Path::new(history));
    }
    if let [search, story, size] = asked.as_slice()
        && search == "search"
    {
        std::process::exit(peers::search(story, size.parse().unwrap()));
    }
    if let [write, dir, millions, campaigns] = asked.as_slice()
        && write == "write"
    {
        let requests = millions.parse::<u64>().unwrap() * 1_000_000;
        let launch = Launch { requests, campaigns: campaigns.parse().unwrap(), told: Told::Rank };
        return launch.write(Path::new(dir));
    }
    let sizes: Result<Vec<u64>, _> = asked.iter().map(|size| size.parse()).collect();
    let Ok(sizes) = sizes else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let sizes = if sizes.is_empty() { vec![1, 10] } else { sizes };
    scale(&sizes);
    peers::compare();
}

fn scale(sizes: &[u64]) {
    println!("\n## Scale\n");
    println!(
        "| requests | coupons | campaigns | told | store | s | CPU s | x bare pass | peak MiB |"
    );
    println!(
        "| -------: | ------: | --------: | ---- | ----- | -: | ----: | ----------: | -------: |"
    );
    for &millions in sizes {
        for (campaigns, told) in [(1, Told::Rank), (millions * 100, Told::Rank), (1, Told::Code)] {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let launch = Launch { requests: millions * 1_000_000, campaigns, told };
            launch.write(dir.path());
            [false, true].into_iter().for_each(|stored| row(&launch, dir.path(), stored));
        }
    }
}

fn row(launch: &Launch, dir: &Path, stored: bool) {
    let history = dir.join("history");
    let itself = std::env::current_exe().unwrap();
    let bare = run(Command::new(itself).arg("bare-pass").arg(&history));
    let mut check = Command::new(e2e::binary("verifier"));
    check.arg("check").arg("--history").arg(&history);
    if stored {
        check.arg("--store").arg(format!("sqlite:{}", dir.join("coupons.db").display()));
    }
    let judged = run(&mut check);
    println!(
        "| {} | {} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.0} |",
        launch.requests,
        launch.coupons(),
        launch.campaigns,
        if launch.told == Told::Rank { "ranks, reads" } else { "codes" },
        if stored { "SQLite" } else { "none" },
        judged.took.as_secs_f64(),
        judged.worked.as_secs_f64(),
        judged.worked.as_secs_f64() / bare.worked.as_secs_f64(),
        judged.peak_mib(),
    );
}

/// How long a program ran, how long on a processor, and the most memory that it had.
struct Ran {
    took: Duration,
    worked: Duration,
    peak_kib: u64,
}

impl Ran {
    fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }
}

fn run(command: &mut Command) -> Ran {
    let (ran, code) = run_for(command.stdout(Stdio::null()), Duration::MAX).unwrap();
    assert_eq!(code, 0, "{command:?}");
    ran
}

/// What a program ended with; nothing where it took longer.
fn run_for(command: &mut Command, longest: Duration) -> Option<(Ran, i32)> {
    let (began, before) = (Instant::now(), processor_time());
    let mut child = command.spawn().unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while began.elapsed() < longest {
        // The kernel keeps the peak; it is gone with the process.
        let status = std::fs::read_to_string(&status_file).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak_kib = peak.unwrap_or(peak_kib).max(peak_kib);
        if let Some(status) = child.try_wait().unwrap() {
            let worked = processor_time() - before;
            let ran = Ran { took: began.elapsed(), worked, peak_kib };
            return Some((ran, status.code().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// What all programs that ran so far have had, in the kernel too. It tells more than a clock does
/// where others use the machine.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let spent = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Duration::from_micros(spent.iter().sum::<i64>().try_into().unwrap())
}

fn bare_pass(history: &Path) {
    let count = |n: &mut u64, _: contract::history::Event<'_>| *n += 1;
    let (counts, _) = contract::history::stored::read_apart(history, || 0_u64, count).unwrap();
    std::hint::black_box(counts);
}
