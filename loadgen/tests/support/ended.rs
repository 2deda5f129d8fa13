//! How the load generator ended, on a test machine that may be slow.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// How long anything may take to happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// All that it printed.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

/// What a run brought whose first arrival was in time: where the machine stood still during the set-up,
/// once more with a later start.
pub(crate) fn in_time(run: &mut Command) -> Output {
    let output = run.output().unwrap();
    if !text(&output).contains("the first arrival would be late") {
        return output;
    }
    let here = run.get_current_dir().unwrap_or(Path::new(".")).to_owned();
    let out = run.get_args().skip_while(|word| *word != "--out").nth(1).unwrap();
    _ = std::fs::remove_dir_all(here.join(out));
    run.args(["--set", "campaign.starts_in=20s"]).output().unwrap()
}

/// Whether nothing speaks against the run's figures but a slow test machine.
pub(crate) fn is_slow(code: Option<i32>, text: &str) -> bool {
    let mut objections = text.lines().filter_map(|line| line.strip_prefix("unknown: "));
    code == Some(3) && objections.all(|o| o.starts_with("the generator "))
}

/// The plan was carried out, and nothing speaks against its figures but a slow test machine.
pub(crate) fn assert_sound(code: Option<i32>, text: &str) {
    assert!(code == Some(0) || is_slow(code, text), "{code:?}: {text}");
}

/// Waits until it has `happened`, while the process lives.
pub(crate) fn wait_until(process: &mut Child, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        if let Some(status) = process.try_wait().unwrap() {
            panic!("the process ended before: {status}");
        }
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}
