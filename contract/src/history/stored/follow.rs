//! Follows a folder of segments while they are written.
//!
//! The writers' mappings and the files that are read here are the same pages, so a record can be read
//! as soon as it is there. One that is only half there fails its checksum, and is looked at again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::{CONTROL, Control, Record, segments};
use crate::campaign::Window;
use crate::history::{Event, HistoryError};

/// Reads what was added to a folder of segments.
pub(in crate::history) struct Follower {
    dir: PathBuf,
    control: Cursor,
    known: Control,
    /// What was told of the campaigns' starts.
    told: Vec<Window>,
    segments: BTreeMap<PathBuf, Cursor>,
}

impl Follower {
    /// Begins at the beginning. The segment of campaigns must be there.
    pub(in crate::history) fn open(dir: &Path) -> Result<Self, HistoryError> {
        let control = Cursor::open(dir.join(CONTROL))?;
        let (known, told, segments) = (Control::default(), Vec::new(), BTreeMap::new());
        Ok(Self { dir: dir.to_owned(), control, known, told, segments })
    }

    /// Calls `each` for what is new, in order of time as far as they have one, and says whether every
    /// segment has its end mark.
    pub(in crate::history) fn poll(
        &mut self,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, HistoryError> {
        self.control.look_again()?;
        self.known.read(&mut self.control)?;
        understood(&self.control)?;
        self.tell_campaigns(each);
        for path in segments(&self.dir)? {
            if !self.segments.contains_key(&path) {
                self.segments.insert(path.clone(), Cursor::open(path)?);
            }
        }
        for cursor in self.segments.values_mut() {
            cursor.look_again()?;
        }
        let heads = &mut self.segments;
        while let Some(next) = heads.values_mut().min_by_key(|c| c.time()).filter(|c| !c.is_over())
        {
            match next.head() {
                Some(Record::Invoke(i)) => each(Event::Invoke(i)),
                Some(Record::Complete(c)) => each(Event::Complete(c)),
                Some(Record::Campaign(_) | Record::Probe(_) | Record::Trailer { .. }) | None => {}
            }
            next.advance()?;
        }
        heads.values().try_for_each(understood)?;
        let over = heads.values().all(Cursor::is_marked) && !heads.is_empty();
        Ok(over && self.control.is_marked())
    }

    /// Every campaign whose start is known otherwise than before.
    fn tell_campaigns(&mut self, each: &mut dyn FnMut(Event<'_>)) {
        let before = std::mem::take(&mut self.told);
        for (at, (promise, _)) in self.known.promises().enumerate() {
            self.told.push(promise.starts_at);
            if before.get(at) != Some(&promise.starts_at) {
                each(Event::Campaign(promise));
            }
        }
    }
}

fn understood(cursor: &Cursor) -> Result<(), HistoryError> {
    let Some(at) = cursor.strange() else { return Ok(()) };
    Err(HistoryError::NotAHistory {
        path: cursor.path().to_owned(),
        reason: format!(
            "the record at byte {at} is whole, but not one that this version understands"
        ),
    })
}
