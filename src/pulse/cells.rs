//! Constants of the devices as kernels read them: [`LANES`] neighbouring cells side by side.

use super::lanes::{copy, load};
use crate::devices::{CellRef, Device, MAX_EXTRA, PlaneRef, Rule, position};
use crate::rng::{Key, LANES};
use crate::simd::{clip, select};

/// Constants of [`LANES`] neighbouring cells of one row; cells beyond the last column are stuck.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LaneCells {
    pub(crate) max_bound: [f32; LANES],
    pub(crate) min_bound: [f32; LANES],
    pub(crate) up: [f32; LANES],
    pub(crate) down: [f32; LANES],
    pub(crate) extra: [[f32; LANES]; MAX_EXTRA],
}

impl LaneCells {
    #[inline(always)]
    pub(crate) fn cell(&self, lane: usize) -> CellRef {
        CellRef {
            max_bound: self.max_bound[lane],
            min_bound: self.min_bound[lane],
            up: self.up[lane],
            down: self.down[lane],
            // Written out: the compiler vectorises no loop around `map`.
            extra: [
                self.extra[0][lane],
                self.extra[1][lane],
                self.extra[2][lane],
                self.extra[3][lane],
            ],
        }
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, lane: usize, cell: CellRef) {
        (self.max_bound[lane], self.min_bound[lane]) = (cell.max_bound, cell.min_bound);
        (self.up[lane], self.down[lane]) = (cell.up, cell.down);
        self.extra[0][lane] = cell.extra[0];
        self.extra[1][lane] = cell.extra[1];
        self.extra[2][lane] = cell.extra[2];
        self.extra[3][lane] = cell.extra[3];
    }

    /// The constants that `rule` reads.
    #[inline(always)]
    pub(crate) fn prepare<R: Rule>(mut self, rule: R) -> Self {
        for lane in 0..LANES {
            self.set(lane, rule.prepare(self.cell(lane)));
        }
        self
    }

    /// The constants that `rule` reads near the weights `w`.
    #[inline(always)]
    pub(crate) fn localize<R: Rule>(mut self, rule: R, w: &[f32; LANES]) -> Self {
        let (mut places, mut found) = ([0; LANES], [[0.0; LANES]; 4]);
        for lane in 0..LANES {
            places[lane] = rule.place(w[lane], self.cell(lane));
        }
        for lane in 0..LANES {
            let values = rule.look_up(places[lane]);
            found[0][lane] = values[0];
            found[1][lane] = values[1];
            found[2][lane] = values[2];
            found[3][lane] = values[3];
        }
        let from = self;
        for lane in 0..LANES {
            let values = [found[0][lane], found[1][lane], found[2][lane], found[3][lane]];
            self.set(lane, rule.localize(w[lane], from.cell(lane), values));
        }
        self
    }

    /// `moved` within the bounds; a step that is not a number leaves the weight `w`.
    #[inline(always)]
    pub(crate) fn clip(&self, lane: usize, w: f32, moved: f32) -> f32 {
        let moved = select(moved.is_nan(), w, moved);
        clip(moved, self.min_bound[lane], self.max_bound[lane])
    }
}

/// The devices that take the pulses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) device: &'a Device,
    /// Hidden parameters, in the order of [`Device::hidden_names`].
    pub(crate) planes: &'a [PlaneRef<'a>],
    /// Key of the noise of pulses and writes.
    pub(crate) key: Key,
}

/// What the kernels read of the devices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    pub(crate) x_size: usize,
    base: [PlaneRef<'a>; 4],
    extra: [PlaneRef<'a>; MAX_EXTRA],
    /// Weight of the reference device.
    reference: PlaneRef<'a>,
}

impl<'a> Planes<'a> {
    pub(crate) fn new(target: &Target<'a>) -> Self {
        let Target { device, planes, .. } = *target;
        let mut extra = [PlaneRef::Constant(0.0); MAX_EXTRA];
        for (slot, plane) in extra.iter_mut().zip(planes.iter().skip(device.first_extra())) {
            *slot = *plane;
        }
        let base = [position::MAX_BOUND, position::MIN_BOUND, position::UP, position::DOWN];
        let reference = device.reference().map_or(PlaneRef::Constant(0.0), |at| planes[at]);
        Self { x_size: device.x_size(), base: base.map(|at| planes[at]), extra, reference }
    }

    /// Constants of the cells from `column` on in `row`.
    #[inline(always)]
    pub(crate) fn lanes(&self, row: usize, column: usize) -> LaneCells {
        let count = LANES.min(self.x_size - column);
        let at = row * self.x_size + column;
        let mut cells = LaneCells {
            max_bound: lanes_of(self.base[0], at, count),
            min_bound: lanes_of(self.base[1], at, count),
            up: lanes_of(self.base[2], at, count),
            down: lanes_of(self.base[3], at, count),
            extra: [[0.0; LANES]; MAX_EXTRA],
        };
        // A loop, for `map` would be a call.
        for (extra, plane) in cells.extra.iter_mut().zip(&self.extra) {
            *extra = lanes_of(*plane, at, count);
        }
        let reference = lanes_of(self.reference, at, count);
        for lane in 0..LANES {
            cells.max_bound[lane] -= reference[lane];
            cells.min_bound[lane] -= reference[lane];
        }
        cells
    }

    /// Copies the base constants of `count` cells from `column` on in `row`.
    #[inline(always)]
    pub(crate) fn copy<const N: usize>(
        &self,
        row: usize,
        column: usize,
        count: usize,
        out: &mut [[f32; N]],
    ) {
        let at = row * self.x_size + column;
        for (out, plane) in out.iter_mut().zip(&self.base) {
            match plane {
                PlaneRef::Constant(value) => out.fill(*value),
                PlaneRef::Values(values) => copy(&values[at..at + count], out),
            }
        }
    }

    /// Constants of one cell.
    #[inline(always)]
    pub(crate) fn cell(&self, row: usize, column: usize) -> CellRef {
        let at = row * self.x_size + column;
        let [max_bound, min_bound, up, down] = self.base.map(|plane| plane.at(at));
        let extra = self.extra.map(|plane| plane.at(at));
        let reference = self.reference.at(at);
        let (max_bound, min_bound) = (max_bound - reference, min_bound - reference);
        CellRef { max_bound, min_bound, up, down, extra }
    }
}

/// Values of up to [`LANES`] cells from `at` on.
#[inline(always)]
fn lanes_of(plane: PlaneRef<'_>, at: usize, count: usize) -> [f32; LANES] {
    match plane {
        PlaneRef::Constant(value) => [value; LANES],
        PlaneRef::Values(values) => load(values, at, count),
    }
}
