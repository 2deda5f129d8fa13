//! Opens campaigns at their start, without a request.
//!
//! The trick: nothing depends on it. Whether a campaign is open is asked of the store's clock, by
//! every step and every look, so a schedule that stands still costs nobody a coupon. What it adds
//! is the moment, in the store and in the log.
//!
//! Every instance runs one; the store lets one of them lead, for [`LEASE`] at a time.

use std::time::Duration;

use tracing::{info, warn};

use crate::metrics::metrics;
use crate::store::{LEASE, Lead, Store, StoreError};

/// How often the lead is taken or kept. Whoever dies is followed within this and a lease: 1.6 s.
const TICK: Duration = Duration::from_millis(400);
/// Between two attempts to open what is due.
const SHORTEST: Duration = Duration::from_millis(1);

/// Leads, or stands by, until it is dropped. `name` is this instance's alone.
pub async fn run<S: Store>(store: S, name: String) {
    let mut led = false;
    loop {
        // A store that hangs longer than that has given the lead away.
        let asked = tokio::time::timeout(LEASE, store.lead(&name)).await;
        let lead = asked.unwrap_or_else(|_| Err(StoreError::Unavailable("it is late".to_owned())));
        let wait = match &lead {
            Ok(lead) => {
                tell(lead, led);
                until_next(lead)
            }
            Err(e) => {
                if led {
                    warn!("cannot open campaigns, which start all the same: {e}");
                }
                TICK
            }
        };
        led = lead.is_ok_and(|lead| lead.leads);
        metrics().leads.set(i64::from(led));
        tokio::time::sleep(wait).await;
    }
}

fn tell(lead: &Lead, led: bool) {
    if lead.leads && !led {
        info!("leads: opens campaigns at their start");
    }
    if !lead.leads && led {
        info!("another instance leads");
    }
    for number in &lead.opened {
        info!("campaign {number} is open");
    }
}

fn until_next(lead: &Lead) -> Duration {
    let next = lead.next.map_or(TICK, |next| (next - lead.now).to_std().unwrap_or(SHORTEST));
    next.clamp(SHORTEST, TICK)
}
