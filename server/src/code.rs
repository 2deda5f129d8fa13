//! Coupon codes: ten characters, each a precomposed Hangul syllable or a digit.
//!
//! The trick: the first three characters are the campaign's number, so codes of two campaigns can
//! never be equal and a collision is a matter of one campaign, decided inside its atomic step. The next
//! one is the time's, so codes that are written together lie together in an index: where all were random
//! a step of a hundred coupons would write a hundred pages of it. (UUIDs of version 7 do the same.)
//!
//! The alphabet leaves out what people mistake for each other when they read a code aloud or type
//! it from paper: aspirated and doubled initials (one stroke from the plain one), ㅐ and ㅔ (they
//! sound alike), and the digits 0 and 1 (they resemble ㅇ and ㅣ).

use std::fmt;

use chrono::{DateTime, Utc};
use rand::RngExt;

/// Characters of a code.
pub const LENGTH: usize = 10;
/// How many characters of a code name the campaign.
pub const PREFIX: usize = 3;
/// How many characters of a code follow its campaign's.
pub const TAIL: usize = LENGTH - PREFIX;
/// How many characters of a code are random: 188^6, or 45.3 bits.
pub const RANDOM: usize = TAIL - 1;
/// For how long codes share the character that is the time's, milliseconds: a few steps of a store. It
/// comes again every three seconds.
const SHARED_MS: i64 = 16;
/// How many characters there are to choose from.
pub const RADIX: usize = 188;
/// How many campaigns the prefix can tell apart.
pub const CAMPAIGNS: u32 = 188 * 188 * 188;

/// ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅎ as positions in Unicode's order of initials.
const INITIALS: [u32; 10] = [0, 2, 3, 5, 6, 7, 9, 11, 12, 18];
/// ㅏㅓㅗㅜㅡㅣ as positions in Unicode's order of vowels.
const VOWELS: [u32; 6] = [0, 4, 8, 13, 18, 20];
/// None, ㄴ and ㄹ as positions in Unicode's order of finals.
const FINALS: [u32; 3] = [0, 4, 8];

/// Every character of a code: 180 syllables, then the digits 2 to 9.
pub const ALPHABET: [char; RADIX] = alphabet();

const fn alphabet() -> [char; RADIX] {
    let mut all = ['2'; RADIX];
    let mut at = 0;
    while at < 180 {
        let (initial, vowel, last) = (INITIALS[at / 18], VOWELS[at / 3 % 6], FINALS[at % 3]);
        // Unicode lays syllables out as initial x 21 vowels x 28 finals from U+AC00.
        all[at] = character(0xAC00 + (initial * 21 + vowel) * 28 + last);
        at += 1;
    }
    let mut digit = '2' as u32;
    while at < RADIX {
        all[at] = character(digit);
        digit += 1;
        at += 1;
    }
    all
}

const fn character(scalar: u32) -> char {
    match char::from_u32(scalar) {
        Some(c) => c,
        None => panic!("not a character"),
    }
}

/// The number of a campaign, from 1 to [`CAMPAIGNS`]. Its decimal form is the campaign's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CampaignNumber(u32);

impl CampaignNumber {
    /// The campaign with this number, if codes can have such a campaign.
    pub fn new(number: u64) -> Option<Self> {
        let number = u32::try_from(number).ok()?;
        (1..=CAMPAIGNS).contains(&number).then_some(Self(number))
    }

