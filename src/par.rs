//! Threads: one shared rayon pool, its size, fork safety, interruption and panics.
//!
//! Results never depend on anything in this file: kernels split their work by rows and draw
//! random numbers by position.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::hooks::BLOCKS;

/// How a kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Par {
    /// In the calling thread.
    Seq,
    /// In the current rayon pool, split for this many threads.
    Rayon(usize),
}

/// Work below this estimate stays in the calling thread: waking the pool costs about 10 us.
const PARALLEL_NS: f64 = 25_000.0;

/// The pool, with the process it was made in: a forked child has the locks but not the threads.
struct Shared {
    process: u32,
    pool: ThreadPool,
    /// Whether the main thread is one of its threads.
    has_caller: bool,
}

static POOL: ArcSwapOption<Shared> = ArcSwapOption::const_empty();
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Sets the number of threads for all kernels from now on.
///
/// # Errors
/// [`Error::Argument`] when `threads` is 0.
pub fn set_num_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        let why = "must be at least 1".to_owned();
        return Err(Error::Argument { argument: "num_threads", why });
    }
    THREADS.store(threads, Ordering::Relaxed);
    Ok(())
}

/// Number of threads: what was set, else `RAYON_NUM_THREADS`, else the number of cores.
#[must_use]
pub fn num_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => default_threads(),
        threads => threads,
    }
}

fn default_threads() -> usize {
    let variable = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let threads = variable
        .filter(|threads| *threads > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    // Another thread may have set the number meanwhile; that one wins.
    match THREADS.compare_exchange(0, threads, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => threads,
        Err(set) => set,
    }
}

/// Runs `f` in the pool when `estimate_ns` of work are worth it, else in the calling thread.
pub fn run<R: Send>(estimate_ns: f64, f: impl FnOnce(Par) -> R + Send) -> R {
    let threads = num_threads();
    let wanted = threads > 1 && estimate_ns >= PARALLEL_NS;
    // The system may have no threads to give; the result is the same, only later.
    let shared = if wanted { pool(threads) } else { None };
    let Some(shared) = shared else { return f(Par::Seq) };
    let (mut f, mut result) = (Some(f), None);
    install(&shared.pool, &mut || result = f.take().map(|f| f(Par::Rayon(threads))));
    result.unwrap_or_else(|| unreachable!("the pool runs its work or goes on with its panic"))
}

/// Entering a pool is a lot of code: compiled once, not for the work of every kernel and device.
fn install(pool: &ThreadPool, work: &mut (dyn FnMut() + Send)) {
    pool.install(work);
}

fn pool(threads: usize) -> Option<Arc<Shared>> {
    let process = std::process::id();
    if let Some(shared) = &*POOL.load()
        && shared.process == process
        && shared.pool.current_num_threads() == threads
    {
        return Some(Arc::clone(shared));
    }
    let shared = Arc::new(build(process, threads)?);
    let old = POOL.swap(Some(Arc::clone(&shared)));
    if old.as_ref().is_some_and(|old| old.process != process || old.has_caller) {
        // Ending a pool would wait for threads that stayed in the parent, and would leave a caller
        // that is one of its threads without its pool.
        std::mem::forget(old);
    }
    Some(shared)
}

/// Builds a pool, of which the main thread becomes a part where it calls first: then it works instead
/// of waiting for two others to wake up, which may do so on one core. Other threads may end before
/// the pool does, and stay outside.
fn build(process: u32, threads: usize) -> Option<Shared> {
    let builder = || {
        ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("mho-{index}"))
    };
    if is_main_thread(process)
        && let Ok(pool) = builder().use_current_thread().build()
    {
        return Some(Shared { process, pool, has_caller: true });
    }
    let pool = builder().build().ok()?;
    Some(Shared { process, pool, has_caller: false })
}

/// Whether this is the first thread of the process, as far as the system tells: on Linux that has the
/// number of the process.
fn is_main_thread(process: u32) -> bool {
    let link = std::fs::read_link("/proc/thread-self");
    link.is_ok_and(|link| link.ends_with(format!("{process}/task/{process}")))
}

/// Asks whether the current call should stop. Set once by an embedder; called between row blocks
/// from the thread that made the call.
pub type InterruptCheck = fn() -> bool;

static INTERRUPT: std::sync::OnceLock<InterruptCheck> = std::sync::OnceLock::new();

/// Installs the check that long kernels make between row blocks; the first one stays.
pub fn set_interrupt_check(check: InterruptCheck) {
    let _ = INTERRUPT.set(check);
}

/// Returns early from a long kernel when the embedder asks for it.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn check_interrupt() -> Result<()> {
    match INTERRUPT.get() {
        Some(check) if check() => Err(Error::Interrupted),
        _ => Ok(()),
    }
}

/// Longest time that a kernel should run between two interrupt checks.
const BLOCK_NS: f64 = 100e6;

/// Rows to process between two interrupt checks when one row costs `row_ns`.
#[must_use]
pub fn rows_per_check(row_ns: f64) -> usize {
    ((BLOCK_NS / row_ns.max(1.0)) as usize).max(1)
}

/// Turns a panic inside `f` into [`Error::Panic`].
///
/// # Errors
/// What `f` returns, or [`Error::Panic`].
pub fn guard<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Err(Error::Panic(text.unwrap_or_else(|| "unknown panic".to_owned())))
    })
}

/// Called by transactional kernels after each block of rows.
#[allow(clippy::panic, reason = "the hook exists to panic")]
pub(crate) fn block_done() {
    if BLOCKS.strikes() {
        panic!("test hook");
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        let result: Result<()> = guard(|| panic!("boom"));
        assert_eq!(result, Err(Error::Panic("boom".to_owned())));
    }

    #[test]
    fn zero_threads_are_refused() {
        assert!(matches!(set_num_threads(0), Err(Error::Argument { argument: "num_threads", .. })));
    }
}
