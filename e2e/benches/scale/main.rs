//! `cargo bench -p e2e --bench scale`: how long the verifier takes for how much, and how much memory.
//! Writes `docs/scale.md`.
//!
//! Histories of launches that went well, with the ledgers of their stores, from a million requests to
//! as many as asked for; a tenth of the requests get a coupon. The limit is a bare pass: the same
//! history read and decoded on the same processors by a program that does nothing with it, in processor
//! time.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod launch;
mod measure;
mod peers;
mod report;
#[expect(dead_code, reason = "what reports of benchmarks share; this one has no medians")]
#[path = "../compare/table.rs"]
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use launch::{Launch, Told};
use measure::{Ran, run};

const USAGE: &str = "\
usage: cargo bench -p e2e --bench scale [-- [--quick] MILLIONS...]
       cargo bench -p e2e --bench scale -- write DIR MILLIONS CAMPAIGNS
  MILLIONS   millions of requests of each history (72 bytes each on disk) [default: 1 10]
  --quick    smaller histories beside other checkers, and docs/scale.md stays as it is
  write      only writes such a history, of so many campaigns, and its store into an empty folder";

/// Of more requests no history is written whose coupons tell nothing but their codes: it is the
/// simplest case.
const MOST_OF_CODES: u64 = 10_000_000;

/// Each history is judged so often, in turns.
const ROUNDS: usize = 3;

/// A history that was judged: of each, the run that took the median time.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) launch: Launch,
    /// Nothing was done with it.
    pub(crate) bare: Ran,
    pub(crate) alone: Ran,
    /// With the rows of its store.
    pub(crate) stored: Ran,
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    match asked.as_slice() {
        ["bare-pass", history] => measure::bare_pass(Path::new(history)),
        ["search", history] => std::process::exit(peers::search(Path::new(history))),
        ["write", dir, millions, campaigns] => {
            let (Ok(millions), Ok(campaigns)) = (millions.parse::<u64>(), campaigns.parse()) else {
                usage()
            };
            let requests = millions * 1_000_000;
            Launch { requests, campaigns, told: Told::Rank }.write(Path::new(dir));
        }
        ["--quick", sizes @ ..] => println!("{}", measured(sizes, true)),
        sizes => {
            let text = measured(sizes, false);
            println!("{text}");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.md");
            std::fs::write(path, text).unwrap();
            eprintln!("written to docs/scale.md");
        }
    }
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    std::process::exit(2)
}

fn measured(sizes: &[&str], quick: bool) -> String {
    let sizes: Result<Vec<u64>, _> = sizes.iter().map(|size| size.parse()).collect();
    let Ok(mut sizes) = sizes else { usage() };
    if sizes.is_empty() {
        sizes = vec![1, 10];
    }
    let judged = sizes.iter().flat_map(|millions| shapes(millions * 1_000_000)).map(judged);
    report::text(&sizes, &judged.collect::<Vec<_>>(), &peers::compare(quick))
}

/// What is judged of one size.
fn shapes(requests: u64) -> impl Iterator<Item = Launch> {
    let ranks = [1, requests / 10_000].map(|campaigns| (campaigns, Told::Rank));
    let codes = (requests <= MOST_OF_CODES).then_some((1, Told::Code));
    ranks.into_iter().chain(codes).map(move |(campaigns, told)| Launch {
        requests,
        campaigns,
        told,
    })
}

fn judged(launch: Launch) -> Judged {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    eprintln!("{} requests, {} campaigns: writing", launch.requests, launch.campaigns);
    launch.write(dir.path());
    let (history, store) = (dir.path().join("history"), dir.path().join("coupons.db"));
    let itself = std::env::current_exe().unwrap();
    let url = format!("sqlite:{}", store.display());
    let mut ran = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        let mut bare = Command::new(&itself);
        let (mut alone, mut stored) = (verifier(), verifier());
        let commands = [
            bare.arg("bare-pass").arg(&history),
            alone.arg(&history),
            stored.arg(&history).arg("--store").arg(&url),
        ];
        for (ran, command) in ran.iter_mut().zip(commands) {
            measure::read_once(dir.path());
            ran.push(run(command));
        }
    }
    for (how, ran) in ["bare", "alone", "with rows"].iter().zip(&ran) {
        eprintln!("  {how}: {ran:?}");
    }
    let [bare, alone, stored] = ran.map(median);
    Judged { launch, bare, alone, stored }
}

fn median(mut ran: Vec<Ran>) -> Ran {
    ran.sort_by_key(|ran| ran.took);
    ran[ran.len() / 2]
}

/// Judges the history that is named next.
fn verifier() -> Command {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| e2e::binary_alone("verifier"));
    let mut check = Command::new(PROGRAM.as_path());
    check.args(["check", "--history"]);
    check
}