    /// The campaign that an id in a path names. Only the canonical form counts: no sign, no zeros
    /// in front. Otherwise one campaign would have many ids.
    pub fn parse(id: &str) -> Option<Self> {
        let canonical = id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0');
        if canonical { Self::new(id.parse().ok()?) } else { None }
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The first three characters of all its codes.
    pub fn prefix(self) -> String {
        // Where a whole code fits: most prefixes become one.
        let mut prefix = String::with_capacity(LENGTH * '힣'.len_utf8());
        let radix = 188;
        let rest = self.0 - 1;
        let digits = [rest / (radix * radix), rest / radix % radix, rest % radix];
        prefix.extend(digits.map(|digit| ALPHABET[digit as usize]));
        prefix
    }

    /// A code of this campaign, with six random characters. The generator is seeded by the operating
    /// system and cannot be predicted from codes already seen, so nobody can guess the code of somebody
    /// else's coupon.
    pub fn random_code(self) -> String {
        self.code_at(Utc::now())
    }

    fn code_at(self, now: DateTime<Utc>) -> String {
        let (mut code, mut rng) = (self.prefix(), rand::rng());
        let slot = now.timestamp_millis().div_euclid(SHARED_MS).rem_euclid(188);
        code.push(ALPHABET[usize::try_from(slot).unwrap_or_default()]);
        code.extend((0..RANDOM).map(|_| ALPHABET[rng.random_range(0..RADIX)]));
        code
    }
}

impl fmt::Display for CampaignNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alphabet_has_188_distinct_characters_all_precomposed_or_digits() {
        let distinct: HashSet<_> = ALPHABET.iter().collect();
        assert_eq!(distinct.len(), RADIX);
        for &c in &ALPHABET {
            assert!(('가'..='힣').contains(&c) || ('2'..='9').contains(&c), "{c}");
        }
    }

    #[test]
    fn alphabet_holds_what_is_meant() {
        for c in ['가', '간', '갈', '거', '고', '구', '그', '기', '하', '힐', '2', '9'] {
            assert!(ALPHABET.contains(&c), "{c} is missing");
        }
        for c in ['까', '카', '타', '파', '차', '개', '게', '갸', '각', '0', '1'] {
            assert!(!ALPHABET.contains(&c), "{c} is not wanted");
        }
    }

    #[test]
    fn ids_have_one_form() {
        assert_eq!(CampaignNumber::parse("1").map(CampaignNumber::get), Some(1));
        assert_eq!(CampaignNumber::parse("6644672").map(CampaignNumber::get), Some(6_644_672));
        for id in ["", "0", "01", "+1", "-1", "1 ", "6644673", "99999999999999999999", "a", "١"] {
            assert_eq!(CampaignNumber::parse(id), None, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn codes_have_ten_characters_of_the_alphabet(number in 1..=u64::from(CAMPAIGNS)) {
            let code = CampaignNumber::new(number).unwrap().random_code();
            prop_assert_eq!(code.chars().count(), LENGTH);
            prop_assert!(code.chars().all(|c| ALPHABET.contains(&c)));
        }

        #[test]
        fn prefixes_tell_campaigns_apart(a in 1..=u64::from(CAMPAIGNS), b in 1..=u64::from(CAMPAIGNS)) {
            let prefix = |n| CampaignNumber::new(n).unwrap().prefix();
            prop_assert_eq!(prefix(a) == prefix(b), a == b);
        }
    }

    #[test]
    fn codes_differ_and_use_the_whole_alphabet() {
        let campaign = CampaignNumber::new(1).unwrap();
        let codes: HashSet<_> = (0..6_000).map(|_| campaign.random_code()).collect();
        assert_eq!(codes.len(), 6_000);
        for at in LENGTH - RANDOM..LENGTH {
            let seen: HashSet<_> = codes.iter().map(|code| code.chars().nth(at)).collect();
            assert_eq!(seen.len(), RADIX, "character {at}");
        }
    }

    #[test]
    fn codes_of_one_moment_lie_together() {
        let campaign = CampaignNumber::new(1).unwrap();
        let start = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let shared = |ms| {
            let code = campaign.code_at(start + chrono::Duration::milliseconds(ms));
            code.chars().take(PREFIX + 1).collect::<String>()
        };
        let first = start.timestamp_millis() % SHARED_MS;
        assert_eq!(shared(-first), shared(SHARED_MS - 1 - first));
        let moments: Vec<_> = (0..188).map(|slot| shared(slot * SHARED_MS)).collect();
        assert_eq!(moments.iter().collect::<HashSet<_>>().len(), RADIX);
        assert_eq!(shared(188 * SHARED_MS), moments[0]);
        // A clock that stands before 1970 is no reason to panic.
        assert_eq!(
            campaign.code_at(DateTime::UNIX_EPOCH - chrono::Duration::days(1)).chars().count(),
            LENGTH
        );
    }
}
