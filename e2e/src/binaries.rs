//! This workspace's own binaries, built in the profile of the test that asks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Path of the binary `name`; builds all of them on first use.
///
/// # Panics
/// When the workspace does not build or has no such binary.
pub fn binary(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let build = || build(&["coupon-server", "loadgen", "verifier"]);
    let path = DIR.get_or_init(build).join(name);
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// Path of the binary of the package `name`; builds it and no other, each time.
///
/// # Panics
/// When it does not build.
pub fn binary_alone(name: &str) -> PathBuf {
    build(&[name]).join(name)
}

fn is_about_the_test(variable: &str) -> bool {
    let groups = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
    groups.iter().any(|group| variable.starts_with(group))
}

fn build(packages: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate has a workspace");
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test about the test's own crate would look like a change to build scripts
    // that ask for it, and rebuild what is there already.
    std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(is_about_the_test))
        .for_each(|(name, _)| _ = cargo.env_remove(name));
    let status = cargo
        .args(["build", "--quiet", "--bins", "--profile", profile])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .current_dir(root)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the workspace's binaries do not build");
    let exe = std::env::current_exe().expect("a test knows its own path");
    // A test is target/<profile>/deps/<test>, a binary target/<profile>/<binary>.
    let dir = exe.parent().expect("a program lies in a folder");
    dir.ancestors().find(|dir| !dir.ends_with("deps")).expect("deps lies in a folder").to_owned()
}
