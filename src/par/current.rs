//! The team that all kernels share, and the number of its threads that they take.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pool::Pool;
use super::team::Team;
use crate::error::{Error, Result};

/// The team of the embedder, with the process that it was made in: a forked child has none of its
/// threads.
static TEAM: OnceLock<(u32, Box<dyn Team>)> = OnceLock::new();

/// Number of threads that was set; 0 for none.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Hands over the threads that all kernels share from now on; whether they are the first.
pub fn set_team(team: Box<dyn Team>) -> bool {
    TEAM.set((std::process::id(), team)).is_ok()
}

/// The threads that kernels share in this process.
pub(super) fn current() -> &'static dyn Team {
    match TEAM.get() {
        Some((process, team)) if *process == std::process::id() => &**team,
        _ => &Pool,
    }
}

/// What the kernels share: the team of the embedder, or `rayon`.
#[must_use]
pub fn team_name() -> &'static str {
    current().name()
}

/// Sets the number of threads for all kernels from now on.
///
/// # Errors
/// [`Error::Argument`] when `threads` is 0.
pub fn set_num_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        let why = "must be at least 1".to_owned();
        return Err(Error::Argument { argument: "num_threads", why });
    }
    CHOSEN.store(threads, Ordering::Relaxed);
    Ok(())
}

/// Number of threads that a call from the current thread gets: what was set, else `RAYON_NUM_THREADS`,
/// else that of the team.
#[must_use]
pub fn num_threads() -> usize {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => from_environment().unwrap_or_else(|| current().threads()),
        threads => threads,
    }
}

fn from_environment() -> Option<usize> {
    static VARIABLE: OnceLock<Option<usize>> = OnceLock::new();
    *VARIABLE.get_or_init(|| {
        let text = std::env::var("RAYON_NUM_THREADS").ok()?;
        text.parse().ok().filter(|threads| *threads > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_threads_are_refused() {
        assert!(matches!(set_num_threads(0), Err(Error::Argument { argument: "num_threads", .. })));
    }
}
