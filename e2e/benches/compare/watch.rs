//! Runs a load generator and measures what it costs.
//!
//! It is started through a process of its own that does nothing but wait for it: so what the kernel
//! says of that process's children is said of this one load generator, exactly.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// First argument of the process that waits.
pub(crate) const ROLE: &str = "watch";
/// Where the load generator's complaints go, in its folder.
const OUTPUT: &str = "complaints";

/// A load generator that runs.
pub(crate) struct Watched {
    process: Child,
    lines: BufReader<ChildStdout>,
    pid: i32,
}

/// What it cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time, user and system.
    pub(crate) cpu: Duration,
    /// Most memory it ever had, KiB.
    pub(crate) peak_kib: u64,
    /// Its exit code.
    pub(crate) code: Option<i32>,
}

/// Waits for a command: prints its process id, and what it cost.
pub(crate) fn run(arguments: &[String]) {
    let mut command = Command::new(&arguments[0]);
    // Our standard output is for the two lines alone.
    let mut child = command.args(&arguments[1..]).stdout(Stdio::null()).spawn().unwrap();
    println!("{}", child.id());
    let code = child.wait().unwrap().code();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = (usage.user_time() + usage.system_time()).num_microseconds();
    println!("{cpu} {} {}", usage.max_rss(), code.unwrap_or(-1));
}

impl Watched {
    /// Starts it; `dir` is where it works.
    pub(crate) fn start(command: &Command, dir: &Path) -> Self {
        let out = File::create(dir.join(OUTPUT)).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(out.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        Self { process, lines, pid: line.trim().parse().unwrap() }
    }

    /// Processor time it has used until now.
    pub(crate) fn cpu(&self) -> Duration {
        let clock = clock_getcpuclockid(Pid::from_raw(self.pid)).and_then(clock_gettime);
        // It may have ended by itself.
        clock.map_or(Duration::ZERO, Duration::from)
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// A figure of its memory, KiB, as /proc/PID/status names it.
    pub(crate) fn memory(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Usage {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        self.process.wait().unwrap();
        let figures: Vec<i64> = line.split_whitespace().filter_map(|f| f.parse().ok()).collect();
        let [cpu, peak, code] = figures[..] else { panic!("no usage in {line:?}") };
        Usage {
            cpu: Duration::from_micros(cpu.unsigned_abs()),
            peak_kib: peak.unsigned_abs(),
            code: i32::try_from(code).ok(),
        }
    }
}

/// The last line of its complaints.
pub(crate) fn last_words(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join(OUTPUT)).unwrap_or_default();
    text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("(nothing)").to_owned()
}
