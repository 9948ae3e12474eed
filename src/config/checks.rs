//! Checks of single values; the message names the field.

use crate::error::{Error, Result};

/// Checks that a value is finite.
pub(crate) fn finite(path: &str, field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value.abs() <= f64::from(f32::MAX) {
        return Ok(());
    }
    Err(Error::config(
        format!("{path}.{field}"),
        format!("must be finite and within f32, got {value}"),
    ))
}

/// Checks `condition` of a field.
pub(crate) fn require(
    condition: bool,
    path: &str,
    field: &str,
    why: impl Into<String>,
) -> Result<()> {
    if condition { Ok(()) } else { Err(Error::config(format!("{path}.{field}"), why)) }
}
