//! What all services have in common: a folder, a process, and an end.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::tls::Tls;

/// How long a service may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What the files of [`Folder::keep`] are called.
pub(crate) const AUTHORITY: &str = "ca.pem";
pub(crate) const CERTIFICATE: &str = "cert.pem";
pub(crate) const KEY: &str = "key.pem";
/// What a socket in a service's folder is called.
pub(crate) const SOCKET: &str = "socket";

/// A process that runs a service in a folder of its own, and ends with the test.
#[derive(Debug)]
pub(crate) struct Service {
    process: Child,
    /// Waits on a pipe for the end of the test, however that ends, and ends the service then.
    guard: Child,
    signal: &'static str,
    dir: Folder,
}

/// A service's folder, and whose it is.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: TempDir,
    /// The user that the service runs as, where the test runs as root, which databases refuse.
    user: Option<(u32, u32)>,
}

impl Folder {
    /// A new folder of the first of these users that there is, or of `nobody`.
    pub(crate) fn of(users: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let user = is_root(dir.path()).then(|| ids(users));
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).expect("root may chown");
        }
        Self { dir, user }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes certificates and their key.
    pub(crate) fn keep(&self, tls: &Tls) {
        self.write(AUTHORITY, &tls.authority);
        self.write(CERTIFICATE, &tls.certificate);
        self.write(KEY, &tls.key);
    }

    /// Writes a file that only the folder's owner may read and change.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let file = self.path().join(name);
        std::fs::write(&file, text).expect("a new folder can be written");
        let only_the_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, only_the_owner).expect("it is our file");
        if let Some((uid, gid)) = self.user {
            std::os::unix::fs::chown(file, Some(uid), Some(gid)).expect("root may chown");
        }
    }

    /// A command that runs in the folder, as the folder's owner.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, mut command: Command) {
        let output = command.output().expect("a program that is there starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {}: {text}", output.status);
    }
}

fn is_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    folder.metadata().expect("a new folder is there").uid() == 0
}

/// User and group of the first of these names that there is.
fn ids(users: &[&str]) -> (u32, u32) {
    let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let find = |user: &&str| {
        let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let line = fields.into_iter().find(|f| f.len() > 3 && f[0] == *user)?;
        Some((line[2].parse().ok()?, line[3].parse().ok()?))
    };
    users.iter().chain(&["nobody"]).find_map(find).expect("there is a user called nobody")
}

impl Service {
    /// Starts `command` and waits until it is `up`. `signal` is what ends it at once and in order.
    pub(crate) fn start(
        dir: Folder,
        mut command: Command,
        signal: &'static str,
        up: impl Fn(&Folder) -> bool,
    ) -> Self {
        let log = dir.path().join("log");
        let out = File::create(&log).expect("a new folder can be written");
        let err = out.try_clone().expect("a file has a second handle");
        let process = command.stdout(out).stderr(err).process_group(0).spawn();
        let process = process.unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
        let guard = guard(process.id(), signal);
        let mut service = Self { process, guard, signal, dir };
        let deadline = Instant::now() + UP_WITHIN;
        while !up(&service.dir) {
            let tail = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Ok(Some(status)) = service.process.try_wait() {
                panic!("{command:?} ended at once: {status}: {}", tail());
            }
            assert!(Instant::now() < deadline, "{command:?} does not answer: {}", tail());
            std::thread::sleep(Duration::from_millis(10));
        }
        service
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A shell that sends the signal once its standard input, which is ours, closes.
fn guard(pid: u32, signal: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("read _; kill -{signal} {pid}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("there is a shell")
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone is as good as ended.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args([&format!("-{}", self.signal), &pid]).status();
        let deadline = Instant::now() + ENDS_WITHIN;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// Where a program is: on the PATH, or in one of these folders.
pub(crate) fn find(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).chain(folders.iter().cloned());
    all.find_map(|folder| Some(folder.join(program)).filter(|p| p.is_file()))
}
