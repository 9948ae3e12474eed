//! What runs a piece of code in several threads at once.
//!
//! An embedder whose process has threads of its own for parallel work hands them over as a [`Team`]:
//! two sets of threads on the same cores fight, since idle ones go on spinning for some time.

/// Threads that run a piece of code together.
pub trait Team: Send + Sync {
    /// What it is, for people.
    fn name(&self) -> &str;

    /// Number of threads that a call from the current thread gets unless it asks for more.
    fn threads(&self) -> usize;

    /// Work below this many nanoseconds is not worth sharing.
    fn worth_ns(&self) -> f64;

    /// Calls `work` in the current thread and at the same time in others, and returns when all of these
    /// calls have. Together they should be `threads`; any number gives the same results. `work` does
    /// not unwind.
    fn run(&self, threads: usize, work: &(dyn Fn() + Sync));
}
