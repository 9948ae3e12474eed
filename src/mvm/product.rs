//! The product of a batch of line voltages with the weights.

use super::kernel;
use super::matrix::Matrix;
use super::rows::{RowsMut, for_each};
use crate::error::{Error, Result};
use crate::par::Par;
use crate::scratch;

/// `y = v W^T`: `v` is `[rows, inputs]`, `y` is `[rows, outputs]`.
///
/// Every element is summed in one order, whatever the number of rows and threads: a sample's product
/// has the same bits alone and in a batch.
///
/// # Errors
/// [`Error::Shape`] when the slices do not fit, [`Error::Memory`].
pub(super) fn product(par: Par, v: &[f32], weights: Matrix<'_>, y: &mut [f32]) -> Result<()> {
    let Matrix { outputs, inputs, .. } = weights;
    if outputs == 0 || y.is_empty() {
        return Ok(());
    }
    if inputs == 0 {
        y.fill(0.0);
        return Ok(());
    }
    let rows = y.len() / outputs;
    Error::check_len("prepared input", v.len(), rows * inputs)?;
    Error::check_len("product", y.len(), rows * outputs)?;
    if !weights.fits() {
        Error::check_len("weights", weights.data.len(), outputs * inputs)?;
    }
    // Few, large pieces: each of them reads all weights.
    for_each(par, PIECES, (0..rows, RowsMut::new(y, outputs)), &|(rows, y)| {
        let v = &v[rows.start * inputs..rows.end * inputs];
        scratch::floats(kernel::panel_len(weights, rows.len()), |panel| {
            kernel::multiply(v, weights, y.data, panel);
            Ok(())
        })
    })
}

/// Pieces per thread.
const PIECES: usize = 1;
