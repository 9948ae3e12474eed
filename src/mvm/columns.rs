//! Columns of a matrix.

use crate::error::{Error, Result};

/// Some columns of a matrix of rows.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// The matrix.
    pub data: &'a [f32],
    /// Columns of the matrix.
    pub stride: usize,
    /// The first column.
    pub first: usize,
    /// Number of columns.
    pub width: usize,
}

impl<'a> Columns<'a> {
    /// All columns of a matrix.
    #[must_use]
    pub fn all(data: &'a [f32], width: usize) -> Self {
        Self { data, stride: width, first: 0, width }
    }

    /// The columns in row `number`.
    #[inline(always)]
    pub(super) fn row(&self, number: usize) -> &'a [f32] {
        &self.data[number * self.stride + self.first..][..self.width]
    }

    /// Checks that there are `rows` rows, and no others.
    pub(super) fn check(&self, rows: usize) -> Result<()> {
        let Self { data, stride, first, width } = self;
        let end = first.checked_add(*width);
        let is_within = rows == 0 || end.is_some_and(|end| end <= *stride);
        if is_within && Some(data.len()) == rows.checked_mul(*stride) {
            return Ok(());
        }
        let expected = format!("{rows} samples of {stride} with columns {first} + {width}");
        Err(Error::Shape { argument: "x", expected, got: format!("{} elements", data.len()) })
    }
}
