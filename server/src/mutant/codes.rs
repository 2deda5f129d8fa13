//! Codes as they should not be.

use tokio::time::sleep;

use super::Mutant;
use super::luck::Luck;
use super::memory::Remembered;
use super::slip::{Sabotage, Slip};
use super::store::{BUSINESS_LOGIC, Mutated, Outcome};
use crate::code::{ALPHABET, TAIL};
use crate::store::{Ask, Decision};

/// The code that this bug gives to this request; none where it draws one as it should.
pub(super) fn spoilt(
    mutant: Mutant,
    luck: Luck,
    ask: &Ask,
    memory: &mut Remembered,
) -> Option<String> {
    let clean = ask.campaign.random_code();
    memory.drawn += 1;
    let now_and_then = |spoil: &dyn Fn(&str) -> String| {
        luck.strikes(ask, 40).then(|| spoil(&clean)).or_else(|| Some(clean.clone()))
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other bugs leave codes alone")]
    match mutant {
        Mutant::DuplicateCode => {
            let last = memory.last_code.insert(ask.campaign, clean.clone());
            now_and_then(&|clean| last.clone().unwrap_or_else(|| clean.to_owned()))
        }
        Mutant::TinyCodeSpace => {
            let drawn = memory.drawn.wrapping_mul(31).to_string();
            Some(numbered(&ask.campaign.prefix(), luck.number(&drawn) % 64))
        }
        Mutant::SameSeed => {
            Some(numbered(&ask.campaign.prefix(), luck.number(&memory.drawn.to_string())))
        }
        Mutant::UniquePerCampaign => {
            let count = memory.issued.entry(ask.campaign).or_default();
            *count += 1;
            let own = format!("{}-{count}", std::process::id());
            Some(numbered("", luck.number(&own)))
        }
        Mutant::ConstantCode => Some("가나다라마12345".to_owned()),
        Mutant::BytesLength => Some(clean[..clean.floor_char_boundary(10)].to_owned()),
        Mutant::ElevenCharacters => now_and_then(&|clean| format!("{clean}가")),
        Mutant::EmptyCode => now_and_then(&|_| String::new()),
        Mutant::Nfd => now_and_then(&|clean| clean.chars().flat_map(apart).collect()),
        Mutant::Jamo => now_and_then(&|clean| with_last(clean, '\u{3131}')),
        Mutant::Filler => now_and_then(&|clean| with_last(clean, '\u{3164}')),
        Mutant::ZeroWidth => now_and_then(&|clean| with_last(clean, '\u{200B}')),
        Mutant::FullWidthDigit => now_and_then(&|clean| with_last(clean, '\u{FF11}')),
        Mutant::LatinLetter => now_and_then(&|clean| with_last(clean, 'A')),
        _ => None,
    }
}

impl<S: Sabotage> Mutated<S> {
    /// The pool is the numbers from 0 on; the next one is `drawn`.
    pub(super) async fn peek_then_pop(&self, ask: Ask) -> Outcome {
        let head = self.memory.lock().drawn;
        sleep(BUSINESS_LOGIC).await;
        let number = self.luck.number(&format!("{}-{head}", std::process::id()));
        let code = Some(numbered(&ask.campaign.prefix(), number));
        let decision = self.clean.slip(ask, Slip { code, ..Slip::default() }).await?;
        if matches!(decision, Decision::Issued(_)) {
            self.memory.lock().drawn += 1;
        }
        Ok(decision)
    }
}

/// Seven characters that write this number, the lowest place first.
fn numbered(prefix: &str, mut number: u64) -> String {
    let mut code = prefix.to_owned();
    for _ in 0..TAIL {
        code.push(ALPHABET[usize::try_from(number % 188).unwrap_or_default()]);
        number /= 188;
    }
    code
}

fn with_last(code: &str, last: char) -> String {
    let mut characters: Vec<char> = code.chars().collect();
    characters.pop();
    characters.push(last);
    characters.into_iter().collect()
}

/// A syllable as its letters: the arithmetic of the Unicode Standard, section 3.12.
fn apart(character: char) -> Vec<char> {
    let Some(index) = u32::from(character).checked_sub(0xAC00).filter(|index| *index < 11_172)
    else {
        return vec![character];
    };
    let letters = [0x1100 + index / 588, 0x1161 + index % 588 / 28, 0x11A7 + index % 28];
    let known = if index.is_multiple_of(28) { 2 } else { 3 };
    letters[..known].iter().copied().filter_map(char::from_u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_come_apart_as_unicode_says() {
        assert_eq!(apart('가'), ['\u{1100}', '\u{1161}']);
        assert_eq!(apart('힣'), ['\u{1112}', '\u{1175}', '\u{11C2}']);
        assert_eq!(apart('7'), ['7']);
    }
}
