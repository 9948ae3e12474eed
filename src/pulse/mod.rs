//! The pulsed update: an outer product turned into pulses, and pulses into weight changes.
//!
//! Per sample, [`scale`] gives the number of slots and the probabilities of pulses. Two kinds of
//! stochastic trains are drawn, one for each column (input line) and one for each row (error line);
//! where both fire in the same slot, the crosspoint gets a pulse. Samples act in order. The kernels
//! differ in how much they may add up before the weight is looked at: `constant` for steps that
//! do not depend on the weight, `smooth` for steps that vary slowly with it, `single` for both if
//! there is a single sample, `general` for everything else.
//! `exact` has no pulses.

mod constant;
pub mod counts;
pub(crate) mod dense;
mod exact;
mod general;
mod near_bound;
mod one_way;
mod path;
pub(crate) mod rows;
pub mod scale;
pub mod simd;
mod single;
mod smooth;
pub(crate) mod trains;

use crate::config::PulseType;
use crate::devices::{Cells, Device, Kernel, PlaneRef, PulsedDevice, Rule, Visitor};
use crate::error::{Error, Result};
use crate::par;
use crate::rng::{Key, LANES};
use crate::scratch;
use general::{Coincidences, General};
use rows::{Planes, Positions, Saved};
use scale::{Scaling, bin_width, scaling};
use trains::{Packed, Side, Slice, Sliced};

/// One update of all weights of a tile with a batch of samples.
#[derive(Debug)]
pub struct Update<'a> {
    /// The devices.
    pub device: &'a Device,
    /// Weights, `[d_size, x_size]` row-major.
    pub weights: &'a mut [f32],
    /// Hidden parameters, in the order of [`Device::hidden_names`].
    pub planes: &'a [PlaneRef<'a>],
    /// Weights under the write noise, for devices that have it.
    pub persistent: Option<&'a mut [f32]>,
    /// Inputs, `[samples, x_size]`, without the last column when `bias` is given.
    pub x: &'a [f32],
    /// Input of the last column, equal for all samples.
    pub bias: Option<f32>,
    /// Errors, `[samples, d_size]`.
    pub d: &'a [f32],
    /// Learning rate; the target is `w -= learning_rate d x`.
    pub learning_rate: f64,
    /// Key of this call.
    pub key: Key,
    /// Coincidences, `[2, d_size, x_size]`: those down (`x d > 0`), then those up; added to.
    pub counts: Option<&'a mut [i64]>,
}

/// Applies the update.
///
/// # Errors
/// [`Error::Shape`] and [`Error::Argument`] for bad arguments, [`Error::Interrupted`] and
/// [`Error::Panic`]. In all cases weights and counts are then as they were before the call.
pub fn update(mut update: Update<'_>) -> Result<()> {
    check(&mut update)?;
    if update.learning_rate == 0.0 || update.d.is_empty() {
        return Ok(());
    }
    let counts = update.counts.as_ref().map(|counts| counts.to_vec());
    Saved::with(&mut update, |update, saved| {
        let result = par::guard(|| apply(update, saved));
        if result.is_err() {
            saved.restore(update);
            if let (Some(values), Some(saved)) = (update.counts.as_deref_mut(), counts) {
                values.copy_from_slice(&saved);
            }
        }
        result
    })
}

fn check(update: &mut Update<'_>) -> Result<()> {
    let persistent = update.persistent.as_deref_mut();
    let cells = Cells { weights: update.weights, persistent, planes: update.planes };
    update.device.check_cells(&cells)?;
    check_batch(update)
}

/// Checks everything but the state.
pub(crate) fn check_batch(update: &Update<'_>) -> Result<()> {
    let device = update.device;
    let (d_size, x_size) = (device.d_size(), device.x_size());
    let inputs = x_size - usize::from(update.bias.is_some());
    let samples = update.d.len() / d_size;
    Error::check_len("d", update.d.len(), samples * d_size)?;
    Error::check_len("x", update.x.len(), samples * inputs)?;
    if let Some(counts) = &update.counts {
        Error::check_len("counts", counts.len(), 2 * d_size * x_size)?;
    }
    Error::check_finite("x", update.x)?;
    Error::check_finite("d", update.d)?;
    if let Some(bias) = update.bias {
        Error::check_finite("bias", &[bias])?;
    }
    if !(update.learning_rate.is_finite() && update.learning_rate >= 0.0) {
        let why = format!("must be finite and not negative, got {}", update.learning_rate);
        return Err(Error::Argument { argument: "learning_rate", why });
    }
    Ok(())
}

