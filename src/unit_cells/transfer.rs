//! Transfers from a fast device to slow ones: when, which lines, and how much.

use super::buffer::Buffer;
use super::chopper::Chopper;
use super::config::Common;
use super::vector::gamma;
use crate::config::{
    BoundManagement, IoParameters, NoiseManagement, UpdateParameters, finite, require,
};
use crate::error::{Error, Result, shown};
use crate::mvm::{Direction, OneLine};

/// The rule of [`TransferCompound`](super::TransferCompound) and its heirs.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    /// Whether the weight is that of the last device alone.
    pub(super) hidden: bool,
    /// Weights of the devices in the sum.
    pub(super) gamma: Vec<f32>,
    /// Period of the transfer from each device, as configured.
    periods: Vec<f64>,
    in_batches: bool,
    /// Whether lines are columns; else rows.
    pub(super) columns: bool,
    /// Number of lines.
    pub(super) lines: usize,
    /// Lines per transfer.
    pub(super) reads: usize,
    reset_prob: f64,
    pub(super) random: bool,
    fast_lr: f64,
    scale_fast_lr: bool,
    /// Learning rates of the transfers from each device.
    rates: Vec<f64>,
    scale_transfer_lr: bool,
    pub(super) read: OneLine,
    pub(super) write: UpdateParameters,
    pub(super) kind: Kind,
}

/// What becomes of the values that are read.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// They are written.
    Direct,
    /// They are added up in buffers in units of the weight.
    Buffered(Buffer),
    /// They are added up in a buffer in units of pulses, with signs that flip.
    Chopped(Chopper),
}

impl Transfer {
    /// The rule for `count` devices; `path` is where the cell stands.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub(super) fn new(
        config: &Common<'_>,
        path: &str,
        count: usize,
        kind: Kind,
        [d_size, x_size]: [usize; 2],
    ) -> Result<Self> {
        check(config, path, &kind)?;
        let gamma = match gamma(path, config.gamma_vec, count)? {
            Some(gamma) => gamma,
            None => (0..count).rev().map(|power| config.gamma.powi(power as i32) as f32).collect(),
        };
        if gamma.last() == Some(&0.0) {
            let why = "the last device must count: weights that are set are set in it";
            return Err(Error::config(format!("{path}.gamma_vec"), why));
        }
        let columns = config.transfer_columns;
        let lines = if columns { x_size } else { d_size };
        let reads = usize::try_from(config.n_reads_per_transfer).unwrap_or(1).min(lines);
        let direction = if columns { Direction::Forward } else { Direction::Backward };
        Ok(Self {
            hidden: gamma.split_last().is_some_and(|(last, others)| {
                *last == 1.0 && others.iter().all(|gamma| *gamma == 0.0)
            }),
            gamma,
            periods: periods(config, path, count, lines as f64 / reads as f64)?,
            in_batches: config.units_in_mbatch,
            columns,
            lines,
            reads,
            reset_prob: config.with_reset_prob,
            random: config.random_selection,
            fast_lr: config.fast_lr,
            scale_fast_lr: config.scale_fast_lr,
            rates: rates(config, path, count)?,
            scale_transfer_lr: config.scale_transfer_lr,
            read: OneLine::new(&unmanaged(config.transfer_forward), direction, d_size, x_size)?,
            write: config.transfer_update.clone(),
            kind,
        })
    }

    /// Vector updates between two transfers from device number `from`, in a call with `batch` of them; 0 is
    /// never. `states` is the number of states of the first device.
    pub(super) fn period(&self, from: usize, batch: usize, states: f64) -> i64 {
        let every = self.periods[from];
        if every < 0.0 {
            let Kind::Chopped(_) = self.kind else { return 0 };
            return (states / self.lines as f64 * every.abs()).round().max(1.0) as i64;
        }
        if self.in_batches {
            (every as f32 * batch as f32).ceil() as i64
        } else {
            every.round() as i64
        }
    }

    /// Learning rate of the fast device. `averages` are the running ones of the largest input and error.
    pub(super) fn fast_rate(
        &self,
        learning_rate: f64,
        update: &UpdateParameters,
        averages: [f64; 2],
    ) -> f64 {
        if self.fast_lr <= 0.0 {
            return learning_rate;
        }
        let rate = match &self.kind {
            Kind::Chopped(chopper) if chopper.auto_scale => {
                chopper.scaled_rate(self.fast_lr, update, averages)
            }
            _ => self.fast_lr,
        };
        if self.scale_fast_lr { rate * learning_rate } else { rate }
    }

    /// Learning rate of the transfer from device number `from` to number `to`.
    pub(super) fn rate(&self, from: usize, to: usize, learning_rate: f64) -> f64 {
        let rate = self.rates[from] * if self.scale_transfer_lr { learning_rate } else { 1.0 };
        let [source, target] = [self.gamma[from], self.gamma[to]].map(f64::from);
        match self.kind {
            Kind::Buffered(_) | Kind::Chopped(_) if source > 0.0 && target > 0.0 => {
                rate * source / target
            }
            _ => rate,
        }
    }

    /// What values are multiplied by before they are added to their buffer.
    pub(super) fn scale(&self, from: usize, rate: f64, count_lr: f64, sweeps: i64) -> f32 {
        match &self.kind {
            Kind::Direct | Kind::Buffered(_) => rate.abs() as f32,
            Kind::Chopped(chopper) => {
                chopper.scale(rate, count_lr, self.lines, self.periods[from], sweeps)
            }
        }
    }

    /// Whether a column is reset after its transfer, for a uniform draw.
    pub(super) fn resets(&self, uniform: f32) -> bool {
        matches!(self.kind, Kind::Direct) && f64::from(uniform) < self.reset_prob
    }
}

