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
    if let Some(change) = change(led, lead.leads) {
        info!("{change}");
    }
    for number in &lead.opened {
        info!("campaign {number} is open");
    }
}

/// What there is to say of who leads.
fn change(led: bool, leads: bool) -> Option<&'static str> {
    match (led, leads) {
        (false, true) => Some("leads: opens campaigns at their start"),
        (true, false) => Some("another instance leads"),
        (true, true) | (false, false) => None,
    }
}

fn until_next(lead: &Lead) -> Duration {
    let next = lead.next.map_or(TICK, |next| (next - lead.now).to_std().unwrap_or(SHORTEST));
    next.clamp(SHORTEST, TICK)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    #[test]
    fn who_leads_is_said_when_it_changes() {
        assert!(change(false, true).unwrap().starts_with("leads"));
        assert!(change(true, false).unwrap().starts_with("another"));
        assert_eq!((change(true, true), change(false, false)), (None, None));
    }

    #[test]
    fn the_next_look_is_at_the_next_start() {
        let now = DateTime::UNIX_EPOCH;
        let wait = |starts_in_us: Option<i64>| {
            let next = starts_in_us.map(|us| now + TimeDelta::microseconds(us));
            until_next(&Lead { leads: true, now, opened: Vec::new(), next })
        };
        assert_eq!(wait(Some(250_125)), Duration::from_micros(250_125));
        assert_eq!(wait(Some(60_000_000)), TICK, "the lead has to be kept");
        assert_eq!(
            (wait(Some(3)), wait(Some(0)), wait(Some(-60_000_000))),
            (SHORTEST, SHORTEST, SHORTEST)
        );
        assert_eq!(wait(None), TICK);
    }
}
