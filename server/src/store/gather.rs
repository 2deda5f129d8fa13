//! Requests that wait for a step of their campaign.
//!
//! The trick: a campaign has one task as long as anything waits for it. While a step is under way the
//! next requests gather, so a batch grows with the load and a lone request never waits for company.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::pace::Pace;
use super::{Ask, Decision, Queue, StoreError};
use crate::code::CampaignNumber;
use crate::metrics::metrics;
use crate::traces::StepSpan;

/// How often a request is tried whose code was taken. Even among a hundred million coupons one in 10^8
/// requests needs a second time.
const ATTEMPTS: usize = 16;

/// What a step says of a request; nothing if its code is taken, and then nothing was done.
pub(super) type Attempt = Result<Option<Decision>, StoreError>;

/// A request, and who waits for it.
pub(super) struct Job {
    pub(super) ask: Arc<Ask>,
    /// Drawn for the coupon that it may get.
    pub(super) code: String,
    pub(super) reply: oneshot::Sender<Attempt>,
    pub(super) span: StepSpan,
}

impl Job {
    /// A request of this task, and where it is answered.
    pub(super) fn new(ask: Arc<Ask>, code: String) -> (Self, oneshot::Receiver<Attempt>) {
        let (reply, answer) = oneshot::channel();
        (Self { ask, code, reply, span: StepSpan::new() }, answer)
    }
}

/// Requests that no step has picked up. A campaign is in here as long as a task serves it.
pub(super) struct Waiting {
    queues: Mutex<Queues>,
    limits: Queue,
    batch: usize,
}

#[derive(Default)]
struct Queues {
    total: usize,
    campaigns: HashMap<CampaignNumber, Busy>,
    /// The pace of the campaign that was worked off last, which is what another one starts with.
    pace: Pace,
}

/// A campaign that somebody serves.
struct Busy {
    jobs: VecDeque<Job>,
    pace: Pace,
}

/// Who works a request off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// The task of its campaign.
    BySomebody,
    /// Nobody yet: whoever added it starts a task.
    ByNobody,
}

impl Waiting {
    /// At most `batch` requests share a step.
    pub(super) fn new(limits: Queue, batch: usize) -> Self {
        Self { queues: Mutex::default(), limits, batch }
    }

    /// Adds a request at the end of its campaign's queue, unless that is too long.
    pub(super) fn add(&self, job: Job) -> Result<Served, StoreError> {
        let mut queues = self.queues();
        if queues.total >= self.limits.capacity {
            return Err(StoreError::Overloaded);
        }
        let pace = queues.pace;
        let served = match queues.campaigns.entry(job.ask.campaign) {
            Entry::Occupied(busy) => {
                let Busy { jobs, pace } = busy.into_mut();
                if pace.wait(jobs.len(), self.batch, Instant::now()) > self.limits.patience {
                    return Err(StoreError::Overloaded);
                }
                jobs.push_back(job);
                Served::BySomebody
            }
            // Never refused: otherwise a store that was slow once would be so for ever.
            Entry::Vacant(place) => {
                place.insert(Busy { jobs: VecDeque::from([job]), pace });
                Served::ByNobody
            }
        };
        queues.total += 1;
        metrics().queue.inc();
        Ok(served)
    }

    /// The next batch of a campaign, which may be empty; or nothing once none is left, and then
    /// nobody serves it any more.
    pub(super) fn take(&self, campaign: CampaignNumber) -> Option<Vec<Job>> {
        let mut queues = self.queues();
        let Busy { jobs, pace } = queues.campaigns.get_mut(&campaign)?;
        if jobs.is_empty() {
            pace.rest(Instant::now());
            queues.pace = *pace;
            queues.campaigns.remove(&campaign);
            return None;
        }
        pace.step(Instant::now());
        let mut batch: Vec<Job> = jobs.drain(..jobs.len().min(self.batch)).collect();
        queues.total -= batch.len();
        metrics().queue.dec_by(i64::try_from(batch.len()).unwrap_or(i64::MAX));
        // Whoever gave up before the store heard of it gets no coupon.
        batch.retain(|job| !job.reply.is_closed());
        if !batch.is_empty() {
            metrics().batch.observe(batch.len() as f64);
        }
        let size = batch.len();
        batch.iter_mut().for_each(|job| job.span.begin(size));
        Some(batch)
    }

    /// How many campaigns are served right now.
    pub(super) fn campaigns(&self) -> usize {
        self.queues().campaigns.len()
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells each request what was decided about it. A store that answers for no request at all has no such
/// campaign.
pub(super) fn tell_each(batch: Vec<Job>, told: impl ExactSizeIterator<Item = Attempt>) {
    match told.len() {
        0 => tell_all(batch, &Ok(Some(Decision::UnknownCampaign))),
        decisions if decisions == batch.len() => batch.into_iter().zip(told).for_each(tell),
        decisions => {
            let what = format!("{decisions} decisions about {} requests", batch.len());
            tell_all(batch, &Err(StoreError::Damaged(what)));
        }
    }
}

/// Tells all of them the same.
pub(super) fn tell_all(batch: Vec<Job>, told: &Attempt) {
    batch.into_iter().for_each(|job| tell((job, told.clone())));
}

fn tell((job, told): (Job, Attempt)) {
    job.span.end(told.is_err());
    // Nobody may be waiting any more; the decision stands.
    let _ = job.reply.send(told);
}

/// Attempts with new codes until one is free.
pub(super) async fn with_free_code<F>(
    ask: Ask,
    attempt: impl Fn(Arc<Ask>, String) -> F,
) -> Result<Decision, StoreError>
where
    F: Future<Output = Attempt>,
{
    let ask = Arc::new(ask);
    for _ in 0..ATTEMPTS {
        if let Some(decision) = attempt(ask.clone(), ask.campaign.random_code()).await? {
            return Ok(decision);
        }
    }
    Err(StoreError::Damaged(format!("{ATTEMPTS} times no code was free")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request is told of which so many codes are taken, and the codes it came with.
    async fn told(taken: usize) -> (Result<Decision, StoreError>, Vec<String>) {
        let campaign = CampaignNumber::new(1).unwrap();
        let ask = Ask { campaign, user: None, key: Some("k".to_owned()) };
        let codes = Mutex::new(Vec::new());
        let told = with_free_code(ask.clone(), async |asked, code| {
            assert_eq!(*asked, ask);
            let mut codes = codes.lock().unwrap();
            codes.push(code);
            Ok((codes.len() > taken).then_some(Decision::SoldOut))
        });
        (told.await, codes.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_request_whose_code_is_taken_comes_again_with_another_one() {
        let (told, codes) = told(ATTEMPTS - 1).await;
        assert_eq!(told, Ok(Decision::SoldOut));
        let mut distinct = codes.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((codes.len(), distinct.len()), (ATTEMPTS, ATTEMPTS));
    }

    #[tokio::test]
    async fn a_campaign_without_free_codes_is_not_asked_for_ever() {
        let (told, codes) = told(usize::MAX).await;
        assert!(matches!(told, Err(StoreError::Damaged(_))), "{told:?}");
        assert_eq!(codes.len(), ATTEMPTS);
    }

    #[tokio::test]
    async fn a_request_that_fails_does_not_come_again() {
        let campaign = CampaignNumber::new(1).unwrap();
        let ask = Ask { campaign, user: None, key: None };
        let times = Mutex::new(0);
        let told = with_free_code(ask, async |_, _| {
            *times.lock().unwrap() += 1;
            Err(StoreError::Overloaded)
        });
        assert_eq!((told.await, times.into_inner().unwrap()), (Err(StoreError::Overloaded), 1));
    }
}
