//! The draw of the variations between the cells of a tile.

use super::Visitor;
use super::common::{CellDraws, PulsedParameters};
use super::device::{Device, PERSISTENT};
use super::planes::Plane;
use super::rule::PulsedDevice;
use crate::error::Result;
use crate::memory;
use crate::par;
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
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory), [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn construct(&self, seed: u64) -> Result<Vec<(&'static str, Plane)>> {
        let cells = self.d_size() * self.x_size();
        let plane = |name| Ok((name, empty_plane(self, name, cells)?));
        let planes = self.hidden_names().into_iter().map(plane).collect::<Result<_>>()?;
        self.config().visit(Construct { device: self, seed, planes })
    }
}

/// Draws the hidden parameters of a device into those of `planes` that have values.
struct Construct<'a> {
    device: &'a Device,
    seed: u64,
    planes: Vec<(&'static str, Plane)>,
}

impl Visitor for Construct<'_> {
    type Output = Result<Vec<(&'static str, Plane)>>;

    fn pulsed<D: PulsedDevice>(self, config: &D) -> Self::Output {
        let Self { device, seed, mut planes } = self;
        let seed = match config.pulsed().construction_seed {
            0 => seed,
            seed => seed as u64,
        };
        let draw = Key::new(seed, 0).stream(Stream::Construct);
        let mut rows = RowDraws::new(device.x_size(), D::EXTRA_DRAWS)?;
        let group = par::rows_per_check(config.construction_ns());
        for row in 0..device.d_size() {
            rows.fill(&draw, row as u32, config.pulsed())?;
            for column in 0..device.x_size() {
                if (row * device.x_size() + column + 1).is_multiple_of(group) {
                    par::check_interrupt()?;
                }
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
        Ok(planes)
    }

    fn exact(self) -> Self::Output {
        Ok(Vec::new())
    }
}

fn empty_plane(device: &Device, name: &str, cells: usize) -> Result<Plane> {
    Ok(match device.hidden_constant(name) {
        Some(value) => Plane::Constant(value),
        None => Plane::Values(memory::filled(0.0, cells)?),
    })
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
    fn new(x_size: usize, extra: usize) -> Result<Self> {
        let rows = |count| (0..count).map(|_| memory::filled(0.0, x_size)).collect::<Result<_>>();
        Ok(Self { normals: rows(NORMALS.len())?, corrupt: None, extra: rows(extra)? })
    }

    fn fill(&mut self, draw: &Draw, row: u32, pulsed: &PulsedParameters) -> Result<()> {
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
            if self.corrupt.is_none() {
                self.corrupt = Some([memory::filled(0, x_size)?, memory::filled(0, x_size)?]);
            }
            if let Some([is_stuck, position]) = &mut self.corrupt {
                draw.fill_words(row, block::CORRUPT, is_stuck);
                draw.fill_words(row, block::CORRUPT_POSITION, position);
            }
        }
        Ok(())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::UpdateParameters;
    use crate::devices::{DeviceConfig, PowStepReference, random};
    use crate::error::Error;
    use crate::pulse::trouble::{self, ASKED, STOP};

    /// A search by many pulses in every cell takes long enough to be stopped.
    #[test]
    fn construction_asks_for_interruptions() {
        trouble::watch();
        let device = |n_estimation_steps| {
            let device = PowStepReference {
                n_estimation_steps,
                subtract_symmetry_point: true,
                ..PowStepReference::default()
            };
            let config = DeviceConfig::PowStepReference(device);
            Device::new(&config, &UpdateParameters::default(), 1, 4, false)
        };
        ASKED.set(0);
        let long = device(1_000_000).unwrap();
        long.construct(1).unwrap();
        assert!(ASKED.get() > 0);
        STOP.set(true);
        let result = long.construct(1);
        STOP.set(false);
        assert_eq!(result, Err(Error::Interrupted));
        assert!(matches!(device(1_000_001), Err(Error::Config { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Values that the configuration makes equal are those that would have been drawn, and all
        /// are what a tile accepts.
        #[test]
        fn folded_planes_equal_the_drawn_ones(
            name in prop::sample::select(DeviceConfig::PULSED),
            seed in any::<u64>(),
            bias in any::<bool>(),
        ) {
            let config = random::device(name, seed).unwrap();
            let consistent = config.pulsed().unwrap().enforce_consistency;
            let (rows, columns) = (20, 30);
            let device =
                Device::new(&config, &UpdateParameters::default(), rows, columns, bias).unwrap();
            let folded = device.construct(seed).unwrap();
            let empty = || Plane::Values(vec![0.0; rows * columns]);
            let planes = device.hidden_names().into_iter().map(|name| (name, empty())).collect();
            let drawn = config.visit(Construct { device: &device, seed, planes }).unwrap();
            for ((name, folded), (_, drawn)) in folded.iter().zip(&drawn) {
                for at in 0..rows * columns {
                    prop_assert_eq!(
                        folded.as_ref().at(at), drawn.as_ref().at(at), "{} of cell {}", name, at
                    );
                }
            }
            let planes: Vec<_> = folded.iter().map(|(_, plane)| plane.as_ref()).collect();
            // Finite, and no cell has crossed bounds, with or without consistency.
            device.check_planes(&planes).unwrap();
            for at in 0..rows * columns {
                prop_assert!(!consistent || planes[2].at(at) >= 0.0 && planes[3].at(at) >= 0.0);
            }
        }
    }
}
