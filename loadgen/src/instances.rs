//! Starts the system's instances, and makes sure that none outlives the run.
//!
//! Each instance is started through [`become_instance`]: a process that first asks the kernel to be
//! killed when its parent dies, and then becomes the instance. Beside them runs one [`guard`] that
//! waits on a pipe for the load generator's end and then kills whatever the instances started. So
//! even a SIGKILL of the load generator leaves nothing behind. An instance is a process group of its
//! own: Ctrl-C at the terminal reaches the load generator alone, which then ends them in order.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use contract::run::RunTarget;
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use tokio::time::{Instant, sleep};

use crate::client::reach::{Reach, ReachError};
use crate::http::Http;
use crate::scenario::Spawn;
use crate::secrets::{expanded, hidden, passwords, value, variables};

/// First argument of a process that is about to become an instance.
pub const BECOME_INSTANCE: &str = "__become-instance";
/// First argument of the process that guards the instances.
pub const GUARD: &str = "__guard";
/// How long an instance may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long an instance may take to end after SIGTERM.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// How often a starting instance is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The run's instances.
#[derive(Debug, Default)]
pub struct Instances {
    running: Vec<Instance>,
    guard: Option<Guard>,
}

/// The other end of the guard's pipe. When it closes without [`Guard::dismiss`], the guard kills.
#[derive(Debug)]
struct Guard {
    process: std::process::Child,
}

#[derive(Debug)]
struct Instance {
    name: String,
    url: String,
    /// Its process group, which outlives the process itself.
    group: Option<Pid>,
    child: tokio::process::Child,
    log: PathBuf,
}

/// Why the system could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The command cannot be run.
    #[error("cannot start {command:?}: {source}; expected a program beside loadgen or on the PATH")]
    Command {
        /// Which program.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended before it was ready ({status}); its log {log} ends with: {tail}")]
    Ended {
        /// Which instance.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Where its log is.
        log: PathBuf,
        /// The log's last line, without what the instance was told in secret.
        tail: String,
    },
    /// It did not become ready in time.
    #[error("{name} did not answer 200 to GET {url} within {} s; its log is {log}", READY_WITHIN.as_secs())]
    NotReady {
        /// Which instance.
        name: String,
        /// What was asked.
        url: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// Targets cannot be reached as the scenario says.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// Its log, or a port for it, could not be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl StartError {
    /// The same without secrets.
    fn hiding(self, secrets: &[String]) -> Self {
        match self {
            Self::Ended { name, status, log, tail } => {
                let tail = hidden(&tail, secrets.iter().map(String::as_str));
                Self::Ended { name, status, log, tail }
            }
            other @ (Self::Command { .. }
            | Self::NotReady { .. }
            | Self::Reach(_)
            | Self::Io { .. }) => other,
        }
    }
}

/// What a command's placeholders stand for.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The run's folder.
    pub run: PathBuf,
    /// The store's URL.
    pub store: Option<String>,
    /// The variables of the environment that the store's URL has the values of.
    pub(crate) variables: Vec<String>,
}

impl Surroundings {
    /// What instances are told that no message may show.
    fn secrets(&self, spawn: &Spawn) -> Vec<String> {
        let own = spawn.each.iter().flat_map(|one| one.args.iter().chain(one.env.values()));
        let told = spawn.command.words().iter().chain(spawn.env.values()).chain(own);
        let named = told.flat_map(|text| variables(text));
        let named = named.chain(self.variables.iter().map(String::as_str));
        let passwords = self.store.iter().flat_map(|url| passwords(url)).map(str::to_owned);
        named.filter_map(|name| value(name).ok()).chain(passwords).collect()
    }

    fn fill(&self, text: &str, instance: &str, port: u16) -> String {
        // What is missing was found when the scenario was read.
        expanded(text)
            .unwrap_or_default()
            .replace("{port}", &port.to_string())
            .replace("{store}", self.store.as_deref().unwrap_or_default())
            .replace("{instance}", instance)
            .replace("{run}", &self.run.to_string_lossy())
    }
}

impl Instances {
    /// Starts all instances and waits until each is ready. Call it on the process's main thread:
    /// the kernel kills the instances when the thread that started them ends.
    ///
    /// # Errors
    /// When one cannot be started or does not become ready; those that run are ended then.
    pub async fn start(spawn: &Spawn, around: &Surroundings) -> Result<Self, StartError> {
        let guard = Guard::start().map_err(io_error("the instances' guard cannot be started"))?;
        let mut instances = Self { running: Vec::new(), guard: Some(guard) };
        let ports = free_ports(u16::from(spawn.instances))
            .map_err(io_error("no free port for an instance"))?;
        for (number, port) in (1_u16..).zip(ports) {
            // From here on it is ended with the others, whatever comes.
            instances.running.push(start(spawn, around, number, port)?);
            instances.watch_over_last()?;
        }
        let secrets = around.secrets(spawn);
        let http = Http::new(&Reach::plain()?, READY_WITHIN);
        for instance in &mut instances.running {
            let ready = instance.wait_until_ready(&http, spawn.ready.as_str()).await;
            ready.map_err(|e| e.hiding(&secrets))?;
        }
        Ok(instances)
    }

    /// Tells the guard of the instance that was started last.
    fn watch_over_last(&mut self) -> Result<(), StartError> {
        let group = self.running.last().and_then(|instance| instance.group);
        let (Some(guard), Some(group)) = (&mut self.guard, group) else { return Ok(()) };
        guard.watch_over(group).map_err(io_error("the instances' guard cannot be told"))
    }

