//! The tables, and what is said around them.

use std::fmt::Write as _;

use super::launch::Told;
use super::measure::Ran;
use super::peers::{Compared, PATIENCE};
use super::table::{Goals, Limit, Table, cpu_model, grouped};
use super::{Judged, ROUNDS};

/// What is aimed at is said of so many requests.
const AIM: u64 = 100_000_000;

const METHOD: &str = "\
Histories of launches that went well, as two load threads would have written them: a tenth of the requests get a
coupon and users may hold one. With *ranks*, answers tell a coupon's number and how many are left, and one request
in 5,000 reads how many were issued. Each is judged alone, and with the rows of its SQLite store.

- **s** is by the clock. All files were read once before each run, so it does not say how fast the disk is: a hundred
  million requests are 7.5 GB.
- **CPU s** is user and system time, which says more where others use the machine.
- **x bare pass** is CPU time against a program that reads and decodes the same history and does nothing with it.
- **peak MiB** is the most memory that the process had. What does not fit goes to temporary files (`TMPDIR`
  says where): up to 2 GB for a hundred million requests.
";

const PEERS: &str = "\
The same histories of one campaign, some fifty requests always under way, for two checkers that search for an order:
Wing and Gong's algorithm with Lowe's memory, by the crate todc-utils and by Porcupine (a Go program). All that they know
of a campaign is a counter. Each gets the same file; a wrong verdict of any ends the benchmark.
";

pub(crate) fn text(sizes: &[u64], judged: &[Judged], compared: &[Compared]) -> String {
    let mut text = String::from("# The verifier at scale\n\n");
    let sizes: String = sizes.iter().map(|size| format!(" {size}")).collect();
    let _ = writeln!(
        text,
        "Written by `cargo bench -p e2e --bench scale --{sizes}`. Ratios and orders of magnitude hold on this machine \
         ({} cores, {});\nfigures by size are of the median of {ROUNDS} runs in turns, those beside a search of single runs.\n\n{METHOD}",
        std::thread::available_parallelism().map_or(1, usize::from),
        cpu_model(),
    );
    let _ = writeln!(text, "## Goals\n\n{}", goals(judged).table());
    let _ = writeln!(text, "## By size\n\n{}", by_size(judged));
    let _ = writeln!(text, "## Beside a search for an order\n\n{PEERS}\n{}", peers(compared));
    let _ = write!(
        text,
        "*Gave up* is longer than {} s, with the memory that it had by then.\n{}",
        PATIENCE.as_secs(),
        if compared.iter().any(|c| c.porcupine.is_none()) { MISSING } else { "" }
    );
    text
}

const MISSING: &str = "Porcupine was *not installed*: CONTRIBUTING.md says how the program is built that gives it a history.\n";

fn goals(judged: &[Judged]) -> Goals {
    let aim = || judged.iter().filter(|j| j.launch.requests == AIM && j.launch.told == Told::Rank);
    let one = aim().find(|j| j.launch.campaigns == 1);
    let many = aim().find(|j| j.launch.campaigns > 1);
    let mut goals = Goals::new();
    for (shape, judged) in [("one campaign", one), ("10,000 campaigns", many)] {
        let mut add = |what: &str, limit, unit: &str, figure: &dyn Fn(&Judged) -> f64| {
            let what = format!("100 million requests, {shape}: {what}");
            goals.add(&what, Limit::AtMost(limit), unit, judged.map(figure));
        };
        add("time", 30.0, "s", &|j| j.alone.took.as_secs_f64());
        add("time of a processor, of which two have 60 s", 60.0, "s", &|j| {
            j.alone.worked.as_secs_f64()
        });
        add("10 million rows besides", 15.0, "s", &|j| {
            j.stored.took.as_secs_f64() - j.alone.took.as_secs_f64()
        });
        add("memory", 256.0, "MiB", &|j| j.alone.peak_mib.max(j.stored.peak_mib));
    }
    goals
}

fn by_size(judged: &[Judged]) -> Table {
    let head = [
        "requests",
        "coupons",
        "campaigns",
        "told",
        "rows of",
        "s",
        "CPU s",
        "x bare pass",
        "peak MiB",
    ];
    let mut table = Table::new(&head);
    for Judged { launch, bare, alone, stored } in judged {
        for (rows, ran) in [("no store", alone), ("SQLite", stored)] {
            let told = if launch.told == Told::Rank { "ranks" } else { "codes" };
            table.row(vec![
                grouped(launch.requests as f64),
                grouped(launch.coupons() as f64),
                grouped(launch.campaigns as f64),
                told.into(),
                rows.into(),
                format!("{:.1}", ran.took.as_secs_f64()),
                format!("{:.1}", ran.worked.as_secs_f64()),
                format!("{:.1}", ran.worked.as_secs_f64() / bare.worked.as_secs_f64()),
                format!("{:.0}", ran.peak_mib),
            ]);
        }
    }
    table
}

fn peers(compared: &[Compared]) -> Table {
    let head =
        ["history", "requests", "verifier s", "MiB", "todc-utils s", "MiB", "Porcupine s", "MiB"];
    let mut table = Table::new(&head);
    for c in compared {
        let mut row = vec![c.story.into(), grouped(c.requests as f64)];
        let not_installed = || ["not installed".into(), "–".into()];
        row.extend(figures(&c.verifier));
        row.extend(figures(&c.wing_gong));
        row.extend(c.porcupine.as_ref().map_or_else(not_installed, figures));
        table.row(row);
    }
    table
}

fn figures(ran: &Ran) -> [String; 2] {
    let seconds = ran.code.map(|_| format!("{:.3}", ran.took.as_secs_f64()));
    [seconds.unwrap_or_else(|| "gave up".into()), format!("{:.0}", ran.peak_mib)]
}
