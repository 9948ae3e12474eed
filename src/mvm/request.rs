//! One call of the product: its arguments and their checks.

use super::direction::Direction;
use super::lines::Lines;
use super::matrix::Matrix;
use super::spec::{Mvm, Reads};
use crate::error::{Error, Result};
use crate::rng::Key;

/// Arguments of [`Mvm::run`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// Inputs `[samples, lines]`, one line less than the array has when there is a `bias`.
    pub x: &'a [f32],
    /// Input of the last line, where that is an analog bias.
    pub bias: Option<f32>,
    /// Whether the last output line (the bias of a backward pass) is left out of `y`.
    pub drop_last: bool,
    /// Weights `[d_size, x_size]`, the same in both directions.
    pub weights: &'a [f32],
    /// Outputs `[samples, lines]`, one line less than the array has with `drop_last`.
    pub y: &'a mut [f32],
    /// Seed of the tile and number of the call.
    pub key: Key,
    /// Whether the running average of the noise management stays as it is.
    pub is_test: bool,
    /// Frozen values.
    pub lines: Lines<'a>,
    /// Running average of the largest absolute input, negative while unset.
    pub running: Option<&'a mut f32>,
    /// Set to 1 where the accepted analog output sits at the ADC bound, to 0 elsewhere; as `y`.
    pub mask: Option<&'a mut [u8]>,
}

impl<'a> Request<'a> {
    /// A product in training without bias, running average and mask: these fields can be set.
    #[must_use]
    pub fn new(
        x: &'a [f32],
        weights: &'a [f32],
        y: &'a mut [f32],
        lines: Lines<'a>,
        key: Key,
    ) -> Self {
        Self {
            x,
            bias: None,
            drop_last: false,
            weights,
            y,
            key,
            is_test: false,
            lines,
            running: None,
            mask: None,
        }
    }

    /// The same with what `change` changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Sizes of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub samples: usize,
    /// Elements given per sample.
    pub given: usize,
    pub n_in: usize,
    /// Elements written per sample.
    pub n_out: usize,
}

impl Mvm {
    /// Sizes of a call, checked.
    pub(super) fn sizes(&self, request: &Request<'_>) -> Result<Sizes> {
        let n_in = self.n_in();
        let given = n_in - usize::from(request.bias.is_some());
        let n_out = self.n_out() - usize::from(request.drop_last);
        Error::check_len("weights", request.weights.len(), self.d_size * self.x_size)?;
        let samples = match (given, n_out) {
            (0, 0) => 0,
            (0, _) => request.y.len() / n_out,
            _ => request.x.len() / given,
        };
        check_rows("x", request.x.len(), samples, given)?;
        check_rows("y", request.y.len(), samples, n_out)?;
        if let Some(mask) = &request.mask {
            check_rows("mask", mask.len(), samples, n_out)?;
        }
        check_samples(samples)?;
        self.check_lines(&request.lines, request.running.is_some())?;
        Ok(Sizes { samples, given, n_in, n_out })
    }

    /// Checks that the frozen values are there.
    pub(super) fn check_lines(&self, lines: &Lines<'_>, has_running: bool) -> Result<()> {
        if self.perfect {
            return Ok(());
        }
        let n_out = self.n_out();
        if self.output.line_noise {
            Error::check_len("out_noise_values", lines.out_noise_values.len(), n_out)?;
        }
        if self.output.nonlinear {
            Error::check_len("out_nonlinearity", lines.out_nonlinearity.len(), n_out)?;
        }
        if self.array.offsets() {
            Error::check_len("v_offset", lines.v_offset.len(), n_out)?;
        }
        if self.read_asymmetry && self.reads != Reads::Both {
            Error::check_len("w_asymmetry", lines.w_asymmetry.len(), self.d_size * self.x_size)?;
        }
        if self.scale.averages() && !has_running {
            let why = "missing; noise_management AverageAbsMax keeps a running value".to_owned();
            return Err(Error::Argument { argument: "running", why });
        }
        Ok(())
    }

    /// The weights as this direction sees them, without outputs or inputs beyond the given sizes.
    pub(super) fn matrix<'a>(&self, data: &'a [f32], inputs: usize, outputs: usize) -> Matrix<'a> {
        let (output_stride, input_stride) = match self.direction {
            Direction::Forward => (self.x_size, 1),
            Direction::Backward => (1, self.x_size),
        };
        Matrix { data, outputs, inputs, output_stride, input_stride }
    }
}

/// Checks that the numbers of samples have their place in the positions of draws.
pub(super) fn check_samples(samples: usize) -> Result<()> {
    if u32::try_from(samples).is_ok() {
        return Ok(());
    }
    let got = format!("{samples} samples");
    let expected = "at most 2^32 - 1 samples".to_owned();
    Err(Error::Shape { argument: "x", expected, got })
}

pub(super) fn check_rows(
    argument: &'static str,
    len: usize,
    samples: usize,
    width: usize,
) -> Result<()> {
    if Some(len) == samples.checked_mul(width) {
        return Ok(());
    }
    let expected = format!("{samples} samples of {width} lines");
    Err(Error::Shape { argument, expected, got: format!("{len} elements") })
}
