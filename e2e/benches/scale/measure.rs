//! Runs a program and says what it took.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use contract::history::{Completion, Invocation, Promise, Sink};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// How long a program ran, how long on a processor, and the most memory that it had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) took: Duration,
    pub(crate) worked: Duration,
    pub(crate) peak_mib: f64,
    /// What it ended with; nothing where it took longer than it was given.
    pub(crate) code: Option<i32>,
}

/// Until it ends without a complaint.
pub(crate) fn run(command: &mut Command) -> Ran {
    let ran = run_for(command, Duration::MAX);
    assert_eq!(ran.code, Some(0), "{command:?}");
    ran
}

pub(crate) fn run_for(command: &mut Command, longest: Duration) -> Ran {
    let (began, before) = (Instant::now(), processor_time());
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut peak_mib = 0.0;
    let code = loop {
        // The kernel keeps the peak; it is gone with the process.
        peak_mib = peak(&child).unwrap_or(peak_mib).max(peak_mib);
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status.code().unwrap());
        }
        if began.elapsed() >= longest {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ran { took: began.elapsed(), worked: processor_time() - before, peak_mib, code }
}

fn peak(child: &Child) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// What all programs that ran so far have had, in the kernel too. It tells more than a clock does
/// where others use the machine.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let spent = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Duration::from_micros(spent.iter().sum::<i64>().try_into().unwrap())
}

/// Reads all files of a folder, so that the next who reads them does not wait for the disk.
pub(crate) fn read_once(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_once(&path);
        } else {
            let (mut file, mut none) = (std::fs::File::open(path).unwrap(), std::io::sink());
            std::io::copy(&mut file, &mut none).unwrap();
        }
    }
}

/// Reads a history and does nothing with it.
pub(crate) fn bare_pass(history: &Path) {
    let read = contract::history::stored::read_apart(history, Passed::default).unwrap();
    std::hint::black_box(read);
}

/// What went by.
#[derive(Default)]
struct Passed(u64);

impl Sink for Passed {
    fn campaign(&mut self, promise: &Promise<'_>) {
        std::hint::black_box(promise);
        self.0 += 1;
    }

    fn invoke(&mut self, invocation: &Invocation<'_>) {
        std::hint::black_box(invocation);
        self.0 += 1;
    }

    fn complete(&mut self, completion: &Completion<'_>) {
        std::hint::black_box(completion);
        self.0 += 1;
    }
}
