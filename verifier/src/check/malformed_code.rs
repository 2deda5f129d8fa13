//! A code has 1 to 10 characters, each a precomposed Hangul syllable (U+AC00 to U+D7A3) or a digit
//! `0` to `9`. Decomposed Hangul, single jamo, full-width digits and characters without width look
//! the same on a screen and are none of these.

use contract::store::Column;

use super::{Check, Needs, Violation, Weight, capped};
use crate::evidence::CampaignEvidence;

pub(super) const CHECK: Check = Check {
    name: "malformed-code",
    rule: "a code is 1 to 10 characters, each U+AC00 to U+D7A3 or 0 to 9",
    needs: Needs::History,
    weight: Weight::Proof,
    benign: "nothing",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let told = e.acknowledged.iter().filter_map(|c| {
        let sentence = format!("code {:?} {}", c.code(), flaw(c.code())?);
        Some(Violation::new(sentence).witness([&c.told]))
    });
    let ledger = e.ledger().filter(|l| l.tells(Column::Code));
    let rows = ledger.map(|l| l.rows.as_slice()).unwrap_or_default();
    let stored = rows.iter().filter_map(|row| {
        let flaw = flaw(&row.code)?;
        Some(Violation::new(format!("code {:?} in row #{} of the store {flaw}", row.code, row.seq)))
    });
    capped(told.chain(stored).collect())
}

/// What is wrong with a code.
fn flaw(code: &str) -> Option<String> {
    let allowed = |c: char| matches!(c, '\u{AC00}'..='\u{D7A3}' | '0'..='9');
    let length = code.chars().count();
    if let Some((at, wrong)) = code.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        return Some(format!("has U+{:04X} as its character {}", u32::from(wrong), at + 1));
    }
    (!(1..=10).contains(&length)).then(|| format!("has {length} characters"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_syllables_and_digits() {
        for code in ["가", "힣", "0", "가나다라마12345", "가나다라마바사아자차"] {
            assert_eq!(flaw(code), None, "{code}");
            assert_eq!(find(&campaign(1).issued(code, 110, 120).evidence()), []);
        }
    }

    #[test]
    fn rejects_everything_that_only_looks_like_it() {
        for (code, want) in [
            ("", "has 0 characters"),
            ("가나다라마바사아자차0", "has 11 characters"),
            ("\u{1100}\u{1161}", "U+1100"),
            ("ㄱ", "U+3131"),
            ("\u{3164}", "U+3164"),
            ("１", "U+FF11"),
            ("가\u{200B}나", "U+200B as its character 2"),
            ("가 ", "U+0020"),
            ("a", "U+0061"),
            ("\u{ABFF}", "U+ABFF"),
            ("\u{D7A4}", "U+D7A4"),
        ] {
            assert!(flaw(code).unwrap().contains(want), "{code:?}");
            assert_eq!(find(&campaign(1).issued(code, 110, 120).evidence()).len(), 1);
        }
    }

    #[test]
    fn rejects_a_row_of_the_store() {
        let e = campaign(1).unclear(110, 120).store(1).row(1, "a", 1).evidence();
        assert!(find(&e)[0].sentence.contains("row #1"));
    }
}
