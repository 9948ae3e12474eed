//! Operations on weights, row by row: in vectors, and on all threads.

use super::device::{Bounds, Device};
use super::planes::PlaneRef;
use super::rule::WriteNoise;
use crate::error::Result;
use crate::par::Par;
use crate::rng::{Draw, Key, Stream};
use crate::scratch;
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

/// One row of cells under an operation.
pub(super) struct Row<'a, const N: usize> {
    /// Its number.
    pub(super) number: u32,
    /// Weights, the persistent ones where there are some.
    pub(super) weights: &'a mut [f32],
    /// What the operation reads of each cell.
    pub(super) planes: [&'a [f32]; N],
    /// Room for draws, two values per cell.
    pub(super) draws: [&'a mut [f32]; 2],
}

/// What happens to every row. `apply` must be `#[inline(always)]` with all that it calls.
pub(super) trait Operation<const N: usize>: Sync {
    /// Normal draws per cell, for the estimate of its time.
    const DRAWS: f64;

    /// Changes the weights of a row; bounds and write noise come after it.
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
    /// Applies an operation to the weights of all rows, then the bounds, then new write noise. All
    /// slices fit.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
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
            // Planes that are equal in all cells, and draws.
            scratch::floats((N + 3 + 2) * columns, |lines| {
                simd::run(Rows {
                    operation,
                    planes,
                    bounds,
                    noise,
                    columns,
                    first,
                    state,
                    visible,
                    lines,
                });
                Ok(())
            })
        })
    }
}

/// Some rows.
struct Rows<'a, const N: usize, O> {
    operation: &'a O,
    planes: [PlaneRef<'a>; N],
    bounds: Option<Bounds<'a>>,
    noise: Option<(WriteNoise, Draw)>,
    columns: usize,
    first: usize,
    state: &'a mut [f32],
    visible: Option<&'a mut [f32]>,
    lines: &'a mut [f32],
}

/// A plane, row by row: its own values, or a line that is equal in all rows.
#[derive(Clone, Copy)]
struct Lines<'a> {
    values: &'a [f32],
    /// Distance of two rows.
    stride: usize,
}

impl<'a> Lines<'a> {
    #[inline(always)]
    fn new(plane: PlaneRef<'a>, line: &'a mut [f32]) -> Self {
        match plane {
            PlaneRef::Values(values) => Self { values, stride: line.len() },
            PlaneRef::Constant(value) => {
                line.fill(value);
                Self { values: line, stride: 0 }
            }
        }
    }

    #[inline(always)]
    fn row(&self, row: usize, columns: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..columns]
    }
}

impl<const N: usize, O: Operation<N>> Work for Rows<'_, N, O> {
    type Home = O;

    #[inline(always)]
    fn run(self) {
        let columns = self.columns;
        let (own, others) = self.lines.split_at_mut(N * columns);
        let mut own = own.chunks_exact_mut(columns);
        let planes = self.planes.map(|plane| Lines::new(plane, own.next().unwrap_or_default()));
        let (limits, draws) = others.split_at_mut(3 * columns);
        let mut limits = limits.chunks_exact_mut(columns);
        let bounds = self.bounds.map(|bounds| {
            bounds.planes().map(|plane| Lines::new(plane, limits.next().unwrap_or_default()))
        });
        let (a, b) = draws.split_at_mut(columns);
        let mut visible = self.visible.map(|visible| visible.chunks_exact_mut(columns));
        for (local, weights) in self.state.chunks_exact_mut(columns).enumerate() {
            let row = self.first + local;
            let planes = planes.map(|plane| plane.row(row, columns));
            let draws = [&mut *a, &mut *b];
            self.operation.apply(Row { number: row as u32, weights, planes, draws });
            if let Some([upper, lower, reference]) = bounds {
                let [upper, lower] = [upper, lower].map(|plane| plane.row(row, columns));
                let reference = reference.row(row, columns);
                for at in 0..columns {
                    let limits = [lower[at] - reference[at], upper[at] - reference[at]];
                    weights[at] = weights[at].max(limits[0]).min(limits[1]);
                }
            }
            if let Some((noise, draw)) = &self.noise
                && let Some(visible) = visible.as_mut().and_then(Iterator::next)
            {
                draw.fill_normal(row as u32, 0, visible);
                for (w, p) in visible.iter_mut().zip(&*weights) {
                    *w = noise.std.mul_add(*w, *p);
                }
            }
        }
    }
}
