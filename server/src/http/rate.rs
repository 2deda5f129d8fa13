//! How many requests a second one address may make.
//!
//! The trick: the generic cell rate algorithm (ITU-T I.371). An address needs one number, the moment
//! from which on it is owed nothing, and an address whose moment is past is as good as unknown. So
//! memory is bounded by those who asked within the last second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered at a time. Beyond them strangers are refused.
const ADDRESSES: usize = 65_536;
/// An address may make as many requests at once as in so long.
const BURST: Duration = Duration::from_secs(1);

/// The limit, and what each address has used of it.
pub(super) struct RateLimit {
    apart: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When an address will have been quiet for as long as its requests cost.
    square_at: HashMap<IpAddr, Instant>,
    /// Not before then can anybody be forgotten.
    sweep_at: Option<Instant>,
}

impl RateLimit {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self { apart: Duration::from_secs(1) / per_second.get(), known: Mutex::default() }
    }

    /// Takes one request into account, or says how long to wait.
    pub(super) fn admit(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = subnet(peer);
        let square = known.square_at.get(&peer).copied().unwrap_or(now).max(now);
        let early = (square + self.apart).saturating_duration_since(now + BURST);
        if !early.is_zero() {
            return Err(early);
        }
        known.make_room(now, self.apart);
        if known.square_at.len() >= ADDRESSES && !known.square_at.contains_key(&peer) {
            return Err(self.apart);
        }
        known.square_at.insert(peer, square + self.apart);
        Ok(())
    }
}

impl Known {
    /// Forgets who is square, at most once in the time that a request costs.
    fn make_room(&mut self, now: Instant, apart: Duration) {
        if self.square_at.len() < ADDRESSES || self.sweep_at.is_some_and(|at| now < at) {
            return;
        }
        self.square_at.retain(|_, square| *square > now);
        self.sweep_at = Some(now + apart);
    }
}

/// A whole /64 of IPv6 is one client: that is what a household gets.
fn subnet(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limit(per_second: u32) -> RateLimit {
        RateLimit::new(NonZeroU32::new(per_second).unwrap())
    }

    fn admitted(limit: &RateLimit, peer: IpAddr, now: Instant, requests: usize) -> usize {
        (0..requests).filter(|_| limit.admit(peer, now).is_ok()).count()
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_as_they_come() {
        let (limit, start) = (limit(10), Instant::now());
        assert_eq!(admitted(&limit, ONE, start, 50), 10);
        assert_eq!(limit.admit(ONE, start), Err(Duration::from_millis(100)));
        assert_eq!(admitted(&limit, ONE, start + Duration::from_millis(300), 50), 3);
        assert_eq!(admitted(&limit, ONE, start + Duration::from_secs(60), 50), 10);
        assert_eq!(admitted(&limit, "10.0.0.1".parse().unwrap(), start, 50), 10);
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let (limit, start) = (limit(1), Instant::now());
        let admits = |address: &str| limit.admit(address.parse().unwrap(), start).is_ok();
        assert!(admits("2001:db8::1"));
        assert!(!admits("2001:db8::ffff:1"));
        assert!(admits("2001:db8:0:1::1"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (limit, start) = (limit(1), Instant::now());
        let address = |n: u32| IpAddr::V4(n.into());
        let ask = |from: u32, now| {
            (from..from + 70_000).filter(|n| limit.admit(address(*n), now).is_ok()).count()
        };
        assert_eq!(ask(0, start), ADDRESSES);
        assert_eq!(limit.known.lock().unwrap().square_at.len(), ADDRESSES);
        assert_eq!(ask(100_000, start + Duration::from_secs(2)), ADDRESSES);
    }
}
