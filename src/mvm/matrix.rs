//! Views of the weights.

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
    pub fn fits(&self) -> bool {
        let last = (self.outputs - 1) * self.output_stride + (self.inputs - 1) * self.input_stride;
        last < self.data.len()
    }
}