fn apply(update: &mut Update<'_>, saved: &mut Saved<'_>) -> Result<()> {
    let device = update.device;
    device.config().visit(Apply { update, saved })
}

struct Apply<'a, 'b, 'c> {
    update: &'a mut Update<'b>,
    saved: &'a mut Saved<'c>,
}

impl Visitor for Apply<'_, '_, '_> {
    type Output = Result<()>;

    fn exact(self) -> Result<()> {
        exact::update(self.update, self.saved)
    }

    fn pulsed<D: PulsedDevice>(self, device: &D) -> Result<()> {
        match self.update.device.update().pulse_type {
            PulseType::None | PulseType::NoneWithDevice => exact::update(self.update, self.saved),
            PulseType::MeanCount | PulseType::DeterministicImplicit => {
                dense::update(self.update, self.saved, device.rule())
            }
            // Both have at most one pulse per slot and cell; they differ in the order of cells.
            PulseType::Stochastic | PulseType::StochasticCompressed => {
                stochastic(self.update, self.saved, device.rule())
            }
        }
    }
}

fn stochastic<R: Rule>(update: &mut Update<'_>, saved: &mut Saved<'_>, rule: R) -> Result<()> {
    let chunks = trains::chunks(&scalings(update));
    for (at, slices) in chunks.iter().enumerate() {
        let positions = Positions::new(at)?;
        #[cfg(test)]
        tests::before_chunk(at);
        let one_sample =
            slices.first().map(|slice| slice.sample) == slices.last().map(|slice| slice.sample);
        match const { Kernel::of::<R>() } {
            Kernel::Constant | Kernel::Smooth if one_sample => {
                sliced(update, slices, |update, trains| {
                    single::update(update, saved, trains, rule, positions)
                })?;
            }
            Kernel::Constant => packed(update, saved, slices, positions, rule.std())?,
            Kernel::Smooth => sliced(update, slices, |update, trains| {
                smooth::update(update, saved, trains, rule, positions)
            })?,
            Kernel::General => sliced(update, slices, |update, trains| {
                general(update, saved, trains, rule, positions)
            })?,
        }
    }
    Ok(())
}

/// Slots and scales of every sample.
pub(crate) fn scalings(update: &Update<'_>) -> Vec<Option<Scaling>> {
    let samples = update.d.len() / update.device.d_size();
    (0..samples).map(|sample| scaling_of(update, sample)).collect()
}

/// Slots and scales of one sample.
fn scaling_of(update: &Update<'_>, sample: usize) -> Option<Scaling> {
    let device = update.device;
    let inputs = device.x_size() - usize::from(update.bias.is_some());
    let largest = |values: &[f32]| f64::from(values.iter().fold(0.0f32, |max, v| max.max(v.abs())));
    let x = &update.x[sample * inputs..(sample + 1) * inputs];
    let d = &update.d[sample * device.d_size()..(sample + 1) * device.d_size()];
    let x_max = largest(x).max(f64::from(update.bias.unwrap_or(0.0).abs()));
    scaling(device.update(), device.granularity(), update.learning_rate, x_max, largest(d))
}

/// The two sides of the outer product.
pub(crate) fn sides<'a>(update: &Update<'a>) -> [Side<'a>; 2] {
    let parameters = update.device.update();
    let res = bin_width(parameters.res);
    let sto_round = parameters.sto_round;
    let lines = update.device.x_size() - usize::from(update.bias.is_some());
    let x = Side { values: update.x, lines, bias: update.bias, is_d: false, res, sto_round };
    let lines = update.device.d_size();
    [x, Side { values: update.d, lines, bias: None, is_d: true, res, sto_round }]
}

/// Cost of drawing the trains of one block of lines for one slice.
const TRAIN_NS: f64 = 70.0;

