//! The lock of a tile, which a forked child does not inherit: the thread that holds it at the fork is
//! not there to let go of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::PyResult;
use arc_swap::{ArcSwap, Guard};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Forks on the way from the first process to this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Python calls it in every forked child before anything else.
#[pyfunction]
fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Lets Python tell of forks, on systems that have them.
pub(super) fn watch_forks(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let os = module.py().import("os")?;
    if os.hasattr("register_at_fork")? {
        let arguments = PyDict::new(module.py());
        arguments.set_item("after_in_child", wrap_pyfunction!(forked, module)?)?;
        os.call_method("register_at_fork", (), Some(&arguments))?;
    }
    Ok(())
}

/// Kernels that read the tensors of a tile hold it for reading, those that write for writing, so that
/// Python threads can share a tile. Taken only while the interpreter is released.
pub(super) struct TileLock(ArcSwap<Lock>);

impl TileLock {
    pub(super) fn new() -> Self {
        Self(ArcSwap::from_pointee(Lock::new()))
    }

    /// The lock of this process.
    pub(super) fn here(&self) -> Arc<Lock> {
        let known = self.0.load_full();
        if known.forks == FORKS.load(Ordering::Relaxed) {
            return known;
        }
        let fresh = Arc::new(Lock::new());
        let found = self.0.compare_and_swap(&known, Arc::clone(&fresh));
        // Another thread of the child may have been first.
        if Arc::ptr_eq(&found, &known) { fresh } else { Guard::into_inner(found) }
    }
}

/// The lock of one process.
pub(super) struct Lock {
    forks: u32,
    lock: RwLock<()>,
}

impl Lock {
    fn new() -> Self {
        Self { forks: FORKS.load(Ordering::Relaxed), lock: RwLock::new(()) }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, ()> {
        // A panic inside a kernel leaves nothing half-written behind the lock: tiles are restored.
        self.lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the two guards of a lock.
pub(super) enum Held<'a> {
    Read { _guard: RwLockReadGuard<'a, ()> },
    Write { _guard: RwLockWriteGuard<'a, ()> },
}

/// Takes the locks of several tiles, for writing where that is told. Whoever takes several takes them in the
/// order of their addresses, each once, so that no two threads wait for each other.
pub(super) fn hold(mut locks: Vec<(&Lock, bool)>) -> Vec<Held<'_>> {
    locks.sort_unstable_by_key(|(lock, _)| std::ptr::from_ref(*lock));
    locks.dedup_by(|(lock, writes), (kept, kept_writes)| {
        let is_same = std::ptr::eq(*lock, *kept);
        *kept_writes |= is_same && *writes;
        is_same
    });
    let held = locks.into_iter().map(|(lock, writes)| {
        if writes {
            Held::Write { _guard: lock.write() }
        } else {
            Held::Read { _guard: lock.read() }
        }
    });
    held.collect()
}
