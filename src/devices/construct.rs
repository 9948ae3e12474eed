//! The draw of the variations between the cells of a tile.

use super::Visitor;
use super::common::{CellDraws, PulsedParameters};
use super::device::{Device, PERSISTENT};
use super::planes::Plane;
use super::rule::PulsedDevice;
use crate::rng::{Draw, Key, Stream, to_uniform};

/// Draws of the construction stream, one block each. Append only.
mod block {
    pub(super) const MAX_BOUND: u32 = 0;
    pub(super) const MIN_BOUND: u32 = 1;
    pub(super) const GAIN: u32 = 2;
    pub(super) const ASYMMETRY: u32 = 3;
    pub(super) const CORRUPT: u32 = 4;
    pub(super) const CORRUPT_POSITION: u32 = 5;
    pub(super) const DIFFUSION: u32 = 6;
    pub(super) const RESET: u32 = 7;
    pub(super) const LIFETIME: u32 = 8;
    pub(super) const DRIFT_NU: u32 = 9;
    pub(super) const EXTRA: u32 = 16;
}

impl Device {
    /// Draws the hidden parameters from `seed`, or from a `construction_seed` that is not 0. The
    /// persistent weights are 0.
    #[must_use]
    pub fn construct(&self, seed: u64) -> Vec<(&'static str, Plane)> {
        self.config().visit(Construct { device: self, seed })
    }
}

/// Draws the hidden parameters of a device.
struct Construct<'a> {
    device: &'a Device,
    seed: u64,
}

impl Visitor for Construct<'_> {
    type Output = Vec<(&'static str, Plane)>;

    fn pulsed<D: PulsedDevice>(self, config: &D) -> Self::Output {
        let device = self.device;
        let seed = match config.pulsed().construction_seed {
            0 => self.seed,
            seed => seed as u64,
        };
        let draw = Key::new(seed, 0).stream(Stream::Construct);
        let cells = device.d_size() * device.x_size();
        let mut planes: Vec<_> = device
            .hidden_names()
            .into_iter()
            .map(|name| (name, empty_plane(device, name, cells)))
            .collect();
        let mut rows = RowDraws::new(device.x_size(), D::EXTRA_DRAWS);
        for row in 0..device.d_size() {
            rows.fill(&draw, row as u32, config.pulsed());
            for column in 0..device.x_size() {
                let bias = device.analog_bias && column + 1 == device.x_size();
                let draws = rows.cell(column, bias && config.pulsed().perfect_bias);
                let mut cell = config.pulsed().cell(&draws);
                let extra = config.extra(&mut cell, &rows.extra_of(column));
                for (at, (name, plane)) in planes.iter_mut().enumerate() {
                    if let Plane::Values(values) = plane
                        && *name != PERSISTENT
                    {
                        values[row * device.x_size() + column] =
                            device.column(at, &cell, &extra) as f32;
                    }
                }
            }
        }
        planes
    }

    fn exact(self) -> Self::Output {
        Vec::new()
    }
}

fn empty_plane(device: &Device, name: &str, cells: usize) -> Plane {
    match device.hidden_constant(name) {
        Some(value) => Plane::Constant(value),
        None => Plane::Values(vec![0.0; cells]),
    }
}

/// Draws of one row of cells.
struct RowDraws {
    normals: Vec<Vec<f32>>,
    corrupt: Option<[Vec<u32>; 2]>,
    extra: Vec<Vec<f32>>,
}

/// Normal draws of the base parameters, with the block of each.
const NORMALS: [u32; 8] = [
    block::MAX_BOUND,
    block::MIN_BOUND,
    block::GAIN,
    block::ASYMMETRY,
    block::DIFFUSION,
    block::RESET,
    block::LIFETIME,
    block::DRIFT_NU,
];

impl RowDraws {
    fn new(x_size: usize, extra: usize) -> Self {
        Self {
            normals: vec![vec![0.0; x_size]; NORMALS.len()],
            corrupt: None,
            extra: vec![vec![0.0; x_size]; extra],
        }
    }

    fn fill(&mut self, draw: &Draw, row: u32, pulsed: &PulsedParameters) {
        // Draws are positional: those that nothing depends on are left out.
        let needed = [
            pulsed.w_max_dtod != 0.0,
            pulsed.w_min_dtod != 0.0,
            pulsed.dw_min_dtod != 0.0,
            pulsed.up_down_dtod != 0.0,
            pulsed.diffusion > 0.0 && pulsed.diffusion_dtod != 0.0,
            pulsed.reset_dtod > 0.0,
            pulsed.lifetime > 0.0 && pulsed.lifetime_dtod != 0.0,
            pulsed.drift.nu > 0.0 && pulsed.drift.nu_dtod != 0.0,
        ];
        for ((block, needed), out) in NORMALS.into_iter().zip(needed).zip(&mut self.normals) {
            if needed {
                draw.fill_normal(row, block, out);
            }
        }
        for (at, out) in self.extra.iter_mut().enumerate() {
            draw.fill_normal(row, block::EXTRA + at as u32, out);
        }
        if pulsed.corrupt_devices_prob > 0.0 {
            let x_size = self.normals[0].len();
            let [is_stuck, position] =
                self.corrupt.get_or_insert_with(|| [vec![0; x_size], vec![0; x_size]]);
            draw.fill_words(row, block::CORRUPT, is_stuck);
            draw.fill_words(row, block::CORRUPT_POSITION, position);
        }
    }

    fn cell(&self, column: usize, perfect: bool) -> CellDraws {
        let normal = |at: usize| f64::from(self.normals[at][column]);
        let uniform = |words: &[u32]| f64::from(to_uniform(words[column]));
        CellDraws {
            bounds: [normal(0), normal(1)],
            gain: normal(2),
            asymmetry: normal(3),
            diffusion: normal(4),
            reset: normal(5),
            lifetime: normal(6),
            drift_nu: normal(7),
            corrupt: self
                .corrupt
                .as_ref()
                .map(|[stuck, position]| [uniform(stuck), uniform(position)]),
            perfect,
        }
    }

    fn extra_of(&self, column: usize) -> Vec<f64> {
        self.extra.iter().map(|normals| f64::from(normals[column])).collect()
    }
}
