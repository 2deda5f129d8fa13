//! A step that is taken once for every user, many at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use super::stores::Stores;
use super::{Captured, Desk, SetupError};
use crate::mapping::{Action, Step, Values};
use crate::report::thousands;
use crate::users::{Row, Users};

/// How many users are seen to at a time.
const AT_ONCE: u64 = 32;
/// How often it is said how far it is, where it takes that long.
const SAID_EVERY: Duration = Duration::from_secs(2);

/// A step that is to be taken for each user.
pub(super) struct Errand {
    pub(super) desk: Desk,
    pub(super) step: Step,
    /// What later messages call the step.
    pub(super) place: String,
    pub(super) names: BTreeMap<String, String>,
    pub(super) users: Arc<Users>,
    /// What no message may show, whoever the user is.
    pub(super) secrets: Vec<String>,
    /// The number of the next user to see to.
    pub(super) next: AtomicU64,
}

/// What the templates of such a step may name.
struct ForUser<'a> {
    row: Row<'a>,
    names: &'a BTreeMap<String, String>,
}

impl Values for ForUser<'_> {
    fn value(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.row.named(name).or_else(|| self.names.get(name).map(|v| v.as_str().into()))
    }
}

impl Errand {
    /// Takes the step for all users. Gives what was captured for each, in their order.
    ///
    /// # Errors
    /// The first one that a user's step meets; nothing further is begun then.
    pub(super) async fn run(self) -> Result<Vec<Captured>, SetupError> {
        let count = self.users.count().unwrap_or(0);
        // One file has one writer.
        let alone = matches!(&self.step.action, Action::Sql { sql, .. } if self.is_file(sql));
        let this = Arc::new(self);
        let mut workers = JoinSet::new();
        for _ in 0..if alone { 1 } else { AT_ONCE.min(count) } {
            workers.spawn(Arc::clone(&this).work(count));
        }
        let mut found = Vec::new();
        let mut tick = interval_at(Instant::now() + SAID_EVERY, SAID_EVERY);
        loop {
            tokio::select! {
                done = workers.join_next() => match done {
                    Some(Ok(captured)) => found.extend(captured?),
                    Some(Err(error)) => return Err(SetupError::In {
                        place: this.place.clone(),
                        reason: error.to_string(),
                    }),
                    None => break,
                },
                _ = tick.tick() => this.say_how_far(count),
            }
        }
        found.sort_unstable_by_key(|(index, _)| *index);
        Ok(found.into_iter().map(|(_, captured)| captured).collect())
    }

    fn is_file(&self, sql: &crate::mapping::sql::Sql) -> bool {
        sql.url.0.fill_url(&self.names).starts_with("sqlite:")
    }

    /// Sees to one user after the other until there is none left.
    async fn work(self: Arc<Self>, count: u64) -> Result<Vec<(u64, Captured)>, SetupError> {
        let mut stores = Stores::default();
        let mut found = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(found);
            }
            let row = self.users.row(index);
            let values = ForUser { row, names: &self.names };
            let own = row.secrets().map(str::to_owned);
            let secrets: Vec<String> = self.secrets.iter().cloned().chain(own).collect();
            let taken = self.desk.take(&self.step, &values, &mut stores, &secrets).await;
            let captured = taken.map_err(|e| SetupError::In {
                place: format!("{}, user {:?}", self.place, row.user()),
                reason: e.to_string(),
            })?;
            found.push((index, captured));
        }
    }

    fn say_how_far(&self, count: u64) {
        let begun = self.next.load(Ordering::Relaxed).min(count);
        crate::note(&format!("{}: {} of {} users", self.place, thousands(begun), thousands(count)));
    }
}