fn packed(
    update: &mut Update<'_>,
    saved: &mut Saved<'_>,
    slices: &[Slice],
    positions: Positions,
    std: f32,
) -> Result<()> {
    let slots = slices.last().map_or(0, |slice| slice.start + slice.slots);
    let layout = Packed { words: slots.div_ceil(64) as usize };
    let [x, d] = sides(update);
    let blocks = [x, d].map(|side| side.count().div_ceil(LANES));
    let len = blocks.map(|blocks| blocks * layout.words * 2 * LANES);
    let key = update.key;
    scratch::words(len[0] + len[1], |words| {
        let (x_words, d_words) = words.split_at_mut(len[0]);
        par::run(TRAIN_NS * ((blocks[0] + blocks[1]) * slices.len()) as f64, |par| {
            trains::draw(x, slices, key, layout, x_words, par);
            trains::draw(d, slices, key, layout, d_words, par);
        });
        let trains = constant::Trains { x: x_words, d: d_words, words: layout.words };
        constant::update(update, saved, trains, positions, std)
    })
}

fn sliced(
    update: &mut Update<'_>,
    slices: &[Slice],
    f: impl FnOnce(&mut Update<'_>, Coincidences<'_>) -> Result<()>,
) -> Result<()> {
    let layout = Sliced { slices: slices.len() };
    let [x, d] = sides(update);
    let blocks = [x, d].map(|side| side.count().div_ceil(LANES));
    let len = blocks.map(|blocks| blocks * slices.len() * LANES);
    let key = update.key;
    scratch::halves(len[0] + len[1], |words| {
        let (x_words, d_words) = words.split_at_mut(len[0]);
        par::run(TRAIN_NS * ((blocks[0] + blocks[1]) * slices.len()) as f64, |par| {
            trains::draw(x, slices, key, layout, x_words, par);
            trains::draw(d, slices, key, layout, d_words, par);
        });
        f(update, Coincidences { x: x_words, d: d_words, slices: slices.len() })
    })
}

/// Rows of one block of the general kernel.
const HEIGHT: usize = 8;

fn general<R: Rule, P: general::Pulses>(
    update: &mut Update<'_>,
    saved: &mut Saved<'_>,
    pulses: P,
    rule: R,
    positions: Positions,
) -> Result<()> {
    let planes = Planes::new(update.device, update.planes);
    let (key, write_noise) = (update.key, update.device.write_noise());
    let block_ns = (HEIGHT * planes.x_size * pulses.slices()) as f64 * 1.5;
    let mut blocks = rows::split(update, saved, HEIGHT);
    rows::for_each(&mut blocks, block_ns, |rows| {
        simd::run(General { rows, planes, pulses, rule, key, positions, write_noise });
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::UpdateParameters;
    use crate::devices::DeviceConfig;

    #[derive(Clone, Copy, PartialEq)]
    enum Trouble {
        None,
        Panic,
        Stop,
    }

    thread_local! {
        static TROUBLE: Cell<Trouble> = const { Cell::new(Trouble::None) };
        static STOP: Cell<bool> = const { Cell::new(false) };
    }

    /// Makes trouble after the first chunk has changed the weights.
    pub(super) fn before_chunk(at: usize) {
        match TROUBLE.get() {
            Trouble::Panic if at == 1 => panic!("test"),
            Trouble::Stop => STOP.set(at == 1),
            _ => {}
        }
    }

    #[test]
    fn trouble_restores_weights_and_counts() {
        par::set_interrupt_check(|| STOP.get());
        for name in DeviceConfig::PULSED {
            let config = DeviceConfig::pulsed_default(name).unwrap();
            let device = Device::new(&config, &UpdateParameters::default(), 3, 5, false).unwrap();
            let planes = device.construct(1);
            let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
            for trouble in [Trouble::None, Trouble::Panic, Trouble::Stop] {
                TROUBLE.set(trouble);
                let (mut weights, mut counts) = (vec![0.01; 15], vec![7; 30]);
                // 400 samples of 31 slots are more than one chunk.
                let result = update(Update {
                    device: &device,
                    weights: &mut weights,
                    planes: &planes,
                    persistent: None,
                    x: &[1.0; 5 * 400],
                    bias: None,
                    d: &[1.0; 3 * 400],
                    learning_rate: 0.1,
                    key: Key::new(1, 1),
                    counts: Some(&mut counts),
                });
                STOP.set(false);
                TROUBLE.set(Trouble::None);
                let untouched = weights == [0.01; 15] && counts == [7; 30];
                match trouble {
                    Trouble::None => assert!(result.is_ok() && !untouched, "{name}"),
                    Trouble::Panic => assert!(matches!(result, Err(Error::Panic(_))) && untouched),
                    Trouble::Stop => assert!(result == Err(Error::Interrupted) && untouched),
                }
            }
        }
    }
}
