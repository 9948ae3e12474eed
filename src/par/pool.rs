//! Rayon as a team: the pool that the caller is in, or one of our own beside the calling thread.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::team::Team;

/// The team of callers that have handed over none.
pub(super) struct Pool;

/// Our own pool, with the process it was made in: a forked child has the locks but not the threads.
struct Own {
    process: u32,
    pool: ThreadPool,
}

static OWN: ArcSwapOption<Own> = ArcSwapOption::const_empty();

impl Team for Pool {
    fn name(&self) -> &str {
        "rayon"
    }

    fn threads(&self) -> usize {
        static CORES: OnceLock<usize> = OnceLock::new();
        match rayon::current_thread_index() {
            Some(_) => rayon::current_num_threads(),
            None => {
                *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
            }
        }
    }

    /// Waking a thread of a pool costs about 10 us.
    fn worth_ns(&self) -> f64 {
        25_000.0
    }

    fn run(&self, threads: usize, work: &(dyn Fn() + Sync)) {
        if rayon::current_thread_index().is_some() {
            // Somebody's pool: its threads are the ones that there are.
            return rayon::scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(|_| work());
                }
                work();
            });
        }
        // The system may have no threads to give; the result is the same, only later.
        let Some(own) = own(threads - 1) else { return work() };
        own.pool.in_place_scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|_| work());
            }
            work();
        });
    }
}

/// Our own pool of that many threads.
fn own(threads: usize) -> Option<Arc<Own>> {
    let process = std::process::id();
    if let Some(own) = &*OWN.load()
        && own.process == process
        && own.pool.current_num_threads() == threads
    {
        return Some(Arc::clone(own));
    }
    let builder =
        ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("mho-{index}"));
    let own = Arc::new(Own { process, pool: builder.build().ok()? });
    let old = OWN.swap(Some(Arc::clone(&own)));
    if old.as_ref().is_some_and(|old| old.process != process) {
        // Ending a pool would wait for threads that stayed in the parent.
        std::mem::forget(old);
    }
    Some(own)
}
