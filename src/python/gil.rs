//! Releasing the interpreter around kernels, and asking it for signals in between.

use std::cell::RefCell;

use pyo3::prelude::*;

use super::team;
use crate::error::Result;
use crate::par;

thread_local! {
    /// What a signal handler raised while a kernel of this thread was running.
    static PENDING: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Runs a kernel with the interpreter released; a panic becomes an exception.
pub(super) fn enter<R: Send>(
    py: Python<'_>,
    kernel: impl FnOnce() -> Result<R> + Send,
) -> PyResult<R> {
    team::prepare(py);
    py.detach(|| par::guard(kernel)).map_err(PyErr::from)
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
