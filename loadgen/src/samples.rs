//! Answers that no rule matched: a few of each kind, to be shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// So many different answers are kept.
const MOST: usize = 5;
/// So much of a body is kept, in characters.
const LENGTH: usize = 300;

/// Different answers, and how often each came.
#[derive(Debug, Default)]
pub struct Samples(Mutex<BTreeMap<(u16, String), u64>>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The HTTP status.
    pub status: u16,
    /// The body, its beginning.
    pub body: String,
    /// How often it came, as far as was counted.
    pub times: u64,
}

impl Samples {
    /// Takes note of an answer.
    pub fn add(&self, status: u16, body: &[u8]) {
        let text: String = String::from_utf8_lossy(body).chars().take(LENGTH).collect();
        // A thread that panicked leaves the samples as they were.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = kept.len() < MOST;
        if let Some(times) = kept.get_mut(&(status, text.clone())) {
            *times += 1;
        } else if room {
            kept.insert((status, text), 1);
        }
    }

    /// All that are kept, the most frequent first.
    pub fn all(&self) -> Vec<Sample> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Sample> = kept
            .iter()
            .map(|((status, body), times)| Sample {
                status: *status,
                body: body.clone(),
                times: *times,
            })
            .collect();
        all.sort_by_key(|sample| std::cmp::Reverse(sample.times));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_different_answers_are_kept_and_counted() {
        let samples = Samples::default();
        for n in 0..20 {
            samples.add(500, format!("message {}", n % 10).as_bytes());
        }
        samples.add(500, b"message 0");
        let all = samples.all();
        assert_eq!(all.len(), MOST);
        assert_eq!((all[0].status, all[0].body.as_str(), all[0].times), (500, "message 0", 3));
        samples.add(418, &vec![b'x'; 10_000]);
        assert!(samples.all().iter().all(|s| s.body.len() <= LENGTH));
    }
}
