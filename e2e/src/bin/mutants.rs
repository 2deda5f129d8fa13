//! The matrix: each planted bug of the reference server, launched and judged so many times, with
//! all evidence and with half of it. Writes `docs/mutants.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use e2e::mutants::{Evidence, Judged, Launch, Nature, Store, Subject, list};

/// Measures which planted bugs of the reference server the verifier catches.
#[derive(Debug, Parser)]
#[command(after_help = "\
Exit codes:
  0  every sure bug was caught each time, races at least 95 times in 100, and nothing else was reported
  1  not so; the table says where
  2  could not run")]
struct Flags {
    /// How often each sure bug is launched
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    sure: u32,
    /// How often each race is launched
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    races: u32,
    /// How often each trap is launched: what is no bug
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    traps: u32,
    /// Only these, by their names in docs/mutants.md
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// What the servers keep their coupons in
    #[arg(long, value_enum, default_value_t = Where::Sqlite)]
    store: Where,
    /// Seed of the first launch of each; each further one takes the next seed
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Launches at a time; most of its time each of them waits
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    at_once: u32,
    /// Write docs/mutants.md
    #[arg(long, conflicts_with = "only")]
    write: bool,
}

impl Flags {
    fn runs(&self, nature: Nature) -> u32 {
        match nature {
            Nature::Sure => self.sure,
            Nature::Race => self.races,
            Nature::Trap => self.traps,
        }
    }

    fn store(&self) -> Store {
        match self.store {
            Where::Sqlite => Store::Sqlite,
            Where::Redis => Store::Redis,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    Sqlite,
    Redis,
}

/// How often a launch that could not be carried out is tried again: another process may have
/// taken a port in between.
const TRIES: usize = 3;

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(&flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("mutants: {}", one_line(&e));
            ExitCode::from(2)
        }
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn run(flags: &Flags) -> Result<bool> {
    let subjects = chosen(flags)?;
    let rows: Vec<Row> =
        subjects.iter().map(|s| Row::new(s.clone(), flags.runs(s.nature))).collect();
    let launches: Vec<(usize, u64)> = (rows.iter().enumerate())
        .flat_map(|(n, row)| (0..u64::from(row.runs)).map(move |run| (n, flags.seed + run)))
        .collect();
    let (rows, next) = (Mutex::new(rows), AtomicUsize::new(0));
    let work = || -> Result<()> {
        while let Some(&(n, seed)) = launches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let seen = Seen::of(&subjects[n], seed, flags.store())
                .with_context(|| format!("{}, seed {seed}", subjects[n].name))?;
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows[n].add(seen);
            if rows[n].is_whole() {
                println!("{}", rows[n].line());
                if flags.write {
                    // After each, so that a long run that is stopped leaves what it measured.
                    write_page(&rows, flags)?;
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..flags.at_once).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| worker.join());
        ends.into_iter().try_for_each(|end| end.unwrap_or_else(|_| bail!("a launch panicked")))
    })?;
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(rows.iter().all(Row::holds))
}

fn chosen(flags: &Flags) -> Result<Vec<Subject>> {
    let all = list()?;
    let names = |name: &String| all.iter().any(|subject| subject.name == *name);
    if let Some(unknown) = flags.only.iter().find(|name| !names(name)) {
        bail!("--only {unknown}: nothing has this name in docs/mutants.md");
    }
    let wanted = |s: &Subject| flags.only.is_empty() || flags.only.contains(&s.name);
    Ok(all.into_iter().filter(wanted).collect())
}

fn write_page(rows: &[Row], flags: &Flags) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("mutants.md");
    std::fs::write(&path, page(rows, flags)).with_context(|| path.display().to_string())
}

/// What was said of one launch.
struct Seen {
    both: Judged,
    history: Judged,
    store: Judged,
}

