//! The same work on all processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

/// Does so many jobs on all processors: each thread takes the number of the next one until there is
/// none, and what it has made of them is returned.
///
/// # Panics
/// When the work does.
pub fn share<T: Send>(
    jobs: usize,
    work: impl Fn(&mut dyn Iterator<Item = usize>) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        work(&mut numbers.take_while(|number| *number < jobs))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |thread: ScopedJoinHandle<'_, T>| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once() {
        let done = share(1_000, |jobs| jobs.collect::<Vec<_>>());
        let mut done = done.concat();
        done.sort_unstable();
        assert_eq!(done, (0..1_000).collect::<Vec<_>>());
        assert_eq!(share(0, |jobs| jobs.count()), [0]);
    }
}
