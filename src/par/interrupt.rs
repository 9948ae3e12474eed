//! Asking whether a long call should stop.

use std::time::Duration;

use super::place::is_helper;
use crate::error::{Error, Result};

/// Asks whether the current call should stop. Set once by an embedder; called between row blocks
/// from the thread that made the call.
pub type InterruptCheck = fn() -> bool;

static INTERRUPT: std::sync::OnceLock<InterruptCheck> = std::sync::OnceLock::new();

/// Installs the check that long kernels make between row blocks; whether it is the first one, which stays.
pub fn set_interrupt_check(check: InterruptCheck) -> bool {
    INTERRUPT.set(check).is_ok()
}

/// Returns early from a long kernel when the embedder asks for it. Threads that help with the work of
/// another do not ask: their caller does, between pieces.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn check_interrupt() -> Result<()> {
    match INTERRUPT.get() {
        Some(check) if !is_helper() && check() => Err(Error::Interrupted),
        _ => Ok(()),
    }
}

/// Longest time that a kernel should run between two interrupt checks.
pub(super) const BETWEEN_CHECKS: Duration = Duration::from_millis(100);

/// Rows to process between two interrupt checks when one row costs `row_ns`.
#[must_use]
pub fn rows_per_check(row_ns: f64) -> usize {
    ((BETWEEN_CHECKS.as_nanos() as f64 / row_ns.max(1.0)) as usize).max(1)
}
