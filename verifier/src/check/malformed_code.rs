//! A code has 1 to 10 characters, each a precomposed Hangul syllable (U+AC00 to U+D7A3) or a digit
//! `0` to `9`. Decomposed Hangul, single jamo, full-width digits and characters without width look
//! the same on a screen and are none of these.

use std::ops::RangeInclusive;

use contract::store::Column;

use super::{Check, Claim, Needs, Violation, Weight, capped};
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
        Some(Violation::new(sentence).witness([&c.told]).claim(Claim::Malformed))
    });
    let ledger = e.ledger().filter(|l| l.tells(Column::Code));
    let rows = ledger.map(|l| l.rows.as_slice()).unwrap_or_default();
    let stored = rows.iter().filter_map(|row| {
        let flaw = flaw(&row.code)?;
        Some(Violation::new(format!("code {:?} in row #{} of the store {flaw}", row.code, row.seq)))
    });
    capped(told.chain(stored).collect())
}

/// Whether a code is one. Bytes are looked at, for every code of a campaign is: those of UTF-8 stand in the
/// order of the characters, so a syllable is what lies between the first and the last of them.
pub fn is_well_formed(code: &str) -> bool {
    let (mut rest, mut length) = (code.as_bytes(), 0);
    while let Some(behind) = behind_one(rest) {
        (rest, length) = (behind, length + 1);
    }
    rest.is_empty() && (1..=LONGEST).contains(&length)
}

/// What follows the first character, where that one is allowed.
fn behind_one(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [b'0'..=b'9', behind @ ..] => Some(behind),
        [a, b, c, behind @ ..] => {
            let character = u32::from_be_bytes([0, *a, *b, *c]);
            SYLLABLES.contains(&character).then_some(behind)
        }
        _ => None,
    }
}

/// U+AC00 to U+D7A3 in UTF-8.
const SYLLABLES: RangeInclusive<u32> = 0xEA_B0_80..=0xED_9E_A3;

/// Most characters of a code.
const LONGEST: usize = 10;

fn is_allowed(c: char) -> bool {
    matches!(c, '\u{AC00}'..='\u{D7A3}' | '0'..='9')
}

/// What is wrong with a code.
fn flaw(code: &str) -> Option<String> {
    if is_well_formed(code) {
        return None;
    }
    if let Some((at, wrong)) = code.chars().enumerate().find(|(_, c)| !is_allowed(*c)) {
        let (number, kind) = (u32::from(wrong), kind(wrong));
        return Some(format!("has U+{number:04X} as its character {}, {kind}", at + 1));
    }
    Some(format!("has {} characters", code.chars().count()))
}

