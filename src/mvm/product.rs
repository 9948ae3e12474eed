//! The product of a batch of line voltages with the weights.

use super::few_rows::few_rows;
use crate::error::{Error, Result};
use crate::par::Par;

/// Weights as one direction sees them: element `(i, j)` couples output `i` to input `j`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub data: &'a [f32],
    pub outputs: usize,
    pub inputs: usize,
    pub output_stride: usize,
    pub input_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The same view of other values.
    pub fn with(self, data: &'a [f32]) -> Self {
        Self { data, ..self }
    }

    /// Whether every element lies within the data.
    fn fits(&self) -> bool {
        let last = (self.outputs - 1) * self.output_stride + (self.inputs - 1) * self.input_stride;
        last < self.data.len()
    }
}

/// Batches up to this size take the row kernels below: a general product first packs the weights,
/// which for so few rows costs more than the product.
const FEW_ROWS: usize = 12;

/// `y = v W^T`: `v` is `[rows, inputs]`, `y` is `[rows, outputs]`.
///
/// # Errors
/// [`Error::Shape`] when the slices do not fit.
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
    if rows <= FEW_ROWS {
        few_rows(v, weights, y);
    } else {
        many_rows(par, v, weights, y);
    }
    Ok(())
}

#[allow(unsafe_code)]
fn many_rows(par: Par, v: &[f32], weights: Matrix<'_>, y: &mut [f32]) {
    let Matrix { data, outputs, inputs, output_stride, input_stride } = weights;
    let rows = y.len() / outputs;
    // SAFETY: `product` checked that v has rows * inputs elements, y has rows * outputs elements
    // and the last element of the weights' view lies within its data; all are contiguous, of
    // positive strides, and y is borrowed exclusively. Strides fit isize, for slices do.
    unsafe {
        gemm::gemm(
            rows,
            outputs,
            inputs,
            y.as_mut_ptr(),
            1,
            outputs as isize,
            false,
            v.as_ptr(),
            1,
            inputs as isize,
            data.as_ptr(),
            output_stride as isize,
            input_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            par.gemm(),
        );
    }
}
