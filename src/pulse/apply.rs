//! The pulses of some samples, applied to one device: which kernel takes them.

use std::any::Any;

use super::cells::Target;
use super::coincidences::{Coincidences, Trains};
use super::kernels::one_by_one::{self, Pulses};
use super::kernels::{one_sample, segments, sums};
use super::positions::Positions;
use super::samples::Samples;
use super::source::{Source, Turn};
use super::transaction::Rows;
use super::{counted, flow, gradient, trains};
use crate::config::PulseType;
use crate::devices::{CustomDevice, Kernel, PulsedDevice, Rule, Visitor};
use crate::error::{Error, Result};
use crate::memory;

/// Applies the pulses of some samples of a batch, one sample after another, as a part of a
/// transaction. Two calls with equal keys and samples draw the same numbers.
pub(crate) fn apply(
    target: &Target<'_>,
    source: &Source<'_>,
    samples: Samples<'_>,
    state: &mut Rows<'_>,
) -> Result<()> {
    target.device.config().visit(Apply { target, source, samples, state })
}

/// What is compiled for the device of another crate: applies pulses to the device that it is given.
pub(super) type Kernels = for<'a, 'b> fn(&dyn Any, Apply<'a, 'b>) -> Result<()>;

/// Pulses on their way to a device.
pub(super) struct Apply<'a, 'b> {
    target: &'a Target<'a>,
    source: &'a Source<'a>,
    samples: Samples<'a>,
    state: &'a mut Rows<'b>,
}

impl Visitor for Apply<'_, '_> {
    type Output = Result<()>;

    fn exact(self) -> Result<()> {
        match self.samples {
            Samples::From(range) => gradient::apply(self.target, self.source, range, self.state),
            Samples::Listed(list) => list.iter().try_for_each(|sample| {
                gradient::apply(self.target, self.source, *sample..*sample + 1, self.state)
            }),
        }
    }

    fn custom(self, device: &CustomDevice) -> Result<()> {
        match device.kernels().downcast_ref::<Kernels>() {
            Some(kernels) => kernels(device.device().as_any(), self),
            None => Err(Error::Panic(format!("{device:?} has no kernels"))),
        }
    }

    fn pulsed<D: PulsedDevice>(self, device: &D) -> Result<()> {
        match self.source.parameters.pulse_type {
            PulseType::None | PulseType::NoneWithDevice => self.exact(),
            _ if self.target.device.flows() => self.flow(device.rule()),
            PulseType::MeanCount | PulseType::DeterministicImplicit => {
                let Self { target, source, samples, state } = self;
                counted::apply(target, source, samples, state, device.rule())
            }
            // Both have at most one pulse per slot and cell; they differ in the order of cells.
            PulseType::Stochastic | PulseType::StochasticCompressed => {
                self.stochastic(device.rule())
            }
        }
    }
}

impl Apply<'_, '_> {
    /// Applies them to a device whose type is known.
    pub(super) fn with<D: PulsedDevice>(self, device: &D) -> Result<()> {
        self.pulsed(device)
    }

    fn flow<R: Rule>(self, rule: R) -> Result<()> {
        let Self { target, source, mut samples, state } = self;
        let mut some = memory::room(flow::SAMPLES)?;
        for at in 0.. {
            some.clear();
            some.extend(samples.by_ref().take(flow::SAMPLES));
            if some.is_empty() {
                break;
            }
            #[cfg(test)]
            trouble::before_chunk(at);
            #[cfg(not(test))]
            let _ = at;
            flow::apply(target, source, &some, state, rule)?;
        }
        Ok(())
    }

