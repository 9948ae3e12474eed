//! The one translation from [`Error`] to Python exceptions.

use pyo3::prelude::*;
use pyo3::{
    exceptions::{PyKeyboardInterrupt, PyMemoryError},
    import_exception,
};

use super::signals;
use mho_core::Error;

import_exception!(mho.exceptions, ArgumentError);
import_exception!(mho.exceptions, BackendError);
import_exception!(mho.exceptions, ConfigError);
import_exception!(mho.exceptions, InputError);
import_exception!(mho.exceptions, InternalError);
import_exception!(mho.exceptions, TileError);

/// An exception on its way to Python. A type of its own, for neither [`Error`] nor [`PyErr`] is one of this
/// crate, and the translation between them has to be.
pub(super) struct Raised(PyErr);

/// What functions of the border return.
pub(super) type PyResult<T, E = Raised> = std::result::Result<T, E>;

impl From<Raised> for PyErr {
    fn from(raised: Raised) -> Self {
        raised.0
    }
}

impl From<PyErr> for Raised {
    fn from(error: PyErr) -> Self {
        Self(error)
    }
}

impl From<Error> for Raised {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        Self(match error {
            Error::Config { .. } | Error::Unsupported { .. } => ConfigError::new_err(text),
            Error::Shape { .. } | Error::Layout { .. } => InputError::new_err(text),
            Error::Argument { .. } => ArgumentError::new_err(text),
            Error::State { .. } | Error::File { .. } => TileError::new_err(text),
            Error::Memory { .. } => PyMemoryError::new_err(text),
            Error::Backend { .. } => BackendError::new_err(text),
            // The signal handler's own exception, normally KeyboardInterrupt.
            Error::Interrupted => {
                signals::take_pending().unwrap_or_else(|| PyKeyboardInterrupt::new_err(text))
            }
            // `Panic`, and what this file does not know yet.
            _ => InternalError::new_err(text),
        })
    }
}
