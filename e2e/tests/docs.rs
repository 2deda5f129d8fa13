//! What the documents say is there, is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files of these folders, and below.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        match std::fs::read_dir(&path) {
            Ok(folder) => open.extend(folder.map(|entry| entry.unwrap().path())),
            Err(_) => files.push(path),
        }
    }
    files
}

/// What stands between backticks and names a file and something in it: `file.rs: name`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let code = text.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.split_once(".rs: ")).collect()
}

#[test]
fn every_edge_case_is_held_by_a_test() {
    let text = std::fs::read_to_string(root().join("docs/edge-cases.md")).unwrap();
    let sources = files(&["server/tests", "server/src", "e2e/tests"]);
    let named = named(&text);
    assert!(named.len() > 50, "{}", named.len());
    for (file, test) in named {
        let is_there = |path: &PathBuf| {
            let source = std::fs::read_to_string(path).unwrap();
            path.file_stem().is_some_and(|stem| stem == file)
                && source.contains(&format!("fn {test}("))
        };
        assert!(sources.iter().any(is_there), "{file}.rs has no {test}");
    }
}

/// A link to a file of this repository leads somewhere.
#[test]
fn links_lead_somewhere() {
    let pages = ["README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut pages: Vec<PathBuf> = pages.iter().map(|page| root().join(page)).collect();
    pages.extend(files(&["docs"]).into_iter().filter(|f| f.extension().is_some_and(|e| e == "md")));
    let mut links = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let there = page.parent().unwrap().join(target).exists();
            assert!(there, "{}: {link} leads nowhere", page.display());
        }
    }
    assert!(links > 30, "{links}");
}
