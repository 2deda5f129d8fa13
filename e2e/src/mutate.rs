//! Seeded changes of valid inputs, as foreign or broken programs might make them.
//!
//! What is changed slightly gets further into a parser than noise does.

/// SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number
/// generators", 2014): a seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % (n.max(1) as u64)).unwrap_or(0)
    }
}

/// What programs stumble over.
const ODD: [&[u8]; 18] = [
    b"",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"1e309",
    b"null",
    b"\"",
    b"{",
    b"[",
    b"\n",
    b"\0",
    b"\xff",
    "\u{202E}".as_bytes(),
    "가".as_bytes(),
    b"{}",
    b"\\u0000",
];

/// The input with a few places changed. Equal seeds make equal changes.
pub fn mutated(input: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(4) {
        change(&mut dice, &mut bytes);
    }
    bytes
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len() + 1);
    let end = (at + dice.below(40)).min(bytes.len());
    match dice.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let copy = bytes[at..end].to_vec();
            let to = dice.below(bytes.len() + 1);
            bytes.splice(to..to, copy).for_each(drop);
        }
        3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        4 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(dice.below(256)).unwrap_or(0);
            }
        }
        // A number, or whatever else stands between two marks, becomes another one.
        5 => {
            let is_mark = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'-';
            let from = bytes[..at].iter().rposition(is_mark).map_or(0, |mark| mark + 1);
            let to = bytes[at..].iter().position(is_mark).map_or(bytes.len(), |mark| at + mark);
            bytes.splice(from..to, ODD[dice.below(ODD.len())].iter().copied()).for_each(drop);
        }
        6 => bytes.splice(at..end, ODD[dice.below(ODD.len())].iter().copied()).for_each(drop),
        _ => {
            // A line, or a key and its value, goes elsewhere.
            let mut lines: Vec<Vec<u8>> =
                bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
            if !lines.is_empty() {
                lines.swap(a, b);
            }
            *bytes = lines.concat();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_change() {
        let input = b"{\"coupons\": 100, \"user\": \"u1\"}\nsecond\n";
        assert_eq!(mutated(input, 7), mutated(input, 7));
        let different = (0..1_000).filter(|seed| mutated(input, *seed) != input).count();
        assert!(different > 900, "{different}");
        (0..1_000).for_each(|seed| drop(mutated(b"", seed)));
    }
}
