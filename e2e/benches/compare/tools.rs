//! The load generators, and how each is told to do the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bare;

/// A load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Loadgen,
    Wrk,
    Wrk2,
    Oha,
    Vegeta,
    K6,
    /// No load generator, but the least that one can cost; see [`bare`].
    Bare,
}

/// What it is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// So many requests a second, whatever the answers do.
    Open { rate: u32, time: Duration },
    /// As much as [`CONNECTIONS`] carry.
    Saturating { time: Duration },
}

/// Connections of a tool that wants to be told. loadgen opens what it needs at an open rate.
pub(crate) const CONNECTIONS: u32 = 50;
/// What each tool asks. loadgen has a user and a key of its own in each request, of that length.
pub(crate) const PATH: &str = "/campaigns/1/coupons";
pub(crate) const BODY: &str = r#"{"user":"u0000000000000000"}"#;
pub(crate) const KEY: &str = "idempotency-key: 00000000-0000-4000-8000-000000000000";
pub(crate) const TYPE: &str = "content-type: application/json";

impl Tool {
    pub(crate) const ALL: [Self; 7] =
        [Self::Loadgen, Self::Bare, Self::Wrk, Self::Wrk2, Self::Oha, Self::Vegeta, Self::K6];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loadgen => "loadgen",
            Self::Wrk => "wrk",
            Self::Wrk2 => "wrk2",
            Self::Oha => "oha",
            Self::Vegeta => "vegeta",
            Self::K6 => "k6",
            Self::Bare => "bare",
        }
    }

    /// Where it is, if it is installed.
    pub(crate) fn find(self) -> Option<PathBuf> {
        match self {
            Self::Loadgen => return Some(e2e::binary("loadgen")),
            Self::Bare => return std::env::current_exe().ok(),
            Self::Wrk | Self::Wrk2 | Self::Oha | Self::Vegeta | Self::K6 => {}
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(self.name())).find(|p| p.is_file())
    }

    /// Whether it has such a load at all: wrk has no rate, wrk2 nothing but one.
    pub(crate) fn can(self, load: Load) -> bool {
        match load {
            Load::Open { .. } => self != Self::Wrk,
            Load::Saturating { .. } => !matches!(self, Self::Wrk2 | Self::Bare),
        }
    }

    /// The command, with the files it needs in `dir`.
    pub(crate) fn command(self, load: Load, port: u16, dir: &Path) -> Command {
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(self.find().unwrap());
        match self {
            Self::Loadgen => loadgen(&mut command, load, &url, dir),
            Self::Wrk | Self::Wrk2 => wrk(&mut command, load, &url, dir),
            Self::Oha => oha(&mut command, load, &url),
            Self::Vegeta => vegeta(&mut command, load, &url, dir),
            Self::K6 => k6(&mut command, load, &url, dir),
            Self::Bare => bare(&mut command, load, port),
        }
        command.current_dir(dir);
        command
    }

    /// Whether it ended as it should. loadgen says 3 where it was its own bottleneck, which is the
    /// very purpose of a saturating run; k6 says 99 where it missed a threshold.
    pub(crate) fn is_done(self, code: Option<i32>) -> bool {
        code == Some(0) || self == Self::Loadgen && code == Some(3)
    }
}

