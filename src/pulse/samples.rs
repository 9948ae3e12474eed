//! Some samples of a batch.

use std::ops::Range;

/// Positions of samples in a batch, in ascending order; an iterator over them.
#[derive(Debug, Clone)]
pub(crate) enum Samples<'a> {
    /// Neighbours.
    From(Range<usize>),
    /// Any.
    Listed(&'a [usize]),
}

impl Iterator for Samples<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::From(range) => range.next(),
            Self::Listed(list) => list.split_off_first().copied(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::From(range) => range.size_hint(),
            Self::Listed(list) => list.iter().size_hint(),
        }
    }
}

impl From<Range<usize>> for Samples<'_> {
    fn from(range: Range<usize>) -> Self {
        Self::From(range)
    }
}
