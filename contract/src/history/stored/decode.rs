//! Decodes a record where it stands.
//!
//! A history is little else than requests and plain answers, and reading them is most of what a reader
//! does. So these are taken from postcard's form by hand, their numbers eight bytes at a time. All else,
//! and all that is not as expected, is postcard's own: it has the last word on what is no record.

use std::borrow::Cow;

use super::Record;
use crate::history::{Completion, Invocation, Kind};
use crate::outcome::{Coupon, Outcome};

/// The record in this payload, if this version understands it.
#[inline]
pub(super) fn record(payload: &[u8]) -> Option<Record<'_>> {
    frequent(payload).or_else(|| postcard::from_bytes(payload).ok())
}

#[inline]
fn frequent(payload: &[u8]) -> Option<Record<'_>> {
    let mut rest = Rest(payload);
    // As they stand in `Record`.
    match rest.byte()? {
        2 => rest.invocation().map(Record::Invoke),
        3 => rest.completion().map(Record::Complete),
        _ => None,
    }
}

/// What is left of a payload.
struct Rest<'a>(&'a [u8]);

/// The highest bit of each byte: another one follows.
const MORE: u64 = 0x8080_8080_8080_8080;

impl<'a> Rest<'a> {
    #[inline]
    fn invocation(&mut self) -> Option<Invocation<'a>> {
        Some(Invocation {
            op: self.number()?,
            campaign: self.text()?,
            kind: self.kind()?,
            at: self.signed()?,
            intended: self.option(Self::signed)?,
            woken: self.option(Self::signed)?,
            target: self.option(Self::short)?,
            user: self.option(Self::text)?,
            key: self.option(Self::text)?,
            follows: self.option(Self::number)?,
        })
    }

    #[inline]
    fn completion(&mut self) -> Option<Completion<'a>> {
        Some(Completion {
            op: self.number()?,
            at: self.signed()?,
            accepted: self.option(Self::signed)?,
            outcome: self.outcome()?,
            status: self.option(Self::short)?,
            stamp: self.option(Self::signed)?,
        })
    }

    #[inline]
    fn kind(&mut self) -> Option<Kind> {
        match self.byte()? {
            0 => Some(Kind::Issue),
            1 => Some(Kind::Read),
            2 => Some(Kind::Poll),
            3 => Some(Kind::Confirm),
            _ => None,
        }
    }

    #[inline]
    fn outcome(&mut self) -> Option<Outcome<'a>> {
        match self.byte()? {
            0 => Some(Outcome::Issued(Coupon {
                code: self.text()?,
                seq: self.option(Self::signed)?,
                remaining: self.option(Self::signed)?,
                order: self.option(Self::text)?,
            })),
            1 => Some(Outcome::SoldOut),
            2 => Some(Outcome::NotStarted),
            3 => Some(Outcome::AlreadyIssued(self.option(Self::text)?)),
            _ => None,
        }
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number of up to eight bytes, each with seven bits of it; longer ones are rare.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let Some(eight) = self.0.first_chunk() else { return self.last_number() };
        let word = u64::from_le_bytes(*eight);
        let ends = !word & MORE;
        if ends == 0 {
            return None;
        }
        let bits = ends.trailing_zeros() + 1;
        self.0 = &self.0[bits as usize / 8..];
        // Groups of seven bits move together: by pairs, by fours, by eights.
        let sevens = word & (u64::MAX >> (64 - bits)) & !MORE;
        let pairs = (sevens & 0x007F_007F_007F_007F) | (sevens & 0x7F00_7F00_7F00_7F00) >> 1;
        let fours = (pairs & 0x0000_3FFF_0000_3FFF) | (pairs & 0x3FFF_0000_3FFF_0000) >> 2;
        Some((fours & 0x0FFF_FFFF) | (fours & 0x0FFF_FFFF_0000_0000) >> 4)
    }

    /// A number with fewer than eight bytes before the payload's end.
    fn last_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Some(number)
    }

    /// One that may be below zero: its sign is the lowest bit.
    #[inline]
    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    #[inline]
    fn short(&mut self) -> Option<u16> {
        let before = self.0.len();
        let number = self.number()?;
        u16::try_from(number).ok().filter(|_| before - self.0.len() <= 3)
    }

    #[inline]
    fn text(&mut self) -> Option<Cow<'a, str>> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(Cow::Borrowed)
    }

    #[inline]
    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => some(self).map(Some),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Doubt, Failure};
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Cow<'static, str>> {
        prop_oneof!["[a-z0-9]{0,12}", "[가-힣]{0,10}", ".{0,200}"].prop_map(Cow::Owned)
    }

    /// Of any length.
    fn number() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
    }

    fn invocation() -> impl Strategy<Value = Record<'static>> {
        let option = || prop::option::of(number());
        let names = (text(), prop::option::of(text()), prop::option::of(text()));
        let kinds = vec![Kind::Issue, Kind::Read, Kind::Poll, Kind::Confirm];
        let rest = (prop::sample::select(kinds), any::<Option<u16>>());
        let times = (number(), option(), option());
        (number(), names, rest, times, option()).prop_map(|(op, names, rest, times, follows)| {
            let (campaign, user, key) = names;
            let ((kind, target), (at, intended, woken)) = (rest, times);
            let (op, follows) = (op.unsigned_abs(), follows.map(i64::unsigned_abs));
            let i =
                Invocation { op, campaign, kind, at, intended, woken, target, user, key, follows };
            Record::Invoke(i)
        })
    }

    fn outcome() -> impl Strategy<Value = Outcome<'static>> {
        let option = || prop::option::of(number());
        let coupon = (text(), option(), option(), prop::option::of(text()));
        prop_oneof![
            coupon.prop_map(|(code, seq, remaining, order)| {
                Outcome::Issued(Coupon { code, seq, remaining, order })
            }),
            prop::option::of(text()).prop_map(Outcome::AlreadyIssued),
            prop::sample::select(vec![
                Outcome::SoldOut,
                Outcome::NotStarted,
                Outcome::NotFound,
                Outcome::Ended,
                Outcome::Pending,
                Outcome::Failed(Failure::Busy),
                Outcome::Indeterminate(Doubt::Timeout),
            ]),
        ]
    }

    fn completion() -> impl Strategy<Value = Record<'static>> {
        let option = || prop::option::of(number());
        let all = (number(), number(), option(), outcome(), any::<Option<u16>>(), option());
        all.prop_map(|(op, at, accepted, outcome, status, stamp)| {
            let op = op.unsigned_abs();
            Record::Complete(Completion { op, at, accepted, outcome, status, stamp })
        })
    }

    /// Small ones are where tags are wrong.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), 0..5_u8]
    }

    /// Whether it was not left to postcard.
    fn is_frequent(record: &Record<'_>) -> bool {
        let short = |number: u64| number < 1 << 56;
        let signed = |number: i64| short(number.unsigned_abs() << 1);
        let near = |number: Option<i64>| number.is_none_or(signed);
        match record {
            Record::Invoke(i) => {
                let times = [Some(i.at), i.intended, i.woken].into_iter().all(near);
                times && short(i.op) && i.follows.is_none_or(short)
            }
            Record::Complete(c) => {
                let plain = match &c.outcome {
                    Outcome::Issued(coupon) => near(coupon.seq) && near(coupon.remaining),
                    Outcome::SoldOut | Outcome::NotStarted | Outcome::AlreadyIssued(_) => true,
                    Outcome::Failed(_) | Outcome::Indeterminate(_) => false,
                    Outcome::NotFound | Outcome::Ended => false,
                    Outcome::Read(_) | Outcome::Pending => false,
                };
                plain && short(c.op) && [Some(c.at), c.accepted, c.stamp].into_iter().all(near)
            }
            Record::Campaign(_) | Record::Probe(_) | Record::Trailer { .. } => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_frequent_is_what_postcard_reads(
            written in prop_oneof![invocation(), completion()],
            change in prop::option::of((any::<prop::sample::Index>(), byte())),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = postcard::to_allocvec(&written).unwrap();
            prop_assert_eq!(record(&bytes), Some(written.clone()));
            // Of a number at the very end more bytes are taken by hand.
            if is_frequent(&written) {
                prop_assert_eq!(frequent(&bytes), Some(written));
            }
            if let Some((at, byte)) = change {
                *at.get_mut(&mut bytes) = byte;
            }
            if let Some(at) = cut {
                bytes.truncate(at.index(bytes.len()));
            }
            if let Some(read) = frequent(&bytes) {
                prop_assert_eq!(postcard::from_bytes(&bytes).ok(), Some(read));
            }
        }
    }
}
