//! What pulses come from: a batch of inputs and errors, and how it becomes trains.
//!
//! Nothing here knows the device that receives the pulses; several devices may share one source.

use std::ops::Range;

use super::scale::{Scaling, bin_width, check_length, scaling};
use super::trains::{Chunks, Side};
use crate::config::UpdateParameters;
use crate::error::{Error, Result};
use crate::par;
use crate::rng::Key;

/// Time to look at one value.
const VALUE_NS: f64 = 0.3;

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
            check_length(self.parameters, self.granularity, self.rate.abs())?;
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
        samples: Range<usize>,
    ) -> impl Iterator<Item = Result<(usize, Scaling)>> {
        let group = par::rows_per_check((self.inputs() + self.d_size) as f64 * VALUE_NS);
        let first = samples.start;
        samples.filter_map(move |sample| {
            if (sample - first + 1).is_multiple_of(group)
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
        samples: Range<usize>,
    ) -> Chunks<impl Iterator<Item = Result<(usize, Scaling)>>> {
        Chunks::new(self.scalings(samples))
    }

    fn scaling(&self, sample: usize) -> Option<Scaling> {
        let largest =
            |values: &[f32]| f64::from(values.iter().fold(0.0f32, |max, v| max.max(v.abs())));
        let x_max = largest(self.x_of(sample)).max(f64::from(self.bias.unwrap_or(0.0).abs()));
        let d_max = largest(self.d_of(sample));
        scaling(self.parameters, self.granularity, self.rate.abs(), x_max, d_max)
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
            res,
            sto_round,
        };
        let d = Side {
            values: self.d,
            lines: self.d_size,
            bias: None,
            is_d: true,
            flipped: self.rate < 0.0,
            ..x
        };
        [x, d]
    }
}
