//! The one translation from [`Error`] to Python exceptions.

use pyo3::prelude::*;
use pyo3::{
    exceptions::{PyKeyboardInterrupt, PyMemoryError},
    import_exception,
};

use super::gil;
use crate::error::Error;

import_exception!(mho.exceptions, ArgumentError);
import_exception!(mho.exceptions, BackendError);
import_exception!(mho.exceptions, ConfigError);
import_exception!(mho.exceptions, InputError);
import_exception!(mho.exceptions, InternalError);
import_exception!(mho.exceptions, TileError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Config { .. } | Error::Unsupported { .. } => ConfigError::new_err(text),
            Error::Shape { .. } | Error::Layout { .. } => InputError::new_err(text),
            Error::Argument { .. } => ArgumentError::new_err(text),
            Error::State { .. } => TileError::new_err(text),
            Error::Memory { .. } => PyMemoryError::new_err(text),
            Error::Backend { .. } => BackendError::new_err(text),
            Error::Panic(_) => InternalError::new_err(text),
            // The signal handler's own exception, normally KeyboardInterrupt.
            Error::Interrupted => {
                gil::take_pending().unwrap_or_else(|| PyKeyboardInterrupt::new_err(text))
            }
        }
    }
}