impl Seen {
    fn of(subject: &Subject, seed: u64, store: Store) -> Result<Self> {
        let launch = carried_out(subject, seed, store)?;
        Ok(Self {
            both: launch.judge(Evidence::Both)?,
            history: launch.judge(Evidence::History)?,
            store: launch.judge(Evidence::Store)?,
        })
    }
}

fn carried_out(subject: &Subject, seed: u64, store: Store) -> Result<Launch> {
    for _ in 1..TRIES {
        match Launch::of(subject, seed, store) {
            Ok(launch) => return Ok(launch),
            Err(e) => eprintln!("{}, seed {seed}, once more: {}", subject.name, one_line(&e)),
        }
    }
    Launch::of(subject, seed, store)
}

/// What was launched, and how often it was caught.
struct Row {
    bug: Subject,
    /// How often it is to be launched.
    runs: u32,
    /// How often it was.
    launched: u32,
    both: u32,
    history: u32,
    store: u32,
    /// By a check that should.
    named: u32,
    /// How often each check found something, with all evidence.
    checks: BTreeMap<String, u32>,
}

impl Row {
    fn new(bug: Subject, runs: u32) -> Self {
        let checks = BTreeMap::new();
        Self { bug, runs, launched: 0, both: 0, history: 0, store: 0, named: 0, checks }
    }

    fn add(&mut self, Seen { both, history, store }: Seen) {
        let expected = &self.bug.checks;
        self.launched += 1;
        self.both += u32::from(both.caught(expected));
        self.named += u32::from(both.named(expected));
        self.history += u32::from(history.caught(expected));
        self.store += u32::from(store.verdict == "invalid");
        let found = if both.violated.is_empty() { both.doubted } else { both.violated };
        for check in found {
            *self.checks.entry(check).or_default() += 1;
        }
    }

    fn is_whole(&self) -> bool {
        self.launched == self.runs
    }

    fn holds(&self) -> bool {
        match self.bug.nature {
            Nature::Sure => self.both == self.runs,
            Nature::Race => self.both * 100 >= self.runs * 95,
            Nature::Trap => self.both == 0,
        }
    }

    fn line(&self) -> String {
        let Self { bug, runs, both, history, store, named, checks, .. } = self;
        let mark = if self.holds() { "✓" } else { "✗" };
        let checks: Vec<_> = checks.iter().map(|(check, n)| format!("{check} {n}")).collect();
        format!(
            "{mark} {:30} {both} of {runs}, history alone {history}, store alone {store}, as expected \
             {named}: {}",
            bug.name,
            checks.join(", ")
        )
    }

    fn markdown(&self) -> String {
        let Self { bug, runs, both, history, store, .. } = self;
        let (low, high) = wilson(*both, *runs);
        let checks: Vec<_> = (self.checks.iter())
            .map(|(check, n)| {
                let check =
                    if bug.checks.contains(check) { format!("**{check}**") } else { check.clone() };
                if n == runs { check } else { format!("{check} ({n})") }
            })
            .collect();
        let missing = if bug.checks.is_empty() || self.named == *runs { "" } else { " ⚠" };
        format!(
            "| {} `{}` | {} | {both} of {runs} ({:.0} to {:.0} %) | {history} | {store} | {}{missing} |\n",
            if self.holds() { "✓" } else { "✗" },
            bug.name,
            bug.sentence,
            low * 100.0,
            high * 100.0,
            if checks.is_empty() { "nothing".to_owned() } else { checks.join(", ") },
        )
    }
}

