//! Records that are too many for memory: in parts, so that what belongs together can be looked at
//! together.
//!
//! Who adds a record says by a hash which part it belongs to. A part is held until it fills a block;
//! blocks go to the end of one temporary file that has no name, and a part is the chain of its blocks.
//! What is little never touches the disk.

use std::fs::File;
use std::hash::{BuildHasher, Hash};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

/// Into so many parts records are divided, by the upper bits of their hashes: of ten million, each holds
/// twenty thousand.
pub const PARTS: usize = 1 << PART_BITS;
/// How many bits of a hash name its part.
pub const PART_BITS: u32 = 9;
/// So much of each part is held, in bytes.
const BLOCK: usize = 8 << 10;
/// A block is written when less than this is left of it: room that has to grow would double.
const SPARE: usize = 256;

/// Records in parts. A copy shares the file: it is good until more is added to the original.
#[derive(Clone, Debug)]
pub struct Spill {
    parts: Vec<Part>,
    /// Where blocks are, from the first one on.
    file: Option<Arc<File>>,
    end: u64,
    records: u64,
    /// Why what was added is lost.
    failed: Option<Arc<io::Error>>,
}

#[derive(Clone, Debug, Default)]
struct Part {
    held: Vec<u8>,
    /// Where each block begins, and its length.
    blocks: Vec<(u64, usize)>,
}

impl Default for Spill {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Self { parts, file: None, end: 0, records: 0, failed: None }
    }
}

/// The hash of anything, the same in every run.
pub fn hash(value: impl Hash) -> u64 {
    FixedState::with_seed(0).hash_one(value)
}

impl Spill {
    /// Adds a record to the part that the hash names. Where the disk is full, [`Spill::part`] says so.
    pub fn push(&mut self, hash: u64, record: &impl Serialize) {
        self.push_to(part_of(hash), record);
    }

    /// Adds a record to a part, where another order than that of hashes is wanted.
    pub fn push_to(&mut self, at: usize, record: &impl Serialize) {
        let held = std::mem::take(&mut self.parts[at].held);
        match postcard::to_extend(record, held) {
            Ok(held) => self.parts[at].held = held,
            Err(e) => {
                self.failed = Some(Arc::new(io::Error::new(io::ErrorKind::InvalidData, e)));
            }
        }
        self.added(at);
    }

    /// Adds bytes to the part that the hash names, where all records have one length.
    pub fn push_bytes(&mut self, hash: u64, bytes: &[u8]) {
        let at = part_of(hash);
        self.parts[at].held.extend_from_slice(bytes);
        self.added(at);
    }

    fn added(&mut self, at: usize) {
        self.records += 1;
        if self.parts[at].held.len() > BLOCK - SPARE
            && let Err(e) = self.write(at)
        {
            self.failed = Some(Arc::new(e));
        }
    }

    fn write(&mut self, at: usize) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(tempfile::tempfile()?)),
        };
        let Part { held, blocks } = &mut self.parts[at];
        file.write_all_at(held, self.end)?;
        blocks.push((self.end, held.len()));
        self.end += held.len() as u64;
        held.clear();
        Ok(())
    }

    /// Takes what is held out of memory.
    ///
    /// # Errors
    /// When there is no room on the disk.
    pub fn flush(&mut self) -> io::Result<()> {
        let full = (0..PARTS).filter(|at| !self.parts[*at].held.is_empty());
        full.collect::<Vec<_>>().into_iter().try_for_each(|at| {
            self.write(at)?;
            self.parts[at].held = Vec::new();
            Ok(())
        })
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Appends a part, to be read by [`records`].
    ///
    /// # Errors
    /// When the disk is full or cannot be read.
    pub fn part(&self, at: usize, into: &mut Vec<u8>) -> io::Result<()> {
        if let Some(e) = &self.failed {
            return Err(io::Error::new(e.kind(), e.to_string()));
        }
        let part = &self.parts[at];
        for (begin, length) in &part.blocks {
            let from = into.len();
            into.resize(from + length, 0);
            let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
            file.read_exact_at(&mut into[from..], *begin)?;
        }
        into.extend_from_slice(&part.held);
        Ok(())
    }
}

/// Which part a hash names. The lower bits are left to hash tables within the part.
pub fn part_of(hash: u64) -> usize {
    usize::try_from(hash >> (u64::BITS - PART_BITS)).unwrap_or_default()
}

/// The records of a part.
pub fn records<'b, T: Deserialize<'b>>(mut part: &'b [u8]) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        let (record, rest) = postcard::take_from_bytes(part).ok()?;
        part = rest;
        Some(record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_record_is_in_the_part_of_its_hash() {
        let mut spill = Spill::default();
        let names: Vec<String> = (0..500_000).map(|n| format!("user {n}")).collect();
        names.iter().for_each(|name| spill.push(hash(name), name));
        assert!(spill.end > 0 && spill.len() == 500_000);
        let mut found = BTreeSet::new();
        for at in 0..PARTS {
            let mut part = Vec::new();
            spill.part(at, &mut part).unwrap();
            for name in records::<&str>(&part) {
                assert_eq!(part_of(hash(name)), at);
                assert!(found.insert(name.to_owned()), "{name} twice");
            }
        }
        assert_eq!(found, names.into_iter().collect());
    }

    #[test]
    fn a_copy_may_be_written_out_and_leaves_the_original_as_it_was() {
        let all = |spill: &Spill| {
            let mut found: Vec<u64> = Vec::new();
            for at in 0..PARTS {
                let mut part = Vec::new();
                spill.part(at, &mut part).unwrap();
                found.extend(records::<u64>(&part));
            }
            found.sort_unstable();
            found
        };
        let mut spill = Spill::default();
        (0..2_000_000_u64).for_each(|n| spill.push(hash(n), &n));
        let mut copy = spill.clone();
        copy.flush().unwrap();
        assert!(copy.end > spill.end && spill.end > 0);
        assert_eq!(all(&copy), (0..2_000_000).collect::<Vec<_>>());
        (2_000_000..4_000_000_u64).for_each(|n| spill.push(hash(n), &n));
        assert_eq!(all(&spill), (0..4_000_000).collect::<Vec<_>>());
    }

    #[test]
    fn little_stays_in_memory() {
        let mut spill = Spill::default();
        (0..100_u64).for_each(|n| spill.push(hash(n), &n));
        assert!(spill.file.is_none());
    }
}
