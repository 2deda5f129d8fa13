//! One launch: driven, perhaps struck in the middle, written down and judged.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use contract::run::{Run, RunTarget, SUMMARY_FILE};
use serde_json::Value;
use tempfile::TempDir;

use super::{Blow, Subject, text};
use crate::{Redis, binary};

/// So many coupons are out when a blow falls: the rush has begun, and is not over.
const UNDER_WAY: u64 = 60;
/// How long nobody listens in the place of an instance that ended: well over the time between two
/// requests to one instance, so that some meet a closed door on any machine.
const VACANCY: Duration = Duration::from_millis(200);
/// Longest that anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at that tells nobody when it changes.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the servers of a launch keep their coupons in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// A file of the run.
    Sqlite,
    /// A redis-server of the launch's own.
    Redis,
}

/// What the verifier is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// History and store.
    Both,
    /// Not the store.
    History,
    /// The store, and of the history only what each campaign promised.
    Store,
}

/// What the verifier said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// `valid`, `unknown` or `invalid`.
    pub verdict: String,
    /// The checks that named a violation.
    pub violated: BTreeSet<String>,
    /// The checks that named a doubt.
    pub doubted: BTreeSet<String>,
}

impl Judged {
    /// Whether a contradiction was proven, or the check that should see the bug doubts.
    pub fn caught(&self, expected: &[String]) -> bool {
        let doubted =
            self.verdict == "unknown" && expected.iter().any(|c| self.doubted.contains(c));
        self.verdict == "invalid" || doubted
    }

    /// Whether one of the checks that should name the bug does.
    pub fn named(&self, expected: &[String]) -> bool {
        expected.iter().any(|c| self.violated.contains(c) || self.doubted.contains(c))
    }
}

/// A launch that is over, and all that is left of it.
#[derive(Debug)]
pub struct Launch {
    dir: TempDir,
    store: String,
    /// Ends after the launch was judged.
    _redis: Option<Redis>,
}

impl Launch {
    /// Drives `scenarios/mutants.yaml` as the subject wants it.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub fn of(subject: &Subject, seed: u64, store: Store) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let redis = (store == Store::Redis).then(Redis::start);
        let store = redis.as_ref().map_or_else(
            || format!("sqlite:{}", dir.path().join("coupons.db").display()),
            Redis::url,
        );
        let launch = Self { dir, store, _redis: redis };
        launch.drive(subject, seed)?;
        launch.export()?;
        Ok(launch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn drive(&self, subject: &Subject, seed: u64) -> Result<()> {
        let mut command = Command::new(binary("loadgen"));
        command.arg("run").arg(scenario()).arg("--out").arg(self.path("run"));
        command.args(["--store", &self.store, "--seed", &seed.to_string()]);
        let planted = subject.bug.iter().map(|bug| {
            format!(
                "system.spawn.command=[coupon-server, --store, \"{{store}}\", --listen, \
                 \"127.0.0.1:{{port}}\", --mutant, {bug}, --mutant-seed, \"{seed}\"]"
            )
        });
        for set in subject.set.iter().map(|set| (*set).to_owned()).chain(planted) {
            command.args(["--set", &set]);
        }
        let mut generator = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // Kept until the load is over.
        let _successor = subject.blow.map(|blow| self.strike(blow, &mut generator)).transpose()?;
        let output = generator.wait_with_output()?;
        let code = output.status.code();
        // A server that is broken may well break a figure; the history counts.
        let carried_out = match subject.blow {
            Some(Blow::KillGenerator) => code.is_none(),
            Some(Blow::KillInstance | Blow::ReplaceInstance | Blow::StallInstance) | None => {
                matches!(code, Some(0 | 1 | 3))
            }
        };
        ensure!(carried_out, "loadgen: {code:?}: {}", text(&output));
        Ok(())
    }

    /// Waits until the campaign is well under way, and strikes. What is started then ends when it
    /// is dropped.
    fn strike(&self, blow: Blow, generator: &mut Child) -> Result<Option<Successor>> {
        let run = self.under_way(generator)?;
        let [_, struck, ..] = &run.targets[..] else { bail!("there are not two instances") };
        match blow {
            Blow::KillGenerator => generator.kill()?,
            Blow::StallInstance => {
                signal("STOP", struck)?;
                std::thread::sleep(Duration::from_millis(300));
                signal("CONT", struck)?;
            }
            Blow::KillInstance => {
                // Held up first, so that it dies with requests on their way to it.
                signal("STOP", struck)?;
                std::thread::sleep(Duration::from_millis(50));
                signal("KILL", struck)?;
                return Successor::of(struck, &self.store).map(Some);
            }
            Blow::ReplaceInstance => {
                signal("TERM", struck)?;
                return Successor::of(struck, &self.store).map(Some);
            }
        }
        Ok(None)
    }

    fn under_way(&self, generator: &mut Child) -> Result<Run> {
        let mut run = None;
        wait_for("the rush", || {
            ensure!(generator.try_wait()?.is_none(), "loadgen ended before the rush");
            run = Run::load(&self.path("run")).ok();
            Ok(run.as_ref().is_some_and(|run| {
                let (target, campaign) = (&run.targets[0], &run.campaigns[0].id);
                issued(address(target), campaign).is_some_and(|issued| issued >= UNDER_WAY)
            }))
        })?;
        run.context("the run has no description")
    }

    /// Writes the history down, once whole and once without anything but the promises.
    fn export(&self) -> Result<()> {
        let history = self.path("history.jsonl");
        let mut command = Command::new(binary("loadgen"));
        command.arg("export").arg(self.path("run")).arg("--out").arg(&history);
        let output = command.output()?;
        // 3: what a killed load generator leaves has no end, and is written down as far as it goes.
        ensure!(matches!(output.status.code(), Some(0 | 3)), "loadgen export: {}", text(&output));
        let whole = fs::read_to_string(&history)?;
        let promises: String =
            whole.lines().filter(|line| is_promise(line)).collect::<Vec<_>>().join("\n");
        Ok(fs::write(self.path("promises.jsonl"), promises + "\n")?)
    }

    /// The figures of the load, if it came to its end.
    pub fn summary(&self) -> Option<Value> {
        let summary = fs::read(self.path("run").join(SUMMARY_FILE)).ok()?;
        serde_json::from_slice(&summary).ok()
    }

    /// What the verifier says of it with this evidence.
    ///
    /// # Errors
    /// When the verifier cannot judge.
    pub fn judge(&self, evidence: Evidence) -> Result<Judged> {
        let mut command = Command::new(binary("verifier"));
        command.args(["check", "--format", "json", "--settle", "0.5"]);
        match evidence {
            Evidence::Both => {
                command.arg("--run").arg(self.path("run")).args(["--store", &self.store])
            }
            Evidence::History => command.arg("--history").arg(self.path("history.jsonl")),
            Evidence::Store => {
                let promises = self.path("promises.jsonl");
                command.arg("--history").arg(promises).args(["--store", &self.store])
            }
        };
        let output = command.output()?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("verifier: {}", text(&output)))?;
        Ok(Judged {
            verdict: verdict(&report, &output)?,
            violated: names(&report, "violations"),
            doubted: names(&report, "doubts"),
        })
    }
}