/// Wilson's score interval for a share of `hits` in `runs`, 95 %.
fn wilson(hits: u32, runs: u32) -> (f64, f64) {
    let (n, z) = (f64::from(runs), 1.959_964);
    let p = f64::from(hits) / n;
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

const HEAD: &str = "\
# Planted bugs, and what catches them

`coupon-server --mutant NAME` breaks the reference server on purpose, in one way at a time, to see whether a verifier
finds it. `--mutant help` lists the bugs with the checks that should see each, `--mutant-seed` chooses which requests are
struck by a bug that strikes now and then. It is announced in the log at level error, and every answer carries the header
`planted-bug`. All of it is wrapped around the clean server (`server/src/mutant/`), which knows nothing of it.

This page is written by a command, which drives [scenarios/mutants.yaml](../scenarios/mutants.yaml) against three
instances with each bug and judges each launch three times: with history and store, with the history alone, and with the
store and nothing of the history but what each campaign promised:

    cargo run --release -p e2e --bin mutants -- --write      # --help has the rest

*Caught* is a launch that was called invalid, or unknown by the check that should see the bug; in brackets Wilson's 95 %
interval of the share. Checks that should see it are **bold**; others found something as well; ⚠ says that in some run none
of those that should did. A number behind a check says in how many runs, where not in all. ✗ marks a bug that was caught
too seldom: sure ones always have to be, races 95 times in 100; and a launch without a bug that was called invalid.

Among what is no bug are clean servers whose processes are killed, stall or are replaced in mid-run, and campaigns at the
edges. *Caught* has to be 0 there. Checks behind it only make the verdict unknown: `evidence` where it is not whole, and
`thin-load` where the launch was not contested enough, which a busy machine brings about as well.
";

const NOT_HERE: &str = "
## What is not here

- A key that is not scoped to its user, and user names that are compared raw: the load never sends one key for two users,
  nor one name in two spellings. `key-hash-collides` and `user-hash-collides` mix users up on the server's side.
- A script that fails midway: `crash-before-insert`, `forgets-to-count` and `counter-without-ledger` are its halves.
- A store that evicts: it is not the server that does so. `store-settings` warns of it, and what is gone is `lost`, as with
  `counter-without-ledger`.
- Acknowledged, queued, and then a crash: what it leaves behind is what `write-behind-drops` does.
- A queue that answers the last one first: unfair, as `unfair` is, and no contradiction.
- A wall clock that is stepped: not without stepping the one of the machine.
";

fn page(rows: &[Row], flags: &Flags) -> String {
    let mut page = HEAD.to_owned();
    let whole = |nature| rows.iter().filter(move |row| row.bug.nature == nature && row.is_whole());
    let held = |nature| (whole(nature).filter(|row| row.holds()).count(), whole(nature).count());
    let ((sure, of_sure), (races, of_races)) = (held(Nature::Sure), held(Nature::Race));
    let (quiet, of_quiet) = held(Nature::Trap);
    let store = flags.store.to_possible_value();
    let store = store.as_ref().map_or("", |value| value.get_name());
    let _ = writeln!(
        page,
        "\nOn {store}: {sure} of {of_sure} sure bugs and {races} of {of_races} races were caught; {quiet} of \
         {of_quiet} that are no bug raised no alarm."
    );
    let missing = rows.len() - of_sure - of_races - of_quiet;
    if missing > 0 {
        let _ = writeln!(page, "\n**{missing} rows are missing**: the command was stopped before.");
    }
    for (title, nature) in [
        ("Bugs that every launch shows", Nature::Sure),
        ("Races", Nature::Race),
        ("Not a bug: no alarm allowed", Nature::Trap),
    ] {
        let _ = write!(page, "\n## {title}\n\n{COLUMNS}");
        for row in whole(nature) {
            page.push_str(&row.markdown());
        }
    }
    page + NOT_HERE
}

const COLUMNS: &str = "\
| bug | what it does | caught | by history alone | by store alone | by |
| --- | --- | --- | --- | --- | --- |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // Newcombe 1998, table I: 81 of 263, and 0 of 20.
        for ((hits, runs), (low, high)) in
            [((81, 263), (0.2553, 0.3662)), ((0, 20), (0.0, 0.1611)), ((20, 20), (0.8389, 1.0))]
        {
            let found = wilson(hits, runs);
            assert!((found.0 - low).abs() < 1e-4 && (found.1 - high).abs() < 1e-4, "{found:?}");
        }
    }
}
