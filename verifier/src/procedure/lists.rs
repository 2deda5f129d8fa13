//! Lists of codes. Coupons are only ever added, so by size they form a chain: each holds all codes of
//! the one before. A code stands in the slots between the last list without it and the first with it.

use std::collections::HashSet;

use contract::store::Column;

use super::{Condition, Contradiction, Fact, Rules};
use crate::evidence::CampaignEvidence;
use crate::evidence::acknowledged::Coupon;
use crate::evidence::reads::{List, Reads};

/// The lists of a campaign.
pub(super) struct Lists<'a> {
    reads: &'a Reads,
    /// From the shortest to the longest; none where they form no chain.
    chain: Vec<&'a List>,
    /// For each code that is on a list, the first list with it.
    first: Vec<u32>,
    /// Two lists that do not fit together.
    pub(super) broken: Option<Contradiction>,
}

/// Where a code stands: the longest list without it and the shortest with it, and their sizes.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'a> {
    pub(super) without: Option<(u64, &'a List)>,
    pub(super) with: Option<(u64, &'a List)>,
}

impl<'a> Lists<'a> {
    pub(super) fn of(e: &'a CampaignEvidence, rules: Rules) -> Self {
        let reads = &e.reads;
        let chain: Vec<&List> = reads.lists.values().collect();
        let mut first = vec![u32::MAX; reads.distinct()];
        let mut times = vec![0_u32; reads.distinct()];
        for (at, list) in (0_u32..).zip(&chain) {
            for &code in &list.codes {
                let code = code as usize;
                first[code] = first[code].min(at);
                times[code] += 1;
            }
        }
        let all = u32::try_from(chain.len()).unwrap_or(u32::MAX);
        let listed = |code: &usize| times[*code] > 0;
        let missing = |code: &usize| times[*code] != all - first[*code];
        let torn = (0..first.len()).filter(listed).find(missing);
        let mut lists = Self { reads, chain, first, broken: None };
        lists.broken = lists.twins().or_else(|| lists.torn(torn?));
        if lists.broken.is_some() {
            lists.chain.clear();
        }
        lists.broken = lists.broken.filter(|_| rules.hold(Condition::Chain));
        lists
    }

    /// Two lists of the same length with different codes.
    fn twins(&self) -> Option<Contradiction> {
        let pair = |l: &&List| Some(vec![l.seen.first_over.clone(), l.other.clone()?]);
        let witness = self.chain.iter().find_map(pair)?;
        Some(Contradiction::new(Fact::ListsDiffer, witness))
    }

    /// The first list with this code, and a longer one without it.
    fn torn(&self, code: usize) -> Option<Contradiction> {
        let number = u32::try_from(code).ok()?;
        let from = self.first[code] as usize;
        let without =
            self.chain[from..].iter().find(|l| l.codes.binary_search(&number).is_err())?;
        let ops = [&self.chain[from].seen.first_over, &without.seen.first_over];
        Some(Contradiction::new(Fact::ListsDiffer, ops.map(Clone::clone).to_vec()))
    }

    /// A list with a code that is not in the store, although every coupon is there.
    pub(super) fn unstored(e: &CampaignEvidence, rules: Rules) -> Option<Contradiction> {
        let ledger = e.ledger().filter(|ledger| ledger.tells(Column::Code))?;
        if !rules.hold(Condition::ListedRows) {
            return None;
        }
        let rows = ledger.rows.iter().map(|row| row.code.as_ref());
        let stored: HashSet<&str> = rows.chain(e.acknowledged.iter().map(Coupon::code)).collect();
        let strange = e.reads.codes().filter(|(code, _)| !stored.contains(code));
        let number = strange.map(|(_, number)| number).min()?;
        let list = e.reads.lists.values().find(|l| l.codes.binary_search(&number).is_ok())?;
        let witness = vec![list.seen.first_over.clone()];
        Some(Contradiction::new(Fact::Unstored, witness))
    }

    /// Where a code stands.
    pub(super) fn place(&self, code: &str) -> Place<'a> {
        if self.chain.is_empty() {
            return Place::default();
        }
        let first = self.reads.number(code).and_then(|number| self.first.get(number as usize));
        let first = first.map_or(self.chain.len(), |at| *at as usize);
        let list = |at: usize| {
            let list = *self.chain.get(at)?;
            Some((list.codes.len() as u64, list))
        };
        Place { without: first.checked_sub(1).and_then(list), with: list(first) }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::sample::{Sample, campaign};

    fn listed(codes: &[&'static str]) -> Sample {
        campaign(3).user("u").unclear(110, 120).listed(codes, 130, 140).store(1)
    }

    #[test]
    fn a_row_that_tells_no_code_may_be_any_on_a_list() {
        let e = |codes| listed(codes).codeless().row(1, "(no code, row 1)", 1).evidence();
        assert_eq!(e(&["가"]).contradictions, []);
        assert_eq!(e(&["가", "나"]).contradictions.len(), 1, "there is only one coupon");
    }

    #[test]
    fn a_row_that_tells_another_code_is_not_on_the_list() {
        let e = |code| listed(&["가"]).row(1, code, 1).evidence();
        assert_eq!(e("가").contradictions, []);
        assert!(!e("나").contradictions.is_empty());
    }
}