fn check(config: &Common<'_>, path: &str, kind: &Kind) -> Result<()> {
    for (field, value) in [
        ("gamma", config.gamma),
        ("transfer_every", config.transfer_every),
        ("fast_lr", config.fast_lr),
        ("transfer_lr", config.transfer_lr),
    ] {
        finite(path, field, value)?;
    }
    unmanaged(config.transfer_forward).validate(&format!("{path}.transfer_forward"))?;
    config.transfer_update.validate(&format!("{path}.transfer_update"))?;
    let (prob, reads) = (config.with_reset_prob, config.n_reads_per_transfer);
    let why = format!("must be between 0 and 1, got {}", shown(prob));
    require((0.0..=1.0).contains(&prob), path, "with_reset_prob", why)?;
    let why = format!("must be positive, got {reads}");
    require(reads > 0, path, "n_reads_per_transfer", why)?;
    let why = "only columns can be reset; set transfer_columns = true or this to 0";
    require(config.transfer_columns || prob == 0.0, path, "with_reset_prob", why)?;
    if let Kind::Chopped(_) = kind {
        let why = "must be 1: signs flip after each line";
        require(reads == 1, path, "n_reads_per_transfer", why)?;
        let why = "must be false: sweeps over all lines are counted";
        require(!config.random_selection, path, "random_selection", why)?;
        let why = "must be 0: the fast device is not reset";
        require(prob == 0.0, path, "with_reset_prob", why)?;
    }
    Ok(())
}

/// Noise and bound management do not act on reads of lines.
fn unmanaged(io: &IoParameters) -> IoParameters {
    IoParameters {
        noise_management: NoiseManagement::None,
        bound_management: BoundManagement::None,
        ..io.clone()
    }
}

/// Periods of the transfers from all devices. `sweep` is the number of transfers that all lines take: each
/// device waits for a sweep over the one before.
fn periods(config: &Common<'_>, path: &str, count: usize, sweep: f64) -> Result<Vec<f64>> {
    let given = config.transfer_every_vec;
    let why = format!("must be empty or have a value for each of the {count} devices");
    require(given.is_empty() || given.len() == count, path, "transfer_every_vec", why)?;
    for every in given {
        finite(path, "transfer_every_vec", *every)?;
    }
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let mut periods: Vec<f64> =
        (0..count).map(|k| config.transfer_every * sweep.powi(k as i32)).collect();
    if let Some(last) = periods.last_mut()
        && config.no_self_transfer
    {
        *last = 0.0;
    }
    Ok(periods)
}

fn rates(config: &Common<'_>, path: &str, count: usize) -> Result<Vec<f64>> {
    let given = config.transfer_lr_vec;
    let why = format!("must be empty or have a value for each of the {count} devices");
    require(given.is_empty() || given.len() == count, path, "transfer_lr_vec", why)?;
    for rate in given {
        finite(path, "transfer_lr_vec", *rate)?;
    }
    Ok(if given.is_empty() { vec![config.transfer_lr; count] } else { given.to_vec() })
}
