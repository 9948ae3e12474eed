//! Which samples a pass computes.

/// Which samples a pass computes.
#[derive(Clone, Copy)]
pub(super) enum Samples<'a> {
    /// Consecutive samples from this one.
    From(usize),
    /// The listed ones.
    Listed(&'a [u64]),
}

impl Samples<'_> {
    /// Number of the sample in row `row`.
    #[inline(always)]
    pub fn at(&self, row: usize) -> usize {
        match self {
            Self::From(first) => first + row,
            Self::Listed(list) => list[row] as usize,
        }
    }
}