impl Load {
    pub(crate) fn time(self) -> Duration {
        match self {
            Self::Open { time, .. } | Self::Saturating { time } => time,
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// The reference server's request and rules; the campaign is there already.
fn loadgen(command: &mut Command, load: Load, url: &str, dir: &Path) {
    let load = match load {
        Load::Open { rate, time } => {
            format!("stages: [{{ for: {}, rate: {rate} }}]", seconds(time))
        }
        Load::Saturating { time } => {
            format!("saturate: {{ connections: {CONNECTIONS}, for: {} }}", seconds(time))
        }
    };
    scenario(command, &load, url, dir);
}

/// A run of loadgen with this load.
pub(crate) fn scenario(command: &mut Command, load: &str, url: &str, dir: &Path) {
    let text = format!(
        "name: bench\ncampaign: {{ coupons: 100000000, starts_in: 300ms }}\n\
         system: {{ targets: ['{url}'] }}\nmapping:\n  request:\n    method: POST\n    path: {PATH}\n\
         \x20   headers: {{ idempotency-key: \"{{key}}\" }}\n    json: {{ user: \"{{user}}\" }}\n\
         \x20 outcomes:\n  - {{ status: 201, json: {{ $.code: {{ exists: true }} }}, is: issued, \
         code: $.code, seq: $.seq, remaining: $.remaining }}\n\
         \x20 - {{ status: 409, json: {{ $.code: sold_out }}, is: sold_out }}\n\
         load: {{ begin: 0s, {load} }}\n"
    );
    std::fs::write(dir.join("bench.yaml"), text).unwrap();
    command.args(["run", "bench.yaml", "--out", "run"]);
}

fn bare(command: &mut Command, load: Load, port: u16) {
    if let Load::Open { rate, time } = load {
        let numbers = [u64::from(rate), time.as_secs(), u64::from(port)];
        command.arg(bare::ROLE).args(numbers.map(|n| n.to_string()));
    }
}

fn wrk(command: &mut Command, load: Load, url: &str, dir: &Path) {
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        format!("wrk.headers[\"{name}\"] = \"{value}\"\n")
    };
    let script =
        format!("wrk.method = \"POST\"\nwrk.body = '{BODY}'\n{}{}", header(KEY), header(TYPE));
    std::fs::write(dir.join("post.lua"), script).unwrap();
    let connections = CONNECTIONS.to_string();
    command.args(["-t", "2", "-c", &connections, "-s", "post.lua", "-d", &seconds(load.time())]);
    if let Load::Open { rate, .. } = load {
        command.args(["-R", &rate.to_string()]);
    }
    command.arg(format!("{url}{PATH}"));
}

fn oha(command: &mut Command, load: Load, url: &str) {
    let connections = CONNECTIONS.to_string();
    command.args(["--no-tui", "-c", &connections, "-z", &seconds(load.time())]);
    command.args(["-m", "POST", "-H", KEY, "-H", TYPE, "-d", BODY]);
    if let Load::Open { rate, .. } = load {
        command.args(["-q", &rate.to_string()]);
    }
    command.arg(format!("{url}{PATH}"));
}

fn vegeta(command: &mut Command, load: Load, url: &str, dir: &Path) {
    std::fs::write(dir.join("body.json"), BODY).unwrap();
    let targets = format!("POST {url}{PATH}\n{KEY}\n{TYPE}\n@body.json\n");
    std::fs::write(dir.join("targets"), targets).unwrap();
    command.args(["attack", "-targets", "targets", "-output", "/dev/null"]);
    command.args(["-duration", &seconds(load.time())]);
    match load {
        Load::Open { rate, .. } => command.args(["-rate", &rate.to_string()]),
        Load::Saturating { .. } => {
            let connections = CONNECTIONS.to_string();
            command.args(["-rate", "0", "-workers", &connections, "-max-workers", &connections])
        }
    };
}

fn k6(command: &mut Command, load: Load, url: &str, dir: &Path) {
    let time = seconds(load.time());
    let executor = match load {
        Load::Open { rate, .. } => format!(
            "executor: 'constant-arrival-rate', rate: {rate}, timeUnit: '1s', \
             preAllocatedVUs: {CONNECTIONS}, maxVUs: {}",
            4 * CONNECTIONS
        ),
        Load::Saturating { .. } => format!("executor: 'constant-vus', vus: {CONNECTIONS}"),
    };
    let header = |line: &str| line.replacen(": ", "': '", 1);
    let script = format!(
        "import http from 'k6/http';\n\
         export const options = {{ discardResponseBodies: true, \
         scenarios: {{ bench: {{ {executor}, duration: '{time}' }} }} }};\n\
         const params = {{ headers: {{ '{}', '{}' }} }};\n\
         export default function () {{ http.post('{url}{PATH}', '{BODY}', params); }}\n",
        header(KEY),
        header(TYPE)
    );
    std::fs::write(dir.join("bench.js"), script).unwrap();
    command.args(["run", "--quiet", "--no-usage-report", "--address", "127.0.0.1:0", "bench.js"]);
}
