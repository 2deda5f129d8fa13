//! What becomes of a campaign, as server-sent events.
//!
//! The trick: all who watch a campaign at this instance share one look at the store, four times a
//! second and at the very start. A reader is told the newest state and not every one, so nothing
//! piles up for a slow one; and one that takes nothing at all loses its connection.

use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::wire;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::answer::{Answer, Body};
use crate::code::CampaignNumber;
use crate::metrics::{Metrics, metrics};
use crate::serve::Via;
use crate::store::{CampaignState, Store, StoreError};

/// Streams at a time; more are refused.
const STREAMS: usize = 1_000;
/// How often the store is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks around the start.
const SHORTEST: Duration = Duration::from_millis(1);
/// After so long without an event a comment tells that the stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A reader that has taken nothing for so long, while there was something, is cut.
const TAKES: Duration = Duration::from_secs(5);

/// All streams of this instance.
pub(super) struct Events<S> {
    looks: Arc<Looks<S>>,
    places: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// The right to a stream.
pub(super) type Place = OwnedSemaphorePermit;

/// One look for each campaign that is watched.
struct Looks<S> {
    store: Arc<S>,
    patience: Duration,
    campaigns: Mutex<HashMap<CampaignNumber, watch::Sender<CampaignState>>>,
}

impl<S: Store> Events<S> {
    pub(super) fn new(store: Arc<S>, patience: Duration, stopping: watch::Receiver<bool>) -> Self {
        let looks = Looks { store, patience, campaigns: Mutex::default() };
        Self { looks: Arc::new(looks), places: Arc::new(Semaphore::new(STREAMS)), stopping }
    }

    pub(super) fn place(&self) -> Result<Place, StoreError> {
        self.places.clone().try_acquire_owned().map_err(|_| StoreError::Overloaded)
    }

    /// Tells of a campaign from this state on.
    pub(super) fn stream(&self, state: CampaignState, place: Place, via: Via) -> Answer {
        let seen = self.looks.clone().follow(state);
        let (frames, events) = mpsc::channel(1);
        let stopping = self.stopping.clone();
        let there = Metrics::there(&metrics().streams);
        tokio::spawn(async move {
            if tell(seen, frames, stopping).await == End::TooSlow {
                via.cut();
            }
            drop((place, there));
        });
        let mut answer = Response::new(Body::Events(events));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

impl<S: Store> Looks<S> {
    fn follow(self: Arc<Self>, state: CampaignState) -> watch::Receiver<CampaignState> {
        match self.clone().campaigns().entry(state.number) {
            Entry::Occupied(known) => known.get().subscribe(),
            Entry::Vacant(unknown) => {
                let (seen, following) = watch::channel(state);
                unknown.insert(seen.clone());
                tokio::spawn(self.look(seen));
                following
            }
        }
    }

    /// Looks as long as anybody follows.
    async fn look(self: Arc<Self>, seen: watch::Sender<CampaignState>) {
        let number = seen.borrow().number;
        loop {
            let wait = until_next(&seen.borrow());
            tokio::time::sleep(wait).await;
            {
                let mut campaigns = self.campaigns();
                if seen.is_closed() {
                    campaigns.remove(&number);
                    return;
                }
            }
            // A store that does not answer has nothing to tell; the next look is soon enough.
            let look = tokio::time::timeout(self.patience, self.store.campaign(number)).await;
            if let Ok(Ok(Some(state))) = look {
                seen.send_if_modified(|old| {
                    let news = (old.status(), old.issued) != (state.status(), state.issued);
                    *old = state;
                    news
                });
            }
        }
    }

    fn campaigns(&self) -> MutexGuard<'_, HashMap<CampaignNumber, watch::Sender<CampaignState>>> {
        self.campaigns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn until_next(state: &CampaignState) -> Duration {
    // Below zero once it has started.
    let start = (state.starts_at - state.now).to_std().unwrap_or(LOOK);
    start.clamp(SHORTEST, LOOK)
}

/// Why a stream ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server stops, or the reader left.
    InOrder,
    TooSlow,
}

async fn tell(
    mut seen: watch::Receiver<CampaignState>,
    frames: mpsc::Sender<Bytes>,
    mut stopping: watch::Receiver<bool>,
) -> End {
    let mut frame = event(&seen.borrow_and_update());
    loop {
        match frames.send_timeout(frame, TAKES).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => return End::TooSlow,
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return End::InOrder,
        }
        frame = tokio::select! {
            Ok(()) = seen.changed() => event(&seen.borrow_and_update()),
            () = tokio::time::sleep(HEARTBEAT) => Bytes::from_static(b":\n\n"),
            _ = stopping.wait_for(|stop| *stop) => return End::InOrder,
            () = frames.closed() => return End::InOrder,
        };
    }
}

fn event(state: &CampaignState) -> Bytes {
    let told =
        wire::StatusEvent { status: state.status(), remaining: state.remaining(), now: state.now };
    // Has nothing that cannot be JSON.
    let data = serde_json::to_string(&told).unwrap_or_default();
    format!("event: {}\ndata: {data}\n\n", wire::STATUS_EVENT).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{Settings, SqliteStore};
    use crate::store::{Queue, Sharing};

    #[tokio::test]
    async fn nobody_looks_once_nobody_follows() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue { capacity: 10, patience: Duration::MAX };
        let settings = Settings { queue, sharing: Sharing::Gathered };
        let store = SqliteStore::open(&dir.path().join("coupons.db"), settings).unwrap();
        let new = wire::NewCampaign {
            name: "launch".to_owned(),
            coupons: 1,
            starts_at: chrono::Utc::now(),
            per_user_limit: None,
        };
        let state = store.create(new, None).await.unwrap();
        let looks =
            Arc::new(Looks { store: Arc::new(store), patience: LOOK, campaigns: Mutex::default() });
        let one = looks.clone().follow(state.clone());
        let other = looks.clone().follow(state);
        assert_eq!(looks.campaigns().len(), 1, "they share a look");
        drop(one);
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(looks.campaigns().len(), 1, "somebody follows");
        drop(other);
        // The look itself has the only other reference.
        let over = async {
            while Arc::strong_count(&looks) > 1 {
                tokio::time::sleep(SHORTEST).await;
            }
        };
        tokio::time::timeout(20 * LOOK, over).await.expect("a look that nobody follows goes on");
        assert!(looks.campaigns().is_empty());
    }
}