    /// The instances as targets, in their order.
    pub fn targets(&self) -> Vec<RunTarget> {
        let target = |i: &Instance| RunTarget {
            name: i.name.clone(),
            url: i.url.clone(),
            pid: i.child.id(),
        };
        self.running.iter().map(target).collect()
    }

    /// Ends all instances: SIGTERM, and SIGKILL to whatever does not follow in time, or before
    /// `hurry` ends.
    pub async fn stop(&mut self, hurry: impl Future<Output = ()>) {
        for instance in &self.running {
            instance.signal(Signal::TERM);
        }
        let all_ended = async {
            for instance in &mut self.running {
                // It fails only for what is no child any more.
                let _ = instance.child.wait().await;
            }
        };
        tokio::select! {
            () = all_ended => {}
            () = sleep(ENDS_WITHIN) => {}
            () = hurry => {}
        }
        self.kill();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
        self.running.clear();
    }

    /// Kills whatever is left of the instances and of what they started.
    fn kill(&self) {
        for instance in &self.running {
            instance.signal(Signal::KILL);
        }
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        self.kill();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

impl Guard {
    fn start() -> io::Result<Self> {
        let us = std::env::current_exe()?;
        let process = Command::new(us).arg(GUARD).stdin(Stdio::piped()).process_group(0).spawn()?;
        Ok(Self { process })
    }

    fn watch_over(&mut self, group: Pid) -> io::Result<()> {
        let pipe = self.process.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(pipe, "{}", group.as_raw_nonzero())
    }

    /// All instances are gone: there is nothing to guard.
    fn dismiss(mut self) {
        // Where it is gone already there is nothing to do either.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the guard does: learns process groups from standard input until that closes, and then kills
/// them.
pub fn guard() {
    let groups: Vec<Pid> = io::stdin()
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect();
    for group in groups {
        // A group that is gone already is what we want.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn io_error(what: &str) -> impl Fn(io::Error) -> StartError {
    let what = what.to_owned();
    move |source| StartError::Io { what: what.clone(), source }
}

fn start(
    spawn: &Spawn,
    around: &Surroundings,
    number: u16,
    port: u16,
) -> Result<Instance, StartError> {
    let name = format!("api-{number}");
    let io = io_error;
    let log = around.run.join("instances").join(format!("{name}.log"));
    let out = File::create(&log).map_err(io("an instance's log cannot be written"))?;
    let err = out.try_clone().map_err(io("an instance's log cannot be written"))?;
    let own = spawn.one(number);
    let words = spawn.command.words().iter().chain(own.iter().flat_map(|one| &one.args));
    let mut words = words.map(|w| around.fill(w, &name, port));
    let env = spawn.env.iter().chain(own.iter().flat_map(|one| &one.env));
    let program = beside_us(&words.next().unwrap_or_default());
    let us = std::env::current_exe().map_err(io("loadgen cannot find itself"))?;
    let mut command = Command::new(us);
    command
        .arg(BECOME_INSTANCE)
        .arg(std::process::id().to_string())
        .arg(&program)
        .args(words)
        .envs(env.map(|(k, v)| (k, around.fill(v, &name, port))))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0);
    let child = tokio::process::Command::from(command).spawn().map_err(|source| {
        StartError::Command { command: program.to_string_lossy().into_owned(), source }
    })?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Ok(Instance { name, url: format!("http://127.0.0.1:{port}"), group, child, log })
}

/// A bare name that lies beside our own binary is meant before one on the PATH.
fn beside_us(program: &str) -> PathBuf {
    let sibling = std::env::current_exe().ok().and_then(|us| Some(us.parent()?.join(program)));
    match sibling {
        Some(path) if !program.contains('/') && path.is_file() => path,
        _ => program.into(),
    }
}

/// Ports that nobody listens on. All are held until the last one is found, so that they differ.
fn free_ports(count: u16) -> io::Result<Vec<u16>> {
    let held = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<Vec<TcpListener>>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

impl Instance {
    async fn wait_until_ready(&mut self, http: &Http, path: &str) -> Result<(), StartError> {
        let url = format!("{}{path}", self.url);
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let answer = http.get(&self.url, path).await;
            // Looked at after the answer: it may have come from somebody else on this port.
            if let Ok(Some(status)) = self.child.try_wait() {
                let (name, log) = (self.name.clone(), self.log.clone());
                return Err(StartError::Ended { name, status, tail: last_line(&log), log });
            }
            if answer.is_ok_and(|(status, ..)| status == 200) {
                return Ok(());
            }
            sleep(ASK_EVERY).await;
        }
        Err(StartError::NotReady { name: self.name.clone(), url, log: self.log.clone() })
    }

    /// Signals the instance and whatever it started.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may be gone already, which is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("(nothing)").to_owned()
}

/// Becomes the instance that `arguments` describe: the parent's process id, the program, and its
/// own arguments. Returns only when that fails.
///
/// The signal is asked for before the program runs, and outlasts the change of program.
pub fn become_instance(arguments: &[OsString]) -> io::Error {
    let [parent, program, rest @ ..] = arguments else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    let now = rustix::process::getppid().map(|p| p.as_raw_nonzero().to_string());
    if now.as_deref() != parent.to_str() {
        return io::Error::other("the load generator is gone already");
    }
    let error = Command::new(program).args(rest).exec();
    io::Error::other(format!("cannot start {program:?}: {error}"))
}
