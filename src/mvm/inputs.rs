//! Where the inputs of samples come from.

use super::columns::Columns;
use super::patches::{Images, Reader};
use crate::error::Result;

/// Inputs of a batch.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Inputs<'a> {
    /// One row per sample.
    Rows(Columns<'a>),
    /// One patch of an image per sample.
    Patches(Images<'a>),
}

impl<'a> Inputs<'a> {
    /// Number of inputs of a sample.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.width,
            Self::Patches(images) => images.width,
        }
    }

    /// Samples that are best read together.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Rows(_) => 1,
            Self::Patches(images) => images.patches.line(),
        }
    }

    /// Checks that there are inputs for that many samples, and no others.
    pub(super) fn check(&self, samples: usize) -> Result<()> {
        match self {
            Self::Rows(rows) => rows.check(samples),
            Self::Patches(images) => images.check(samples),
        }
    }

    /// Floats that a [`Source`] works with.
    pub(super) fn buffer_len(&self) -> usize {
        match self {
            Self::Rows(_) => 0,
            Self::Patches(images) => images.buffer_len(),
        }
    }

    /// What reads them, with a buffer of [`buffer_len`](Self::buffer_len) floats.
    #[inline(always)]
    pub(super) fn source<'b>(&self, buffer: &'b mut [f32]) -> Source<'a, 'b> {
        match self {
            Self::Rows(rows) => Source::Rows(*rows),
            Self::Patches(images) => Source::Patches(Reader::new(*images, buffer)),
        }
    }
}

/// Reads the inputs of one sample after another.
pub(super) enum Source<'a, 'b> {
    Rows(Columns<'a>),
    Patches(Reader<'a, 'b>),
}

impl Source<'_, '_> {
    /// Inputs of a sample.
    #[inline(always)]
    pub fn row(&mut self, number: usize) -> &[f32] {
        match self {
            Self::Rows(rows) => rows.row(number),
            Self::Patches(reader) => reader.row(number),
        }
    }
}