/// What a character is that is not allowed, and often what produced it.
fn kind(c: char) -> &'static str {
    match c {
        '\u{3164}' | '\u{FFA0}' | '\u{115F}' | '\u{1160}' => "a Hangul filler, which nobody sees",
        '\u{1100}'..='\u{11FF}' | '\u{A960}'..='\u{A97F}' | '\u{D7B0}'..='\u{D7FF}' => {
            "a conjoining jamo: the code is decomposed (NFD), or was never composed"
        }
        '\u{3131}'..='\u{318E}' | '\u{FFA1}'..='\u{FFDC}' => {
            "a compatibility jamo: half of a syllable, as a keyboard types it"
        }
        '\u{FF10}'..='\u{FF19}' => "a full-width digit",
        '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{00AD}' => {
            "a character without width"
        }
        '\u{FE00}'..='\u{FE0F}' | '\u{0300}'..='\u{036F}' => "a mark on the character before it",
        '\u{FFFD}' => "what stands for bytes that are no UTF-8",
        c if c.is_whitespace() => "white space",
        c if c.is_control() => "a control character",
        c if c.is_numeric() => "a digit of another script",
        'a'..='z' | 'A'..='Z' => "a Latin letter",
        c if c.is_ascii_punctuation() => "punctuation",
        c if c.is_alphabetic() => "a letter of another script",
        _ => "neither a syllable nor a digit",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::sample::campaign;
    use super::*;

    #[test]
    fn accepts_syllables_and_digits() {
        for code in ["가", "힣", "0", "가나다라마12345", "가나다라마바사아자차"] {
            assert_eq!(flaw(code), None, "{code}");
            assert_eq!(find(&campaign(1).issued(code, 110, 120).evidence()), []);
        }
        let all: Vec<char> = ('\u{AC00}'..='\u{D7A3}').chain('0'..='9').collect();
        assert_eq!(all.len(), 11_182);
        let every = ('\0'..=char::MAX).filter(|c| is_well_formed(&format!("가{c}")));
        assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), every.collect());
    }

    /// One of each kind, and what is said of it.
    const MALFORMED: [(&str, &str); 46] = [
        ("", "has 0 characters"),
        ("가나다라마바사아자차0", "has 11 characters"),
        ("가나다라마바사아자차카타파하", "has 14 characters"),
        ("01234567890123456789", "has 20 characters"),
        ("\u{1112}\u{1161}\u{11AB}", "U+1112 as its character 1, a conjoining jamo"),
        ("가\u{11A8}", "U+11A8 as its character 2, a conjoining jamo"),
        ("\u{A960}", "a conjoining jamo"),
        ("\u{D7B0}", "a conjoining jamo"),
        ("ㄱ", "U+3131 as its character 1, a compatibility jamo"),
        ("ㅎㅏㄴ", "a compatibility jamo"),
        ("ㆎ", "a compatibility jamo"),
        ("\u{FFA1}", "a compatibility jamo"),
        ("\u{3164}", "a Hangul filler"),
        ("\u{FFA0}", "a Hangul filler"),
        ("\u{115F}", "a Hangul filler"),
        ("\u{1160}", "a Hangul filler"),
        ("１", "U+FF11 as its character 1, a full-width digit"),
        ("가２", "a full-width digit"),
        ("가\u{200B}나", "U+200B as its character 2, a character without width"),
        ("가\u{200D}나", "a character without width"),
        ("\u{FEFF}가", "a character without width"),
        ("가\u{2060}", "a character without width"),
        ("가\u{00AD}나", "a character without width"),
        ("가\u{FE0F}", "a mark"),
        ("가\u{0301}", "a mark"),
        ("가 ", "U+0020 as its character 2, white space"),
        (" 가", "white space"),
        ("가\t", "white space"),
        ("가\u{00A0}나", "white space"),
        ("가\u{3000}", "white space"),
        ("가\n", "white space"),
        ("가\0", "a control character"),
        ("가\u{0085}", "white space"),
        ("\u{FFFD}", "no UTF-8"),
        ("a", "U+0061 as its character 1, a Latin letter"),
        ("Z9", "a Latin letter"),
        ("가-나", "punctuation"),
        ("\"가\"", "punctuation"),
        ("가,나", "punctuation"),
        ("٣", "a digit of another script"),
        ("²", "a digit of another script"),
        ("漢", "a letter of another script"),
        ("あ", "a letter of another script"),
        ("ａ", "a letter of another script"),
        ("🎟", "neither a syllable nor a digit"),
        ("\u{E000}", "neither a syllable nor a digit"),
    ];

    #[test]
    fn rejects_everything_that_only_looks_like_it() {
        for (code, want) in MALFORMED {
            assert!(
                flaw(code).is_some_and(|flaw| flaw.contains(want)),
                "{code:?}: {:?}",
                flaw(code)
            );
            assert_eq!(find(&campaign(1).issued(code, 110, 120).evidence()).len(), 1);
        }
        // The neighbours of what is allowed.
        for wrong in ['\u{ABFF}', '\u{D7A4}', '/', ':'] {
            assert!(!is_well_formed(&wrong.to_string()), "{wrong:?}");
        }
    }

    #[test]
    fn rejects_a_row_of_the_store() {
        let e = campaign(1).unclear(110, 120).store(1).row(1, "a", 1).evidence();
        assert!(find(&e)[0].sentence.contains("row #1"));
    }
}