/// An instance in the place of one that ended. It ends with this.
struct Successor(Child);

impl Successor {
    fn of(ended: &RunTarget, store: &str) -> Result<Self> {
        let address = address(ended);
        wait_for("the end of an instance", || Ok(TcpStream::connect(address).is_err()))?;
        std::thread::sleep(VACANCY);
        let mut command = Command::new(binary("coupon-server"));
        command.args(["--store", store, "--listen", address, "--instance-id", "successor"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // Already gone is as good as ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_there()? {
        ensure!(Instant::now() < deadline, "{what} does not come within {PATIENCE:?}");
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn signal(name: &str, target: &RunTarget) -> Result<()> {
    let pid = target.pid.context("an instance without a process")?.to_string();
    let status = Command::new("kill").args([&format!("-{name}"), &pid]).status()?;
    ensure!(status.success(), "kill -{name} {pid}: {status}");
    Ok(())
}

/// Host and port.
fn address(target: &RunTarget) -> &str {
    target.url.trim_start_matches("http://")
}

/// How many coupons of this campaign the instance says to be issued, if it says anything.
fn issued(address: &str, campaign: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "GET /campaigns/{campaign} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str::<Value>(body).ok()?["issued"].as_u64()
}

fn scenario() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("scenarios").join("mutants.yaml")
}

fn is_promise(line: &str) -> bool {
    let record: Value = serde_json::from_str(line).unwrap_or_default();
    matches!(record["type"].as_str(), Some("header" | "campaign"))
}

fn verdict(report: &Value, output: &Output) -> Result<String> {
    let verdict = report["verdict"].as_str();
    verdict.map(str::to_owned).with_context(|| format!("verifier: no verdict: {}", text(output)))
}

/// The checks that have findings of this kind, over all campaigns.
fn names(report: &Value, kind: &str) -> BTreeSet<String> {
    let campaigns = report["campaigns"].as_array().into_iter().flatten();
    let findings = campaigns.flat_map(|campaign| campaign[kind].as_array().into_iter().flatten());
    findings.filter_map(|finding| finding["check"].as_str().map(str::to_owned)).collect()
}
