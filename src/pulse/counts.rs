//! Numbers of pulses of one sample, for devices that are stepped outside of the kernels.

use super::coincidences::Coincidences;
use super::kernels::one_by_one::Pulses;
use super::kernels::queue::Numbers;
use super::scale::check_length;
use super::update::{Update, update};
use crate::config::PulseType;
use crate::devices::{ConstantStep, Device, DeviceConfig, PulsedParameters};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Key, LANES};

/// One sample of a batch whose pulses are to be counted.
#[derive(Debug)]
pub struct Sample<'a> {
    /// The devices: sizes, pulse generation and mean step of a pulse.
    pub device: &'a Device,
    /// Inputs, `[samples, x_size]`, without the last column when `bias` is given.
    pub x: &'a [f32],
    /// Input of the last column.
    pub bias: Option<f32>,
    /// Errors, `[samples, d_size]`.
    pub d: &'a [f32],
    /// Learning rate.
    pub learning_rate: f64,
    /// Key of the call.
    pub key: Key,
    /// Position of the sample in the batch.
    pub at: usize,
}

/// Writes the pulses that [`update`] would give to each crosspoint for one sample,
/// `[d_size, x_size]`: positive numbers are pulses up, negative ones pulses down.
///
/// Samples in their order, with the pulses of each one after another, make up the whole update.
/// Pulse types without pulses count none.
///
/// # Errors
/// [`Error::Shape`] and [`Error::Argument`] for bad arguments, [`Error::Interrupted`],
/// [`Error::Memory`]; `out` is then unspecified.
pub fn counts(sample: &Sample<'_>, out: &mut [i64]) -> Result<()> {
    sample.check(out)?;
    out.fill(0);
    match sample.device.update().pulse_type {
        PulseType::None | PulseType::NoneWithDevice => Ok(()),
        PulseType::Stochastic | PulseType::StochasticCompressed => {
            sample.coincidences(|trains| add(trains, sample.device.x_size(), out))
        }
        PulseType::MeanCount | PulseType::DeterministicImplicit => sample.counted(out),
    }
}

impl Sample<'_> {
    fn check(&self, out: &[i64]) -> Result<()> {
        let (d_size, x_size) = (self.device.d_size(), self.device.x_size());
        let inputs = x_size - usize::from(self.bias.is_some());
        let samples = self.d.len() / d_size;
        Error::check_len("d", self.d.len(), samples * d_size)?;
        Error::check_len("x", self.x.len(), samples * inputs)?;
        Error::check_len("counts", out.len(), d_size * x_size)?;
        if self.at >= samples {
            let why = format!("must be below the number of samples {samples}, got {}", self.at);
            return Err(Error::Argument { argument: "sample", why });
        }
        let update = self.device.update();
        if update.pulse_type.has_trains() && self.device.flows() {
            let why = "0 makes steps infinitely fine: there are no pulses to count";
            return Err(Error::unsupported("device.dw_min", why));
        }
        if update.pulse_type.has_trains() && self.device.is_pulsed() {
            check_length(update, self.device.granularity(), self.learning_rate)?;
        }
        Error::check_finite("x", &self.x[self.at * inputs..(self.at + 1) * inputs])?;
        Error::check_finite("d", &self.d[self.at * d_size..(self.at + 1) * d_size])
    }

    fn coincidences(&self, mut f: impl FnMut(Coincidences<'_>)) -> Result<()> {
        let source = self.update(self.device, &mut []).source();
        let mut chunks = source.chunks((self.at..self.at + 1).into());
        while let Some(slices) = chunks.advance()? {
            Coincidences::with(&source, slices, |trains| {
                f(trains);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn counted(&self, out: &mut [i64]) -> Result<()> {
        let device = self.counter()?;
        let planes = device.construct(0)?;
        let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let (d_size, cells) = (device.d_size(), out.len());
        let inputs = device.x_size() - usize::from(self.bias.is_some());
        let (mut weights, mut counts) =
            (memory::filled(0.0, cells)?, memory::filled(0, 2 * cells)?);
        // Only stochastic rounding depends on the position of the sample.
        let first = if device.update().sto_round { 0 } else { self.at };
        let mut d = memory::copied(&self.d[first * d_size..(self.at + 1) * d_size])?;
        d[..(self.at - first) * d_size].fill(0.0);
        update(Update {
            planes: &planes,
            x: &self.x[first * inputs..(self.at + 1) * inputs],
            d: &d,
            counts: Some(&mut counts),
            ..self.update(&device, &mut weights)
        })?;
        for (out, (down, up)) in out.iter_mut().zip(counts[..cells].iter().zip(&counts[cells..])) {
            *out = up - down;
        }
        Ok(())
    }

    /// Equal devices with the same mean step, which get the same pulses.
    fn counter(&self) -> Result<Device> {
        let pulsed = PulsedParameters {
            dw_min: self.device.granularity(),
            dw_min_dtod: 0.0,
            dw_min_std: 0.0,
            up_down_dtod: 0.0,
            w_max_dtod: 0.0,
            w_min_dtod: 0.0,
            ..PulsedParameters::default()
        };
        let config = DeviceConfig::ConstantStep(ConstantStep { pulsed });
        let device = self.device;
        Device::new(&config, device.update(), device.d_size(), device.x_size(), false)
    }

    fn update<'b>(&'b self, device: &'b Device, weights: &'b mut [f32]) -> Update<'b> {
        Update {
            device,
            weights,
            planes: &[],
            persistent: None,
            x: self.x,
            bias: self.bias,
            d: self.d,
            learning_rate: self.learning_rate,
            key: self.key,
            counts: None,
        }
    }
}

/// Adds the pulses of all slices.
fn add(trains: Coincidences<'_>, columns: usize, out: &mut [i64]) {
    let pulses = Pulses::Trains(trains);
    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
        for at in (0..trains.slices).filter(|at| trains.fires(*at, row)) {
            for (block, out) in out.chunks_mut(LANES).enumerate() {
                let Numbers { count, up } = pulses.count(at, row, block);
                for (out, (count, up)) in out.iter_mut().zip(count.iter().zip(up)) {
                    *out += if up == 0 { -i64::from(*count) } else { i64::from(*count) };
                }
            }
        }
    }
}
