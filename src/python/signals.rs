//! Signal handlers of Python, which run while a kernel asks whether it should stop.

use std::cell::RefCell;

use pyo3::prelude::*;

thread_local! {
    /// What a signal handler raised while a kernel of this thread was running.
    static PENDING: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Whether a signal handler raised; only Python's main thread ever answers yes.
pub(super) fn interrupted() -> bool {
    Python::attach(|py| match py.check_signals() {
        Ok(()) => false,
        Err(error) => {
            PENDING.with_borrow_mut(|pending| *pending = Some(error));
            true
        }
    })
}

/// The exception that made [`interrupted`] answer yes.
pub(super) fn take_pending() -> Option<PyErr> {
    PENDING.with_borrow_mut(Option::take)
}
