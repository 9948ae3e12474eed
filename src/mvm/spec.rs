//! The product of one direction of a tile: what does not change from call to call.

use super::array::Array;
use super::converter::Converter;
use super::direction::Direction;
use super::input::Input;
use super::lines::Frozen;
use super::management::{NoiseScale, Repeats};
use super::output::Output;
use crate::config::{AnalogMvType, IoParameters, check_sizes};
use crate::error::Result;
use crate::rng::Key;

/// How often the array is read for one sample, and where the reads are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Once, with both signs of the input.
    Both,
    /// Once per sign, summed before the ADC.
    AnalogSum,
    /// Once per sign, each with its own ADC conversion.
    DigitalSum,
}

/// The product of one direction of a tile: its parameters and sizes. Immutable.
#[derive(Debug, Clone)]
pub struct Mvm {
    pub(crate) direction: Direction,
    pub(crate) d_size: usize,
    pub(crate) x_size: usize,
    /// Ideal product; nothing below but `out_scale` matters.
    pub(crate) perfect: bool,
    pub(crate) out_scale: f32,
    pub(crate) reads: Reads,
    /// Whether negative inputs see other weights.
    pub(crate) read_asymmetry: bool,
    pub(crate) scale: NoiseScale,
    pub(crate) repeats: Repeats,
    pub(crate) input: Input,
    pub(crate) array: Array,
    pub(crate) output: Output,
    frozen: Frozen,
}

impl Mvm {
    /// The product of a tile with weights `[d_size, x_size]` in one direction.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field, for example `forward.inp_bound`;
    /// [`Error::Argument`](crate::Error::Argument) for sizes.
    pub fn new(
        io: &IoParameters,
        direction: Direction,
        d_size: usize,
        x_size: usize,
    ) -> Result<Self> {
        check_sizes(d_size, x_size)?;
        io.validate(direction.name())?;
        let forward = direction == Direction::Forward;
        let dac = Converter::new(io.inp_res, io.inp_bound, io.inp_sto_round);
        let adc = Converter::new(io.out_res, io.out_bound, io.out_sto_round);
        let n_in = if forward { x_size } else { d_size };
        let reads = match io.mv_type {
            AnalogMvType::PosNegSeparate => Reads::AnalogSum,
            AnalogMvType::PosNegSeparateDigitalSum => Reads::DigitalSum,
            _ => Reads::Both,
        };
        Ok(Self {
            direction,
            d_size,
            x_size,
            perfect: io.ideal(),
            out_scale: io.out_scale as f32,
            reads,
            read_asymmetry: reads != Reads::Both && io.w_read_asymmetry_dtod > 0.0,
            scale: NoiseScale::new(io, &dac, &adc),
            repeats: Repeats::new(io, &dac, forward),
            input: Input::new(io, dac),
            array: Array::new(io, n_in),
            output: Output::new(io, adc),
            frozen: Frozen::new(io, direction),
        })
    }

    /// Number of input lines, an analog bias included.
    #[must_use]
    pub fn n_in(&self) -> usize {
        match self.direction {
            Direction::Forward => self.x_size,
            Direction::Backward => self.d_size,
        }
    }

    /// Number of output lines.
    #[must_use]
    pub fn n_out(&self) -> usize {
        match self.direction {
            Direction::Forward => self.d_size,
            Direction::Backward => self.x_size,
        }
    }

    /// Names of the frozen values, in the order in which a tile lists them; `running_abs_max` (one
    /// value, negative while unset) is there when the noise management keeps a running average.
    #[must_use]
    pub fn line_names(&self) -> &'static [&'static str] {
        self.frozen.names()
    }

    /// Frozen values of a new tile, by name: those that the parameters use, each drawn by position
    /// from `seed`. `out_nonlinearity_factor` is always among them.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory), [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn construct_lines(&self, seed: u64) -> Result<Vec<(&'static str, Vec<f32>)>> {
        self.construct_lines_part(Key::new(seed, 0))
    }

    /// [`Mvm::construct_lines`] with draws of their own for one of several products.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn construct_lines_part(&self, key: Key) -> Result<Vec<(&'static str, Vec<f32>)>> {
        self.frozen.draw(key, self.n_out(), self.d_size, self.x_size)
    }
}
