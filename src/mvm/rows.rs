//! Splitting row-wise work over threads.
//!
//! Rows are independent everywhere in the product, so how they are cut never changes a result.

use std::ops::Range;

use crate::error::Result;
use crate::par::Par;

/// Something made of rows that can be cut in two.
pub(super) trait Rows: Send + Sized {
    /// Number of rows.
    fn len(&self) -> usize;
    /// The first `at` rows and the rest.
    fn cut(self, at: usize) -> (Self, Self);
}

/// Rows of `width` elements.
pub(super) struct RowsMut<'a, T> {
    pub data: &'a mut [T],
    pub width: usize,
}

impl<'a, T> RowsMut<'a, T> {
    pub fn new(data: &'a mut [T], width: usize) -> Self {
        Self { data, width }
    }
}

impl<T: Send> Rows for RowsMut<'_, T> {
    fn len(&self) -> usize {
        self.data.len() / self.width
    }

    fn cut(self, at: usize) -> (Self, Self) {
        let (head, tail) = self.data.split_at_mut(at * self.width);
        (Self { data: head, width: self.width }, Self { data: tail, width: self.width })
    }
}

/// Rows whose columns stand apart: column `c` of row `r` is element `r` of plane `c`.
pub(super) struct PlanesMut<'a, T> {
    pub planes: Vec<&'a mut [T]>,
}

impl<'a, T> PlanesMut<'a, T> {
    /// Planes of `len` elements, one after another.
    pub fn new(data: &'a mut [T], len: usize) -> Self {
        Self { planes: data.chunks_exact_mut(len).collect() }
    }
}

impl<T: Send> Rows for PlanesMut<'_, T> {
    fn len(&self) -> usize {
        self.planes.first().map_or(0, |plane| plane.len())
    }

    fn cut(self, at: usize) -> (Self, Self) {
        let (head, tail) = self.planes.into_iter().map(|plane| plane.split_at_mut(at)).unzip();
        (Self { planes: head }, Self { planes: tail })
    }
}

/// Numbers of the rows.
impl Rows for Range<usize> {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn cut(self, at: usize) -> (Self, Self) {
        let middle = self.start + at;
        (self.start..middle, middle..self.end)
    }
}

impl<A: Rows, B: Rows> Rows for (A, B) {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn cut(self, at: usize) -> (Self, Self) {
        let (a, b) = (self.0.cut(at), self.1.cut(at));
        ((a.0, b.0), (a.1, b.1))
    }
}

impl<A: Rows, B: Rows, C: Rows> Rows for (A, B, C) {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn cut(self, at: usize) -> (Self, Self) {
        let (a, b, c) = (self.0.cut(at), self.1.cut(at), self.2.cut(at));
        ((a.0, b.0, c.0), (a.1, b.1, c.1))
    }
}

/// Rows that may be missing; never the first of a tuple.
impl<A: Rows> Rows for Option<A> {
    fn len(&self) -> usize {
        self.as_ref().map_or(0, Rows::len)
    }

    fn cut(self, at: usize) -> (Self, Self) {
        match self.map(|rows| rows.cut(at)) {
            Some((head, tail)) => (Some(head), Some(tail)),
            None => (None, None),
        }
    }
}

/// Several things with the same rows; never the first of a tuple.
impl<A: Rows> Rows for Vec<A> {
    fn len(&self) -> usize {
        self.first().map_or(0, Rows::len)
    }

    fn cut(self, at: usize) -> (Self, Self) {
        self.into_iter().map(|rows| rows.cut(at)).unzip()
    }
}

/// Pieces per thread that even out threads which start late, for cheap rows.
pub(super) const MANY: usize = 4;

/// Calls `work` with pieces that together are `rows`, about `pieces` per thread.
///
/// # Errors
/// What `work` returns.
pub(super) fn for_each<R: Rows>(
    par: Par,
    pieces: usize,
    rows: R,
    work: &(impl Fn(R) -> Result<()> + Sync),
) -> Result<()> {
    let height = match par.threads() {
        1 => rows.len(),
        threads => rows.len().div_ceil(pieces * threads),
    };
    par.for_each(Pieces::new(rows, height), work)
}

/// Calls `work` with pieces of `height` rows that together are `rows`, with an interrupt check about every
/// 100 ms.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted), or what `work` returns.
pub(super) fn for_each_in_rounds<R: Rows>(
    par: Par,
    height: usize,
    rows: R,
    work: &(impl Fn(R) -> Result<()> + Sync),
) -> Result<()> {
    par.for_each_in_rounds(Pieces::new(rows, height), work)
}

/// Rows, some at a time.
pub(super) struct Pieces<R> {
    rest: Option<R>,
    height: usize,
}

impl<R> Pieces<R> {
    pub fn new(rows: R, height: usize) -> Self {
        Self { rest: Some(rows), height: height.max(1) }
    }
}

impl<R: Rows> Iterator for Pieces<R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        let rows = self.rest.take()?;
        if rows.len() <= self.height {
            return Some(rows);
        }
        let (piece, rest) = rows.cut(self.height);
        self.rest = Some(rest);
        Some(piece)
    }
}
