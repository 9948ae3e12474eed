//! Operations on weights, row by row: in vectors, and on all threads.

use super::device::{Bounds, Device};
use super::planes::PlaneRef;
use super::rule::WriteNoise;
use crate::error::Result;
use crate::par::Par;
use crate::rng::{CHUNK, Draw, Key, Stream};
use crate::simd::{self, Work};

/// The state of the cells of one tile.
#[derive(Debug)]
pub struct Cells<'a> {
    /// Visible weights, `[d_size, x_size]` row-major.
    pub weights: &'a mut [f32],
    /// Weights under the write noise; `None` without write noise.
    pub persistent: Option<&'a mut [f32]>,
    /// Hidden parameters, in the order of [`Device::hidden_names`]. The slot of the persistent
    /// weights is not read.
    pub planes: &'a [PlaneRef<'a>],
}

/// Cells of one task, about: some microseconds of work.
const CELLS: usize = 1 << 13;

/// Nanoseconds per cell and normal draw, and per cell without.
const DRAW_NS: f64 = 1.5;
const CELL_NS: f64 = 0.5;

/// Neighbouring cells of one row under an operation, at most [`CHUNK`].
pub(super) struct Row<'a, const N: usize> {
    /// Number of the row.
    pub(super) number: u32,
    /// Column of the first cell, a multiple of [`CHUNK`].
    pub(super) first: usize,
    /// Weights, the persistent ones where there are some.
    pub(super) weights: &'a mut [f32],
    /// What the operation reads of each cell.
    pub(super) planes: [&'a [f32]; N],
}

/// What happens to every row. `apply` must be `#[inline(always)]` with all that it calls.
pub(super) trait Operation<const N: usize>: Sync {
    /// Normal draws per cell, for the estimate of its time.
    const DRAWS: f64;

    /// Changes the weights of some cells; bounds and write noise come after it.
    fn apply(&self, row: Row<'_, N>);
}

/// No change but that of the bounds.
pub(super) struct Nothing;

impl Operation<0> for Nothing {
    const DRAWS: f64 = 0.0;

    #[inline(always)]
    fn apply(&self, _: Row<'_, 0>) {}
}

impl Device {
    /// Applies an operation to all weights, then the bounds, then new write noise. All slices fit. It
    /// needs no memory, so that it cannot fail halfway.
    ///
    /// # Errors
    /// None.
    pub(super) fn for_rows<const N: usize, O: Operation<N>>(
        &self,
        cells: Cells<'_>,
        planes: [PlaneRef<'_>; N],
        key: Key,
        operation: &O,
    ) -> Result<()> {
        let columns = self.x_size();
        let noise = self.write_noise().zip(cells.persistent.is_some().then_some(()));
        let noise = noise.map(|(noise, ())| (noise, key.stream(Stream::WriteNoise)));
        let cell_ns = CELL_NS + DRAW_NS * (O::DRAWS + f64::from(u8::from(noise.is_some())));
        let par = Par::of(cell_ns * cells.weights.len() as f64);
        let height = if par.threads() == 1 { self.d_size() } else { CELLS.div_ceil(columns) };
        let bounds = self.bounds(cells.planes);
        let mut visible = None;
        let state = match cells.persistent {
            Some(persistent) => {
                visible = Some(cells.weights.chunks_mut(height * columns));
                persistent
            }
            None => cells.weights,
        };
        let pieces = state.chunks_mut(height * columns).enumerate().map(|(at, state)| {
            let visible = visible.as_mut().and_then(Iterator::next);
            (at * height, state, visible)
        });
        par.for_each(pieces, |(first, state, visible)| {
            let (write, visible) = (noise, visible);
            simd::run(Rows { operation, planes, bounds, write, columns, first, state, visible });
            Ok(())
        })
    }
}

/// Some rows.
struct Rows<'a, const N: usize, O> {
    operation: &'a O,
    planes: [PlaneRef<'a>; N],
    bounds: Option<Bounds<'a>>,
    write: Option<(WriteNoise, Draw)>,
    columns: usize,
    first: usize,
    state: &'a mut [f32],
    visible: Option<&'a mut [f32]>,
}

/// A plane in pieces of [`CHUNK`] cells: its own values, or a line that all cells share.
struct Lines<'a> {
    values: Option<&'a [f32]>,
    line: [f32; CHUNK],
}

impl<'a> Lines<'a> {
    #[inline(always)]
    fn new(plane: PlaneRef<'a>) -> Self {
        match plane {
            PlaneRef::Values(values) => Self { values: Some(values), line: [0.0; CHUNK] },
            PlaneRef::Constant(value) => Self { values: None, line: [value; CHUNK] },
        }
    }

    /// Those of `len` cells from flat position `at` on.
    #[inline(always)]
    fn cells(&self, at: usize, len: usize) -> &[f32] {
        match self.values {
            Some(values) => &values[at..at + len],
            None => &self.line[..len],
        }
    }
}

impl<const N: usize, O: Operation<N>> Work for Rows<'_, N, O> {
    type Home = O;

    #[inline(always)]
    fn run(mut self) {
        let columns = self.columns;
        let planes = self.planes.map(Lines::new);
        let bounds = self.bounds.map(|bounds| bounds.planes().map(Lines::new));
        let mut normals = [0.0; CHUNK];
        for (local, row) in self.state.chunks_exact_mut(columns).enumerate() {
            let number = self.first + local;
            for (chunk, weights) in row.chunks_mut(CHUNK).enumerate() {
                let (first, len) = (chunk * CHUNK, weights.len());
                let at = number * columns + first;
                let cells = std::array::from_fn(|plane| planes[plane].cells(at, len));
                self.operation.apply(Row {
                    number: number as u32,
                    first,
                    weights: &mut *weights,
                    planes: cells,
                });
                if let Some(bounds) = &bounds {
                    let [upper, lower, reference] =
                        std::array::from_fn(|plane| bounds[plane].cells(at, len));
                    for at in 0..len {
                        let limits = [lower[at] - reference[at], upper[at] - reference[at]];
                        weights[at] = weights[at].max(limits[0]).min(limits[1]);
                    }
                }
                if let (Some((noise, draw)), Some(visible)) = (&self.write, &mut self.visible) {
                    let normals = &mut normals[..len];
                    draw.fill_normal_from(first, number as u32, 0, normals);
                    let visible = &mut visible[local * columns + first..][..len];
                    for ((w, p), xi) in visible.iter_mut().zip(&*weights).zip(&*normals) {
                        *w = noise.std.mul_add(*xi, *p);
                    }
                }
            }
        }
    }
}
