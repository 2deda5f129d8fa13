//! Plain coupons, compared with each other and with those who got none.
//!
//! Which coupons are plain, when the first and the last were told and who lost is all known by now. So
//! they are read once more, and each is counted where it lies.

use std::io;

use super::super::compared::{Compared, Told};
use super::super::spill::records;
use super::super::{CampaignEvidence, Evidence};
use super::part::Slip;
use super::{Aside, in_parallel, read_part};

/// What one thread found.
#[derive(Debug, Default)]
struct Found {
    /// By campaign; none where nothing is compared.
    of: Vec<Option<Compared>>,
    bytes: Vec<u8>,
}

impl Evidence {
    /// Compares the plain coupons of these campaigns, where they are not too many campaigns for that.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn compare(&mut self, selected: &[usize]) -> io::Result<()> {
        let wanted = |(at, e): (usize, &CampaignEvidence)| {
            let plain = selected.contains(&at) && e.acknowledged.plain().coupons > 0;
            plain.then(|| Compared::none_of(e)).flatten()
        };
        // Where there are many campaigns, none is compared.
        if self.campaigns.iter().all(|e| e.load.rivals.is_none()) {
            return Ok(());
        }
        let none: Vec<_> = self.campaigns.iter().enumerate().map(wanted).collect();
        if none.iter().all(Option::is_none) {
            return Ok(());
        }
        for found in self.aside.compare(&none)? {
            for (e, found) in self.campaigns.iter_mut().zip(found) {
                match (&mut e.compared, found) {
                    (own @ None, found) => *own = found,
                    (Some(own), Some(found)) => own.absorb(found),
                    (Some(_), None) => {}
                }
            }
        }
        Ok(())
    }
}

impl Aside {
    fn compare(&self, none: &[Option<Compared>]) -> io::Result<Vec<Vec<Option<Compared>>>> {
        let part = |at: usize, found: &mut Found| {
            if found.of.is_empty() {
                found.of = none.to_vec();
            }
            read_part(&self.told, at, &mut found.bytes)?;
            for slip in records::<Slip<'_>>(&found.bytes) {
                let compared = found.of.get_mut(slip.campaign).and_then(Option::as_mut);
                let plain = !self.held.contains(slip.op);
                compared.into_iter().filter(|_| plain).for_each(|all| all.add(&slip.told()));
            }
            Ok(())
        };
        Ok(in_parallel(part)?.into_iter().map(|found| found.of).collect())
    }

    /// These coupons are held by now, for proofs need them.
    pub(crate) fn hold(&mut self, ops: impl Iterator<Item = u64>) {
        self.held.extend(ops);
    }
}

impl Slip<'_> {
    fn told(&self) -> Told {
        let took = (self.invoked, self.completed.unwrap_or(i64::MAX));
        Told { sent: self.invoked, target: self.target, took }
    }
}
