//! Pieces of work, taken by whichever thread is free.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::current;
use super::interrupt::{BETWEEN_CHECKS, check_interrupt};
use super::place::{PLACE, Place};
use crate::error::{Error, Result};

/// Number of threads that some work is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Par {
    threads: usize,
}

impl Par {
    /// All threads where `estimate_ns` of work are worth it, else the current one.
    ///
    /// Inside of a piece that is shared already it is the current one.
    pub(crate) fn of(estimate_ns: f64) -> Self {
        let is_worth =
            PLACE.get() == Place::Outside && estimate_ns >= current::current().worth_ns();
        Self { threads: if is_worth { current::num_threads() } else { 1 } }
    }

    /// The current thread: for what happens inside of a piece that is shared already.
    pub(crate) const fn alone() -> Self {
        Self { threads: 1 }
    }

    /// Number of threads.
    pub(crate) fn threads(self) -> usize {
        self.threads
    }

    /// Calls `work` for all pieces, in any order; after an error or a panic for no more of them.
    ///
    /// # Errors
    /// What `work` returns.
    pub(crate) fn for_each<T: Send>(
        self,
        mut pieces: impl Iterator<Item = T> + Send,
        work: impl Fn(T) -> Result<()> + Sync,
    ) -> Result<()> {
        if self.threads == 1 {
            return pieces.try_for_each(work);
        }
        // Taking a piece costs some 20 ns, the least of them takes microseconds.
        let pieces = Mutex::new(pieces);
        share(self.threads, &|| {
            let piece = pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            piece.map_or(Ok(false), |piece| work(piece).map(|()| true))
        })
    }

    /// As [`for_each`](Self::for_each), for work of unknown length: asks in rounds by the clock whether to
    /// stop. How long a piece takes may depend on what it finds, as on weights at their bounds.
    ///
    /// # Errors
    /// [`Error::Interrupted`], or what `work` returns.
    pub(crate) fn for_each_in_rounds<T: Send>(
        self,
        pieces: impl Iterator<Item = T> + Send,
        work: impl Fn(T) -> Result<()> + Sync,
    ) -> Result<()> {
        let mut pieces = pieces.peekable();
        while pieces.peek().is_some() {
            check_interrupt()?;
            let began = Instant::now();
            let mut first = true;
            // Every round takes a piece, however long the check took.
            let round = std::iter::from_fn(|| {
                let more = std::mem::take(&mut first) || began.elapsed() < BETWEEN_CHECKS;
                if more { pieces.next() } else { None }
            });
            self.for_each(round, &work)?;
        }
        Ok(())
    }
}

/// Why no more pieces are taken.
enum End {
    Failed(Error),
    Panicked(Box<dyn Any + Send>),
}

/// Calls `next` in several threads until it finds no more pieces. Compiled once, not for the work of
/// every kernel and device.
fn share(threads: usize, next: &(dyn Fn() -> Result<bool> + Sync)) -> Result<()> {
    let (joined, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let why = Mutex::new(None);
    let end = |how| {
        ended.store(true, Ordering::Relaxed);
        why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(how);
    };
    let caller = thread::current().id();
    current::current().run(threads, &|| {
        // A team may come with more threads than were asked for.
        if joined.fetch_add(1, Ordering::Relaxed) >= threads {
            return;
        }
        let is_caller = thread::current().id() == caller;
        let before = PLACE.replace(if is_caller { Place::Caller } else { Place::Helper });
        while !ended.load(Ordering::Relaxed) {
            match catch_unwind(AssertUnwindSafe(next)) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break,
                Ok(Err(error)) => end(End::Failed(error)),
                Err(payload) => end(End::Panicked(payload)),
            }
        }
        PLACE.set(before);
    });
    match why.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(End::Failed(error)) => Err(error),
        Some(End::Panicked(payload)) => resume_unwind(payload),
    }
}
