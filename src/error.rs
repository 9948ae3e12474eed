//! The one error type of the crate.
//!
//! A message says what was wrong, what was expected and which field or argument to change.

use std::fmt::{Display, LowerExp};

use thiserror::Error;

/// Result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong. No operation changes any state before it returns one of these, except where
/// [`Error::Memory`], [`Error::Interrupted`] and [`Error::Panic`] say that the state was restored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration field has an unknown name, a wrong type or an impossible value.
    #[error("{field}: {why}")]
    Config {
        /// Dotted path of the field, for example `forward.inp_bound`.
        field: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A valid option that this build or this tile cannot do.
    #[error("{feature} is not supported: {why}")]
    Unsupported {
        /// Name of the option, for example `forward.mv_type = SplitMode`.
        feature: String,
        /// Why, and what to use instead.
        why: String,
    },
    /// An argument has the wrong number of elements.
    #[error("{argument}: expected {expected}, got {got}")]
    Shape {
        /// Name of the argument.
        argument: &'static str,
        /// What was expected.
        expected: String,
        /// What was given.
        got: String,
    },
    /// An argument has the wrong element type, memory layout or device.
    #[error("{argument}: {why}")]
    Layout {
        /// Name of the argument.
        argument: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
    /// An argument has an impossible value, for example NaN in weights.
    #[error("{argument}: {why}")]
    Argument {
        /// Name of the argument.
        argument: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The graphics processor, its driver or its memory failed.
    #[error("GPU: {cause}; {remedy}")]
    Backend {
        /// What happened.
        cause: String,
        /// What to do about it.
        remedy: String,
    },
    /// A saved state does not fit.
    #[error("state: {why}")]
    State {
        /// What does not fit.
        why: String,
    },
    /// A file cannot be opened, read or written.
    #[error("{path}: {why}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        why: String,
    },
    /// The system has no more memory; the tile is as it was before the call.
    #[error(
        "out of memory: {bytes} bytes more could not be allocated; take fewer samples at once or \
         smaller tiles (the tile is as it was before the call)"
    )]
    Memory {
        /// Size of the allocation that failed.
        bytes: usize,
    },
    /// The caller asked to stop; the tile is as it was before the call.
    #[error("interrupted; the tile is as it was before the call")]
    Interrupted,
    /// A kernel panicked; the tile is as it was before the call.
    #[error("internal error in a kernel (the tile is as it was before the call): {0}")]
    Panic(String),
}

/// A number as a message has it: as usual, but very large and very small ones by their exponent.
pub(crate) fn shown<T: Display + LowerExp + Copy + Into<f64>>(value: T) -> String {
    let size = value.into().abs();
    let is_usual = size == 0.0 || (1e-5..1e16).contains(&size) || !size.is_finite();
    if is_usual { format!("{value}") } else { format!("{value:e}") }
}

impl Error {
    /// Shorthand for [`Error::Config`].
    pub fn config(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Config { field: field.into(), why: why.into() }
    }

    /// Shorthand for [`Error::Unsupported`].
    pub fn unsupported(feature: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { feature: feature.into(), why: why.into() }
    }

    #[cfg(feature = "wgpu")]
    pub(crate) fn backend(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Backend { cause: cause.into(), remedy: remedy.into() }
    }

    /// Checks that `argument` has `expected` elements.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has not.
    pub fn check_len(argument: &'static str, got: usize, expected: usize) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(Self::Shape {
            argument,
            expected: format!("{expected} elements"),
            got: format!("{got} elements"),
        })
    }

    /// Refuses values of a tile that were drawn and that `f32` does not hold.
    ///
    /// # Errors
    /// [`Error::Config`] that names the part of the configuration and the values.
    pub fn check_drawn(field: &'static str, name: &str, values: &[f32]) -> Result<()> {
        // Without an early end the test vectorises.
        if !values.iter().fold(false, |bad, value| bad | !value.is_finite()) {
            return Ok(());
        }
        let why = format!("a draw of {name} is beyond float32; its mean or spread is too large");
        Err(Self::config(field, why))
    }

    /// Checks that every element of `values` is finite.
    ///
    /// # Errors
    /// [`Error::Argument`] naming `argument` and the first offending position.
    pub fn check_finite(argument: &'static str, values: &[f32]) -> Result<()> {
        // The exponent-bits test vectorises; the position is looked for only on failure.
        let bad = values.iter().fold(false, |bad, v| bad | !v.is_finite());
        if !bad {
            return Ok(());
        }
        let at = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
        Err(Self::Argument {
            argument,
            why: format!("element {at} is {}; every value must be finite", values[at]),
        })
    }
}
