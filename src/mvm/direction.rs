//! The two ways of reading an array.

/// Which way the array is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `y = W x`.
    Forward,
    /// `g = W^T d`.
    Backward,
}

impl Direction {
    /// Name of the parameter group, `forward` or `backward`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}
