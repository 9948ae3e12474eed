//! Values with a shape.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Values of a tensor, by the names that files of safetensors have for their types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "dtype", content = "values")]
#[non_exhaustive]
pub enum Values {
    /// Numbers with 32 bits: weights and all that is computed with them.
    F32(Vec<f32>),
    /// Numbers with 64 bits: clocks and running averages.
    F64(Vec<f64>),
    /// Counters.
    I64(Vec<i64>),
    /// Signs.
    I8(Vec<i8>),
    /// Bytes: text.
    U8(Vec<u8>),
    /// Of a type that no tile has, as its bytes in little-endian order.
    Other {
        /// Name of the type, such as `BF16`.
        kind: String,
        /// The values.
        bytes: Vec<u8>,
    },
}

impl Values {
    /// Name of the type.
    #[must_use]
    pub fn dtype(&self) -> &str {
        match self {
            Self::F32(_) => "F32",
            Self::F64(_) => "F64",
            Self::I64(_) => "I64",
            Self::I8(_) => "I8",
            Self::U8(_) => "U8",
            Self::Other { kind, .. } => kind,
        }
    }

    /// Number of values; `None` of other types, which only have bytes.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::F32(values) => Some(values.len()),
            Self::F64(values) => Some(values.len()),
            Self::I64(values) => Some(values.len()),
            Self::I8(values) => Some(values.len()),
            Self::U8(values) => Some(values.len()),
            Self::Other { .. } => None,
        }
    }
}

/// A dense tensor, row-major.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Number of values along each axis.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Values,
}

impl Tensor {
    /// A tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] when the values do not fill the shape.
    pub fn new(shape: Vec<usize>, values: Values) -> Result<Self> {
        let tensor = Self { shape, values };
        if tensor.is_filled() {
            return Ok(tensor);
        }
        Err(Error::Shape {
            argument: "values",
            expected: format!("as many as the shape {:?} has", tensor.shape),
            got: tensor.values.count().map_or("others".to_owned(), |len| format!("{len}")),
        })
    }

    /// A tensor of one axis.
    pub(crate) fn vector(values: Values) -> Self {
        Self { shape: vec![values.count().unwrap_or(0)], values }
    }

    /// Whether the values fill the shape, as far as their size is known.
    pub(super) fn is_filled(&self) -> bool {
        let count = self.shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        self.values.count().is_none_or(|len| count == Some(len))
    }

    /// The values if they are `f32`.
    #[must_use]
    pub fn floats(&self) -> Option<&[f32]> {
        match &self.values {
            Values::F32(values) => Some(values),
            _ => None,
        }
    }

    /// Type and shape, for messages.
    pub(super) fn describe(&self) -> String {
        format!("{} of shape {:?}", self.values.dtype(), self.shape)
    }
}
