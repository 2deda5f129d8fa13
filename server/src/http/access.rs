//! Who may do what: bearer tokens (RFC 6750).
//!
//! The trick: only digests are kept, all of one length, and compared in constant time. So nothing
//! tells how much of a guess was right, and there is no token that a log could show.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::answer::unauthorized;
use super::coupons::Outcome;

/// Shorter ones are guessed.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// A token that a request has to have.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// It is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token has 16 to 256 visible ASCII characters")]
pub struct NotAToken;

impl Token {
    /// A token; white space around it does not count.
    ///
    /// # Errors
    /// When it is too short to be a secret, or cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let fits = LENGTHS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(digest(text))).ok_or(NotAToken)
    }

    fn is(&self, text: &str) -> bool {
        self.0.ct_eq(&digest(text)).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Which tokens there are. Where one is absent anybody may.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// For creating campaigns and listing coupons.
    pub admin: Option<Token>,
    /// For getting a coupon.
    pub issue: Option<Token>,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Anybodys,
    Issuing,
    Administering,
}

impl Access {
    /// Whether a request with these headers may do that.
    pub(super) fn check(&self, right: Right, headers: &HeaderMap) -> Outcome<()> {
        if self.allows(right, headers) { Ok(()) } else { Err(unauthorized()) }
    }

    fn allows(&self, right: Right, headers: &HeaderMap) -> bool {
        let needed = match right {
            Right::Anybodys => None,
            Right::Issuing => self.issue.as_ref(),
            Right::Administering => self.admin.as_ref(),
        };
        needed.is_none_or(|token| bearer(headers).is_some_and(|told| token.is(told)))
    }
}

/// The token of a request that has exactly one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = all.next()?.to_str().ok()?.split_once(' ')?;
    (all.next().is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_are_none_are_refused_and_none_is_shown() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert_eq!(format!("{token:?}"), "Token");
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef "] {
            assert!(!token.is(other), "{other:?}");
        }
        for wrong in
            ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdé", &"x".repeat(257)]
        {
            assert_eq!(Token::new(wrong).unwrap_err(), NotAToken, "{wrong}");
        }
    }
}
