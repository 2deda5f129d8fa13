//! Who asks, and which spellings are the same user.
//!
//! A limit per user is worth nothing where `Ann`, `ann ` and `ａｎｎ` are three. Spellings are compared
//! as NFKC_Casefold of the Unicode Standard (section 3.13) does, with white space tamed besides; what
//! was sent is kept for the ledger and whoever reads it.

use unicode_normalization::UnicodeNormalization;

/// Characters that nobody sees: Default_Ignorable_Code_Point of the Unicode Character Database.
const IGNORABLE: [(char, char); 17] = [
    ('\u{AD}', '\u{AD}'),
    ('\u{34F}', '\u{34F}'),
    ('\u{61C}', '\u{61C}'),
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{202A}', '\u{202E}'),
    ('\u{2060}', '\u{206F}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFF8}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    ('\u{E0000}', '\u{E0FFF}'),
];

/// A user. Two are equal whose spellings are the same user's.
#[derive(Clone, Debug)]
pub struct User {
    sent: String,
    /// Nothing where it is what was sent.
    folded: Option<String>,
}

impl User {
    /// Nothing if there is nothing to see in it.
    pub fn new(sent: impl Into<String>) -> Option<Self> {
        let sent = sent.into();
        let folded = fold(&sent);
        let user = Self { sent, folded };
        (!user.folded().is_empty()).then_some(user)
    }

    /// As it was sent.
    pub fn sent(&self) -> &str {
        &self.sent
    }

    /// What all spellings of this user have in common.
    pub fn folded(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.sent)
    }
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for User {}

/// Nothing where nothing would change.
fn fold(text: &str) -> Option<String> {
    // Nearly all users.
    if text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'-') {
        return None;
    }
    let seen = text.nfkc().filter(|c| !is_ignorable(*c)).collect::<String>();
    // By way of upper case, where ß is SS and both of σ and ς are Σ; ẞ is upper case already.
    let one_case = seen.to_lowercase().to_uppercase().to_lowercase().nfkc().collect::<String>();
    Some(one_case.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn is_ignorable(c: char) -> bool {
    IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_user() {
        let same: [&[&str]; 6] = [
            &["ann", "Ann", "ANN", " ann", "ann\u{3000}", "ａｎｎ", "an\u{200B}n", "\u{FEFF}ann"],
            &["u-551203", "U-551203", "u\u{AD}-551203", "u-５51203"],
            &["ann b", "Ann  B", "ann\u{A0}b"],
            &["가나", "\u{1100}\u{1161}\u{1102}\u{1161}", "가\u{3164}나"],
            &["straße", "STRASSE", "strasse", "STRAẞE"],
            &["σς", "ΣΣ", "σσ"],
        ];
        for spellings in same {
            let users: Vec<_> = spellings.iter().map(|s| User::new(*s).unwrap()).collect();
            for (user, sent) in users.iter().zip(spellings) {
                assert_eq!(user, &users[0], "{sent:?}: {user:?}");
                assert_eq!(user.sent(), *sent);
            }
        }
        let others = same.map(|spellings| User::new(spellings[0]).unwrap());
        for (n, one) in others.iter().enumerate() {
            assert!(others[n + 1..].iter().all(|other| other != one), "{one:?}");
        }
        assert_ne!(User::new("annb"), User::new("ann b"));
    }

    #[test]
    fn nothing_to_see_is_nobody() {
        for text in ["", " ", "\u{200B}\u{3164}", "\u{3000}"] {
            assert_eq!(User::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn folding_twice_is_folding_once() {
        for code in (0..=0x10_FFFF).filter_map(char::from_u32) {
            let once = User::new(format!("x{code}y")).unwrap();
            let twice = User::new(once.folded()).unwrap();
            assert_eq!(twice.folded(), once.folded(), "{code:?}");
        }
    }
}
