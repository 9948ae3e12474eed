//! Checks of single values; the message names the field.

use crate::error::{Error, Result, shown};

/// Largest number of rows or columns of one tile: keeps every index within 32 bits, and the positions
/// of the draws of a column within the 20 bits that they have.
pub const MAX_SIZE: usize = 1 << 20;

/// Checks the sizes of a tile with `d_size` rows and `x_size` columns.
pub(crate) fn check_sizes(d_size: usize, x_size: usize) -> Result<()> {
    for (argument, size) in [("out_size", d_size), ("in_size", x_size)] {
        if !(1..=MAX_SIZE).contains(&size) {
            let why = format!("must be between 1 and {MAX_SIZE}, got {size}");
            return Err(Error::Argument { argument, why });
        }
    }
    Ok(())
}

/// Checks that an argument is not negative and within f32, in which kernels compute.
pub(crate) fn check_factor(argument: &'static str, value: f64) -> Result<()> {
    if (0.0..=f64::from(f32::MAX)).contains(&value) {
        return Ok(());
    }
    let why =
        format!("must be between 0 and {:e}, the largest f32, got {}", f32::MAX, shown(value));
    Err(Error::Argument { argument, why })
}

/// Largest absolute value of a field. Kernels compute in f32, and noise multiplies: two such fields, a
/// draw below 10 and a sum over [`MAX_SIZE`] columns are 1e15 * 1e15 * 10 * 1e6 = 1e37, which f32 holds.
pub(crate) const LARGEST: f64 = 1e15;

/// Checks that a value is finite, and so are products with it.
pub(crate) fn finite(path: &str, field: &str, value: f64) -> Result<()> {
    if value.abs() <= LARGEST {
        return Ok(());
    }
    let why = format!("must be finite and at most {LARGEST:e} in size, got {}", shown(value));
    Err(Error::config(format!("{path}.{field}"), why))
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
