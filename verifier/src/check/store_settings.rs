//! The store keeps what it was given: no key of the campaign expires, nothing is evicted, and a crash
//! forgets nothing that was answered. Nothing need have been lost yet, so it is a warning.

use super::{Check, Needs, Violation, Weight, capped};
use crate::evidence::CampaignEvidence;

pub(super) const CHECK: Check = Check {
    name: "store-settings",
    rule: "the store is not set up to forget: no expiry on keys, no eviction, persistence",
    needs: Needs::Settings,
    weight: Weight::Warning,
    benign: "the campaign is over long before a key expires, or its coupons need not outlast a crash",
    find,
};

fn find(e: &CampaignEvidence) -> Vec<Violation> {
    let settings = e.said_by_store().map(|l| l.settings.as_slice()).unwrap_or_default();
    capped(settings.iter().map(Violation::new).collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample::campaign;
    use super::*;
    use crate::evidence::Store;

    #[test]
    fn accepts_a_store_that_forgets_nothing() {
        assert_eq!(find(&campaign(1).store(0).evidence()), []);
        assert_eq!(find(&campaign(1).evidence()), []);
    }

    #[test]
    fn what_was_not_looked_at_is_not_cleared() {
        let mut e = campaign(1).store(0).evidence();
        if let Store::Settled(ledger) = &mut e.store {
            ledger.unseen_settings = vec!["nobody may ask".into(), "nor there".into()];
        }
        assert_eq!(CHECK.needs.missing(&e), Some("nobody may ask; nor there".into()));
        assert!(CHECK.needs.missing(&campaign(1).evidence()).is_some());
    }

    #[test]
    fn rejects_what_lets_it_forget() {
        let mut e = campaign(1).store(0).evidence();
        if let Store::Settled(ledger) = &mut e.store {
            ledger.settings.push("stock:7: the key expires in 3.000000 s".into());
        }
        assert!(find(&e)[0].sentence.contains("expires in 3"));
    }
}
