//! Threads: sharing work among them, how many there are, interruption and panics.
//!
//! | file | what it is for |
//! | --- | --- |
//! | [`team`] | what runs a piece of code in several threads |
//! | `pool` | rayon: the pool that the caller is in, or one of our own |
//! | [`current`] | which team it is: that of the embedder, or `pool`; how many threads |
//! | `place` | whose work a thread does |
//! | `share` | pieces of work, taken by whoever is free |
//! | [`interrupt`] | asking whether a long call should stop |
//!
//! Results never depend on anything in this folder: kernels split their work by rows and draw
//! random numbers by position.

pub mod current;
pub mod interrupt;
mod place;
mod pool;
mod share;
pub mod team;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use current::{num_threads, set_num_threads, set_team, team_name};
pub use interrupt::{check_interrupt, rows_per_check, set_interrupt_check};
pub(crate) use share::Par;
pub use team::Team;

use crate::error::{Error, Result};
use crate::hooks::BLOCKS;

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
}