    fn stochastic<R: Rule>(self, rule: R) -> Result<()> {
        let Self { target, source, samples, state } = self;
        let mut chunks = source.chunks(samples);
        for at in 0.. {
            let Some(slices) = chunks.advance()? else { break };
            let times = if source.turn == Turn::Both { 1 } else { 2 };
            let positions = Positions::new(at, trains::SLICE_BLOCKS * slices.len() * times)?;
            #[cfg(test)]
            trouble::before_chunk(at);
            let one_sample =
                slices.first().map(|slice| slice.sample) == slices.last().map(|slice| slice.sample);
            match const { Kernel::of::<R>() } {
                _ if source.parameters.exact_pulses => {
                    Coincidences::with(source, slices, |trains| {
                        one_by_one::apply(target, state, Pulses::Trains(trains), rule, positions)
                    })?;
                }
                // All pulses of a sample at a crosspoint have one direction.
                Kernel::Constant | Kernel::Smooth if one_sample => {
                    Coincidences::with(source, slices, |trains| {
                        one_sample::apply(target, state, trains, rule, positions)
                    })?;
                }
                Kernel::Constant => Trains::with(source, slices, |trains| {
                    sums::apply(target, state, trains, rule.std(), positions)
                })?,
                Kernel::Smooth => Coincidences::with(source, slices, |trains| {
                    segments::apply(target, state, trains, rule, positions)
                })?,
                Kernel::General => Coincidences::with(source, slices, |trains| {
                    one_by_one::apply(target, state, Pulses::Trains(trains), rule, positions)
                })?,
            }
        }
        Ok(())
    }
}

/// Trouble in the middle of an update, for tests of what it leaves.
#[cfg(test)]
#[allow(clippy::panic, reason = "tests")]
pub(crate) mod trouble {
    use std::cell::Cell;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Trouble {
        None,
        Panic,
        Stop,
    }

    thread_local! {
        pub(crate) static TROUBLE: Cell<Trouble> = const { Cell::new(Trouble::None) };
        pub(crate) static STOP: Cell<bool> = const { Cell::new(false) };
        pub(crate) static ASKED: Cell<usize> = const { Cell::new(0) };
    }

    /// Answers checks for interruptions, and counts them.
    pub(crate) fn watch() {
        crate::par::set_interrupt_check(|| {
            ASKED.set(ASKED.get() + 1);
            STOP.get()
        });
    }

