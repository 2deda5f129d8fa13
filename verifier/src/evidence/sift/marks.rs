//! Which numbers the store's plain rows have: one bit for each that a campaign can have, on the shelves
//! where its ranks stand. All threads set them side by side, so that nothing is held twice.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::ledger::PlainRows;
use super::order::Shelves;

/// The numbers of rows.
#[derive(Debug)]
pub(super) struct Marks<'s> {
    shelves: &'s Shelves,
    words: Vec<AtomicU64>,
}

impl<'s> Marks<'s> {
    pub(super) fn on(shelves: &'s Shelves) -> Self {
        let words = usize::try_from(shelves.len().div_ceil(64)).unwrap_or_default();
        Self { shelves, words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts a plain row of this number. What has no place on the shelves is kept in `rows` itself.
    pub(super) fn add(&self, campaign: usize, seq: i64, rows: &mut PlainRows) {
        let Some((word, bit)) = self.place(campaign, seq) else { return rows.add(seq) };
        rows.rows += 1;
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            rows.again.push(seq.unsigned_abs());
        }
    }

    /// Takes one out again, after all were counted.
    pub(super) fn remove(&self, campaign: usize, seq: i64, rows: &mut PlainRows) {
        let again = rows.again.contains(&seq.unsigned_abs());
        let Some((word, bit)) = self.place(campaign, seq).filter(|_| !again) else {
            return rows.remove(seq);
        };
        rows.rows -= 1;
        word.fetch_and(!bit, Ordering::Relaxed);
    }

    /// Hands over all numbers of a campaign.
    pub(super) fn give(&self, campaign: usize, rows: &mut PlainRows) {
        let (first, count) = self.shelves.of_campaign(campaign);
        let bits = (first..first + count).filter(|at| {
            self.word(*at).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
        });
        rows.seqs.extend(bits.map(|at| at - first));
        rows.seqs.optimize();
    }

    fn place(&self, campaign: usize, seq: i64) -> Option<(&AtomicU64, u64)> {
        let (first, count) = self.shelves.of_campaign(campaign);
        let seq = u64::try_from(seq).ok().filter(|seq| *seq < count)?;
        self.word(first + seq)
    }

    fn word(&self, at: u64) -> Option<(&AtomicU64, u64)> {
        let word = self.words.get(usize::try_from(at / 64).ok()?)?;
        Some((word, 1 << (at % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut rows: PlainRows) -> PlainRows {
        rows.again.sort_unstable();
        rows
    }

    /// Whichever thread counts them, on the shelves or beyond: the same as without.
    #[test]
    fn numbers_are_held_as_without_marks() {
        let mut dice = e2e::Dice::new(5);
        let shelves = Shelves::with([40, 1, 70].into_iter());
        for _ in 0..500 {
            let marks = Marks::on(&shelves);
            let mut threads = [(); 2].map(|()| [(); 3].map(|()| PlainRows::default()));
            let mut plain = [(); 3].map(|()| PlainRows::default());
            let mut added = Vec::new();
            for _ in 0..dice.below(120) {
                let (campaign, seq) = (dice.below(3), i64::try_from(dice.below(90)).unwrap() - 2);
                let thread = &mut threads[dice.below(2)];
                marks.add(campaign, seq, &mut thread[campaign]);
                plain[campaign].add(seq);
                added.push((campaign, seq));
            }
            let [mut all, others] = threads;
            all.iter_mut().zip(others).for_each(|(all, others)| all.absorb(others));
            for (campaign, seq) in added.into_iter().step_by(3) {
                marks.remove(campaign, seq, &mut all[campaign]);
                plain[campaign].remove(seq);
            }
            for (campaign, (mut rows, plain)) in all.into_iter().zip(plain).enumerate() {
                marks.give(campaign, &mut rows);
                assert_eq!(sorted(rows), sorted(plain));
            }
        }
    }
}
