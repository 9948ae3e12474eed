//! What pulses come from: a batch of inputs and errors, and how it becomes trains.
//!
//! Nothing here knows the device that receives the pulses; several devices may share one source.

use super::samples::Samples;
use super::scale::{Scaling, bin_width, check_length, scaling};
use super::trains::{Chunks, Side};
use crate::config::UpdateParameters;
use crate::error::{Error, Result};
use crate::finite;
use crate::par;
use crate::rng::Key;

/// Time to look at one value.
const VALUE_NS: f64 = 0.3;

/// Which pulses a device takes, and as what: a device that is only ever pulsed upwards can serve the
/// pulses of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// All, as they are.
    Both,
    /// Those up.
    OnlyUp,
    /// Those down, as pulses up.
    OnlyDownAsUp,
}

/// Inputs and errors of a batch, and how pulses are made of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Inputs, `[samples, x_size]`, without the last column when `bias` is given.
    pub(crate) x: &'a [f32],
    /// Number of columns.
    pub(crate) x_size: usize,
    /// Input of the last column, equal for all samples.
    pub(crate) bias: Option<f32>,
    /// Errors, `[samples, d_size]`.
    pub(crate) d: &'a [f32],
    /// Number of rows.
    pub(crate) d_size: usize,
    /// Pulse generation.
    pub(crate) parameters: &'a UpdateParameters,
    /// Mean step of one pulse in weight units.
    pub(crate) granularity: f64,
    /// The target is `w -= rate d x`; a negative rate swaps up and down.
    pub(crate) rate: f64,
    /// Rates of the samples where they differ, all with the sign of `rate`; else empty. Exact updates
    /// do not know them.
    pub(crate) rates: &'a [f64],
    /// Which of the pulses count.
    pub(crate) turn: Turn,
    /// Signs, 1 or -1, by which the inputs (one more with `bias`) and the errors are multiplied; empty
    /// for none. Lines with a 0 give no pulses, and the scales of a sample are those of all its lines.
    /// Exact updates do not know them.
    pub(crate) signs: [&'a [i8]; 2],
    /// Key of the trains.
    pub(crate) key: Key,
}

impl<'a> Source<'a> {
    /// Number of columns that `x` has.
    pub(crate) fn inputs(&self) -> usize {
        self.x_size - usize::from(self.bias.is_some())
    }

    /// Number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.d.len() / self.d_size
    }

    /// Checks sizes, values and the length of the trains.
    pub(crate) fn check(&self) -> Result<()> {
        // Exact devices have no step.
        if self.parameters.pulse_type.has_trains() && self.granularity > 0.0 {
            let largest = self.rates.iter().fold(0.0f64, |largest, rate| largest.max(rate.abs()));
            let largest = if self.rates.is_empty() { self.rate.abs() } else { largest };
            check_length(self.parameters, self.granularity, largest)?;
        }
        let samples = self.samples();
        Error::check_len("d", self.d.len(), samples * self.d_size)?;
        Error::check_len("x", self.x.len(), samples * self.inputs())?;
        Error::check_finite("x", self.x)?;
        Error::check_finite("d", self.d)?;
        if let Some(bias) = self.bias {
            Error::check_finite("bias", &[bias])?;
        }
        Ok(())
    }

    /// Inputs of one sample, without the bias.
    pub(crate) fn x_of(&self, sample: usize) -> &'a [f32] {
        &self.x[sample * self.inputs()..(sample + 1) * self.inputs()]
    }

    /// Errors of one sample.
    pub(crate) fn d_of(&self, sample: usize) -> &'a [f32] {
        &self.d[sample * self.d_size..(sample + 1) * self.d_size]
    }

    /// Those of some samples that give pulses, with their slots and scales: positions in the batch, on
    /// which draws depend. Asks for an interruption now and then, for a batch may give no pulses at all.
    pub(crate) fn scalings(
        &self,
        samples: Samples<'_>,
    ) -> impl Iterator<Item = Result<(usize, Scaling)>> {
        let group = par::rows_per_check((self.inputs() + self.d_size) as f64 * VALUE_NS);
        samples.enumerate().filter_map(move |(at, sample)| {
            if (at + 1).is_multiple_of(group)
                && let Err(error) = par::check_interrupt()
            {
                return Some(Err(error));
            }
            self.scaling(sample).map(|scaling| Ok((sample, scaling)))
        })
    }

    /// The trains of some samples.
    pub(crate) fn chunks(
        &self,
        samples: Samples<'_>,
    ) -> Chunks<impl Iterator<Item = Result<(usize, Scaling)>>> {
        Chunks::new(self.scalings(samples), self.turn != Turn::Both)
    }

    fn scaling(&self, sample: usize) -> Option<Scaling> {
        let [x_max, d_max] = self.largest(sample);
        let rate = self.rates.get(sample).copied().unwrap_or(self.rate).abs();
        scaling(self.parameters, self.granularity, rate, x_max, d_max)
    }

    /// Largest absolute input and error of one sample.
    pub(crate) fn largest(&self, sample: usize) -> [f64; 2] {
        let largest = |values: &[f32]| f64::from(finite::largest(values));
        let x_max = largest(self.x_of(sample)).max(f64::from(self.bias.unwrap_or(0.0).abs()));
        [x_max, largest(self.d_of(sample))]
    }

    /// The two sides of the outer product.
    pub(crate) fn sides(&self) -> [Side<'a>; 2] {
        let res = bin_width(self.parameters.res);
        let sto_round = self.parameters.sto_round;
        let x = Side {
            values: self.x,
            lines: self.inputs(),
            bias: self.bias,
            is_d: false,
            flipped: false,
            signs: self.signs[0],
            res,
            sto_round,
        };
        let d = Side {
            values: self.d,
            lines: self.d_size,
            bias: None,
            is_d: true,
            flipped: self.rate < 0.0,
            signs: self.signs[1],
            ..x
        };
        [x, d]
    }
}
