//! The pulses of some samples, applied to one device: which kernel takes them.

use super::cells::Target;
use super::coincidences::{Coincidences, Trains};
use super::kernels::{one_by_one, one_sample, segments, sums};
use super::positions::Positions;
use super::samples::Samples;
use super::source::{Source, Turn};
use super::transaction::Tracked;
use super::{counted, gradient, trains};
use crate::config::PulseType;
use crate::devices::{Kernel, PulsedDevice, Rule, Visitor};
use crate::error::Result;

/// Applies the pulses of some samples of a batch, one sample after another, as a part of a
/// transaction. Two calls with equal keys and samples draw the same numbers.
pub(crate) fn apply(
    target: &Target<'_>,
    source: &Source<'_>,
    samples: Samples<'_>,
    state: &mut Tracked<'_>,
) -> Result<()> {
    target.device.config().visit(Apply { target, source, samples, state })
}

struct Apply<'a, 'b> {
    target: &'a Target<'a>,
    source: &'a Source<'a>,
    samples: Samples<'a>,
    state: &'a mut Tracked<'b>,
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

    fn pulsed<D: PulsedDevice>(self, device: &D) -> Result<()> {
        match self.source.parameters.pulse_type {
            PulseType::None | PulseType::NoneWithDevice => self.exact(),
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
                        one_by_one::apply(target, state, trains, rule, positions)
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
                    one_by_one::apply(target, state, trains, rule, positions)
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
