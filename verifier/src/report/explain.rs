//! What a check is, for people: its row in the table, and its section of `docs/checks.md`. The text is
//! the document's own, so that it stands in one place.

use super::table::{lines_of, plain as table};
use crate::check::{CHECKS, Check};

/// The document that explains every check.
const DOCUMENT: &str = include_str!("../../../docs/checks.md");

/// The table of checks.
pub fn checks() -> String {
    let mut table = table();
    table.set_header(["CHECK", "RULE", "NEEDS", "A FINDING"]);
    for check in CHECKS {
        table.add_row([check.name, check.rule, check.needs.words(), check.weight.words()]);
    }
    lines_of(&table).join("\n") + "\n"
}

/// What a check is: its rule, the evidence that it needs, what a finding means, how it looks, an
/// example, and what would make a finding benign.
pub fn explain(check: &Check) -> String {
    format!(
        "{}: {}\n\nneeds      {}\na finding  {}\nbenign if  {}\n\n{}",
        check.name,
        check.rule,
        check.needs.words(),
        check.weight.meaning(),
        check.benign,
        plain(section(check.name))
    )
}

/// The section of the document about a check, without its heading.
fn section(name: &str) -> &'static str {
    let heading = format!("\n### {name}\n");
    let text = DOCUMENT.split_once(&heading).map(|(_, text)| text).unwrap_or_default();
    text.split("\n#").next().unwrap_or_default().trim()
}

/// Without the marks that only a browser shows as what they mean.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.replace("*Example:*", "Example:"));
    lines.map(|line| line.replace("*Benign:*", "Benign:") + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Weight;

    /// The text on one line.
    fn flat(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_table_of_the_document_is_the_table_of_the_program() {
        let rows: Vec<&str> = DOCUMENT.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |c: &Check| {
            format!("| `{}` | {} | {} | {} |", c.name, c.rule, c.needs.words(), c.weight.words())
        };
        let checks = rows.into_iter().filter(|row| {
            let name = row.trim_start_matches("| `").split('`').next().unwrap_or_default();
            Check::named(name).is_some()
        });
        assert_eq!(checks.collect::<Vec<_>>(), CHECKS.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn every_check_is_explained_with_an_example_and_what_would_be_benign() {
        for check in CHECKS {
            let text = flat(section(check.name));
            assert!(text.contains("*Example:* "), "{}: no example", check.name);
            let benign = format!("*Benign:* {}", check.benign);
            assert!(text.contains(&benign), "{}: the document lacks {benign:?}", check.name);
            let said = explain(check);
            for want in [check.rule, check.needs.words(), check.weight.meaning(), "Example:"] {
                assert!(said.contains(want), "{said}");
            }
        }
        assert!(CHECKS.iter().any(|c| c.weight == Weight::Doubt));
    }
}