    /// Makes trouble after the first chunk has changed the weights.
    pub(super) fn before_chunk(at: usize) {
        match TROUBLE.get() {
            Trouble::Panic if at == 1 => panic!("test"),
            Trouble::Stop => STOP.set(at == 1),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::config::UpdateParameters;
    use crate::devices::{Device, DeviceConfig, PlaneRef};
    use crate::pulse::transaction::{State, run};
    use crate::rng::{Key, Stream};

    const ROWS: usize = 5;
    const COLUMNS: usize = 21;

    fn normals(len: usize, block: u32) -> Vec<f32> {
        let mut out = vec![0.0; len];
        Key::new(99, 0).stream(Stream::Read).fill_normal(0, block, &mut out);
        out
    }

    /// Weights after the given samples, all in one transaction, from small random ones.
    fn applied(
        target: &Target<'_>,
        source: &Source<'_>,
        parts: &[(Range<usize>, Key)],
    ) -> Vec<f32> {
        let mut weights = normals(ROWS * COLUMNS, 1);
        weights.iter_mut().for_each(|w| *w *= 0.1);
        target.device.bound(&mut weights, target.planes).unwrap();
        let state =
            State { weights: &mut weights, persistent: None, counts: None, columns: COLUMNS };
        run(vec![state], |states| {
            parts.iter().try_for_each(|(samples, key)| {
                let samples = samples.clone().into();
                apply(&Target { key: *key, ..*target }, source, samples, &mut states[0])
            })
        })
        .unwrap();
        weights
    }

    /// Runs `f` with devices of every kind without noise and every way to make pulses, and 9 samples.
    fn for_all(f: impl Fn(&Target<'_>, &Source<'_>)) {
        let (x, d) = (normals(9 * (COLUMNS - 1), 2), normals(9 * ROWS, 3));
        for pulse_type in [
            PulseType::StochasticCompressed,
            PulseType::MeanCount,
            PulseType::DeterministicImplicit,
            PulseType::NoneWithDevice,
        ] {
            for name in DeviceConfig::PULSED {
                let mut config = DeviceConfig::pulsed_default(name).unwrap();
                config.pulsed_mut().unwrap().dw_min_std = 0.0;
                let parameters = UpdateParameters { pulse_type, ..UpdateParameters::default() };
                let device = Device::new(&config, &parameters, ROWS, COLUMNS, false).unwrap();
                let planes = device.construct(1).unwrap();
                let planes: Vec<PlaneRef<'_>> =
                    planes.iter().map(|(_, plane)| plane.as_ref()).collect();
                let key = Key::new(5, 6);
                let target = Target { device: &device, planes: &planes, key };
                let source = Source {
                    x: &x,
                    x_size: COLUMNS,
                    bias: Some(0.5),
                    d: &d,
                    d_size: ROWS,
                    parameters: &parameters,
                    granularity: device.granularity(),
                    rate: 0.02,
                    rates: &[],
                    turn: Turn::Both,
                    signs: [&[]; 2],
                    key,
                };
                f(&target, &source);
            }
        }
    }

    #[test]
    fn a_negative_rate_is_a_negative_error() {
        for_all(|target, source| {
            let turned: Vec<f32> = source.d.iter().map(|d| -d).collect();
            let all = [(0..9, target.key)];
            let expected = applied(target, &Source { d: &turned, ..*source }, &all);
            let found = applied(target, &Source { rate: -source.rate, ..*source }, &all);
            assert_eq!(found, expected, "{}", target.device.name());
            assert!(found != applied(target, source, &all));
        });
    }

    /// Numbers of pulses down and up, of a device with any weights.
    fn counted(target: &Target<'_>, source: &Source<'_>, samples: Samples<'_>) -> [Vec<i64>; 2] {
        let mut weights = vec![0.0; ROWS * COLUMNS];
        let mut counts = vec![0; 2 * ROWS * COLUMNS];
        let state = State {
            weights: &mut weights,
            persistent: None,
            counts: Some(&mut counts),
            columns: COLUMNS,
        };
        run(vec![state], |states| apply(target, source, samples, &mut states[0])).unwrap();
        let up = counts.split_off(ROWS * COLUMNS);
        [counts, up]
    }

    /// Runs `f` with devices of every kind and every way to make pulses, one by one as well.
    fn for_all_pulses(f: impl Fn(&Target<'_>, &Source<'_>)) {
        for_all(|target, source| {
            if source.parameters.pulse_type.has_trains() {
                f(target, source);
                let parameters =
                    UpdateParameters { exact_pulses: true, ..source.parameters.clone() };
                f(target, &Source { parameters: &parameters, ..*source });
            }
        });
    }

    /// Devices of one direction share the pulses of a batch among them.
    #[test]
    fn pulses_of_one_direction() {
        for_all_pulses(|target, source| {
            let none = vec![0; ROWS * COLUMNS];
            // Several samples and one have kernels of their own.
            for samples in [0..9, 3..4] {
                let of =
                    |turn| counted(target, &Source { turn, ..*source }, samples.clone().into());
                let [down, up] = of(Turn::Both);
                assert!(up.iter().sum::<i64>() > 20 && down.iter().sum::<i64>() > 20);
                assert_eq!(
                    of(Turn::OnlyUp),
                    [none.clone(), up.clone()],
                    "{}",
                    target.device.name()
                );
                assert_eq!(of(Turn::OnlyDownAsUp), [none.clone(), down]);
            }
        });
    }

    /// A device that takes pulses up only goes where it goes with pulses up only.
    #[test]
    fn weights_under_pulses_of_one_direction() {
        for_all_pulses(|target, source| {
            let x: Vec<f32> = source.x.iter().map(|x| x.abs()).collect();
            let d: Vec<f32> = source.d.iter().map(|d| -d.abs()).collect();
            let up = Source { x: &x, d: &d, ..*source };
            let all = [(0..9, target.key)];
            let expected = applied(target, &up, &all);
            let close = |found: Vec<f32>| {
                for (found, expected) in found.iter().zip(&expected) {
                    // Chunks have half the length, so f32 adds up in another order.
                    assert!((found - expected).abs() < 1e-5, "{}", target.device.name());
                }
            };
            close(applied(target, &Source { turn: Turn::OnlyUp, ..up }, &all));
            let down = Source { turn: Turn::OnlyDownAsUp, rate: -up.rate, ..up };
            close(applied(target, &down, &all));
        });
    }

    #[test]
    fn signs_are_factors() {
        let x_signs: Vec<i8> = (0..COLUMNS).map(|at| if at % 3 == 0 { -1 } else { 1 }).collect();
        let d_signs: Vec<i8> = (0..ROWS).map(|at| if at % 2 == 0 { -1 } else { 1 }).collect();
        let times = |values: &[f32], signs: &[i8]| -> Vec<f32> {
            let lines = signs.iter().cycle();
            values.iter().zip(lines).map(|(value, sign)| value * f32::from(*sign)).collect()
        };
        for_all_pulses(|target, source| {
            let bias_sign = f32::from(x_signs[COLUMNS - 1]);
            let (x, d) = (times(source.x, &x_signs[..COLUMNS - 1]), times(source.d, &d_signs));
            let bias = source.bias.map(|bias| bias * bias_sign);
            let expected =
                counted(target, &Source { x: &x, d: &d, bias, ..*source }, (0..9).into());
            let signs = [&x_signs[..], &d_signs];
            assert_eq!(counted(target, &Source { signs, ..*source }, (0..9).into()), expected);
            assert_ne!(counted(target, source, (0..9).into()), expected);
        });
    }

    #[test]
    fn samples_have_rates_of_their_own() {
        for_all_pulses(|target, source| {
            let rates = [0.02, 0.0, 0.01, 0.02, 0.03, 0.02, 0.02, 0.005, 0.02];
            let of = |source: &Source<'_>, samples: Range<usize>| {
                counted(target, source, samples.into())
            };
            let found = of(&Source { rates: &rates, ..*source }, 0..9);
            let mut expected = [vec![0; ROWS * COLUMNS], vec![0; ROWS * COLUMNS]];
            for (sample, rate) in rates.into_iter().enumerate() {
                let of_one = of(&Source { rate, ..*source }, sample..sample + 1);
                for (expected, counts) in expected.iter_mut().zip(of_one) {
                    expected.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                }
            }
            assert_eq!(found, expected, "{}", target.device.name());
            let largest = Source { rates: &[], rate: 0.03, ..*source };
            assert_ne!(of(&largest, 0..9), expected);
        });
    }

    #[test]
    fn any_samples_of_a_batch() {
        for_all(|target, source| {
            let listed = |list: &[usize]| {
                let mut weights = vec![0.0; ROWS * COLUMNS];
                let state = State {
                    weights: &mut weights,
                    persistent: None,
                    counts: None,
                    columns: COLUMNS,
                };
                run(vec![state], |states| {
                    apply(target, source, Samples::Listed(list), &mut states[0])
                })
                .unwrap();
                weights
            };
            let neighbours = listed(&[2, 3, 4]);
            let mut weights = vec![0.0; ROWS * COLUMNS];
            let state =
                State { weights: &mut weights, persistent: None, counts: None, columns: COLUMNS };
            run(vec![state], |states| apply(target, source, (2..5).into(), &mut states[0]))
                .unwrap();
            for (a, b) in neighbours.iter().zip(&weights) {
                // Exact updates are cut into single samples, which rounds no otherwise.
                assert_eq!(a, b, "{}", target.device.name());
            }
            assert_ne!(listed(&[2, 4]), weights);
        });
    }

    /// Trains are those of the whole batch however it is cut. Without noise of the pulses the weights
    /// are the same up to the order in which f32 adds up, which differs between kernels.
    #[test]
    fn samples_have_their_trains_wherever_a_batch_is_cut() {
        for_all(|target, source| {
            let whole = applied(target, source, &[(0..9, target.key)]);
            let key = |event| target.key.part(0, event);
            let cut = applied(target, source, &[(0..4, key(1)), (4..5, key(2)), (5..9, key(3))]);
            for (a, b) in whole.iter().zip(&cut) {
                // Kernels agree with pulse after pulse to 2.5e-4 of the way, which 279 slots make at
                // most 0.6 long with steps of twice their mean; another train would be steps away.
                assert!((a - b).abs() < 1.5e-4, "{} {a} {b}", target.device.name());
            }
        });
    }
}
