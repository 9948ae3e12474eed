//! Updates that are collected digitally and written in whole pulses.

use super::batch::Batch;
use super::config::MixedPrecisionCompound;
use crate::config::{PulseType, UpdateParameters, finite, require};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Draw, Key, Stream};

/// The rule of [`MixedPrecisionCompound`].
#[derive(Debug, Clone)]
pub(super) struct Mixed {
    every: i64,
    rows: usize,
    pub(super) random: bool,
    /// Accumulated change that becomes one pulse.
    pub(super) granularity: f64,
    transfer_lr: f64,
    /// Of inputs and errors: levels on each side of zero, if they are quantised, and whether rounding is
    /// stochastic.
    quantisers: [Option<Quantiser>; 2],
    /// How rows are written.
    pub(super) write: UpdateParameters,
}

/// Quantises values relative to the largest of a vector.
#[derive(Debug, Clone, Copy)]
struct Quantiser {
    levels: f32,
    stochastic: bool,
}

impl Mixed {
    /// The rule for a tile with `d_size` rows, the pulse generation `update` and a device with steps of
    /// `granularity`; `path` is where the cell stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub(super) fn new(
        config: &MixedPrecisionCompound,
        path: &str,
        update: &UpdateParameters,
        granularity: f64,
        d_size: usize,
    ) -> Result<Self> {
        let every = config.transfer_every;
        require(every >= 0, path, "transfer_every", format!("must not be negative, got {every}"))?;
        finite(path, "granularity", config.granularity)?;
        finite(path, "transfer_lr", config.transfer_lr)?;
        let why = format!("must not be negative, got {}", config.granularity);
        require(config.granularity >= 0.0, path, "granularity", why)?;
        let quantiser = |field, bins: i64, stochastic| {
            let why = format!("must be 0 (off) or at least 2, got {bins}");
            require(bins == 0 || bins >= 2, path, field, why)?;
            Ok((bins > 0).then_some(Quantiser { levels: (bins / 2) as f32, stochastic }))
        };
        Ok(Self {
            every,
            rows: usize::try_from(config.n_rows_per_transfer).map_or(d_size, |n| n.min(d_size)),
            random: config.random_row,
            granularity: if config.granularity > 0.0 { config.granularity } else { granularity },
            transfer_lr: config.transfer_lr,
            quantisers: [
                quantiser("n_x_bins", config.n_x_bins, config.stoc_round_x)?,
                quantiser("n_d_bins", config.n_d_bins, config.stoc_round_d)?,
            ],
            write: UpdateParameters {
                update_bl_management: true,
                update_management: true,
                ..update.clone()
            },
        })
    }

    /// Whether writes are pulses; else they are exact.
    pub(super) fn is_pulsed(&self) -> bool {
        self.write.pulse_type != PulseType::NoneWithDevice
    }

    /// Rows to write after `updates` vector updates before this one, in a call with `batch` of them.
    pub(super) fn due(&self, updates: i64, batch: usize) -> usize {
        let every = self.every.saturating_mul(batch as i64);
        if every > 0 && updates > 0 && updates % every == 0 { self.rows } else { 0 }
    }

    /// Learning rate of the writes of whole numbers.
    pub(super) fn rate(&self) -> f64 {
        self.granularity * self.transfer_lr
    }

    /// What is added up of a batch of a tile with `d_size` rows and `x_size` columns; `key` is that of the
    /// call.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
    pub(super) fn quantised(
        &self,
        batch: &Batch<'_>,
        [d_size, x_size]: [usize; 2],
        key: Key,
    ) -> Result<Quantised> {
        let draw = key.stream(Stream::Quantise);
        let [x, d] = self.quantisers;
        let inputs = x_size - usize::from(batch.bias.is_some());
        let samples = batch.d.len() / d_size;
        let x = x.map(|quantiser| {
            let mut all = memory::room(samples * x_size)?;
            for sample in 0..samples {
                let first = all.len();
                all.extend_from_slice(&batch.x[sample * inputs..][..inputs]);
                all.extend(batch.bias);
                quantiser.apply(&mut all[first..], draw, sample as u32, 0);
            }
            Ok::<_, Error>(all)
        });
        let d = d.map(|quantiser| {
            let mut all = memory::copied(batch.d)?;
            for (sample, d) in all.chunks_exact_mut(d_size).enumerate() {
                quantiser.apply(d, draw, sample as u32, 1);
            }
            Ok::<_, Error>(all)
        });
        Ok(Quantised { x: x.transpose()?, d: d.transpose()? })
    }

    /// Takes whole steps out of an accumulated value; their number.
    #[inline(always)]
    pub(super) fn digest(&self, chi: &mut f32) -> f32 {
        let step = self.granularity as f32;
        let steps = (*chi / step).trunc();
        *chi -= steps * step;
        steps
    }
}

/// Inputs and errors that mixed precision adds up, quantised where that is wanted.
pub(super) struct Quantised {
    x: Option<Vec<f32>>,
    d: Option<Vec<f32>>,
}

impl Quantised {
    /// The batch with these values.
    pub(super) fn batch<'a>(&'a self, batch: &Batch<'a>) -> Batch<'a> {
        Batch {
            x: self.x.as_deref().unwrap_or(batch.x),
            bias: if self.x.is_some() { None } else { batch.bias },
            d: self.d.as_deref().unwrap_or(batch.d),
            learning_rate: batch.learning_rate,
        }
    }
}

impl Quantiser {
    /// Quantises one vector, number `sample` of its call; `side` is 0 for inputs and 1 for errors.
    fn apply(&self, values: &mut [f32], draw: Draw, sample: u32, side: u32) {
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let width = if largest > 0.0 { largest / self.levels } else { 1.0 };
        for (at, value) in values.iter_mut().enumerate() {
            let dither =
                if self.stochastic { draw.uniform(at as u32, sample, side) - 0.5 } else { 0.0 };
            let level = (*value / width + dither).round_ties_even();
            *value = level.clamp(-self.levels, self.levels) * width;
        }
    }
}
