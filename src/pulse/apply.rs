//! The pulses of some samples, applied to one device: which kernel takes them.

use std::ops::Range;

use super::cells::Target;
use super::coincidences::{Coincidences, Trains};
use super::kernels::{one_by_one, one_sample, segments, sums};
use super::positions::Positions;
use super::source::Source;
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
    samples: Range<usize>,
    state: &mut Tracked<'_>,
) -> Result<()> {
    target.device.config().visit(Apply { target, source, samples, state })
}

struct Apply<'a, 'b> {
    target: &'a Target<'a>,
    source: &'a Source<'a>,
    samples: Range<usize>,
    state: &'a mut Tracked<'b>,
}

impl Visitor for Apply<'_, '_> {
    type Output = Result<()>;

    fn exact(self) -> Result<()> {
        gradient::apply(self.target, self.source, self.samples, self.state)
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
                self.stochastic(device.kernel(), device.rule())
            }
        }
    }
}

impl Apply<'_, '_> {
    fn stochastic<R: Rule>(self, kernel: Kernel, rule: R) -> Result<()> {
        let Self { target, source, samples, state } = self;
        let chunks = trains::chunks(&source.scalings(samples));
        for (at, slices) in chunks.iter().enumerate() {
            let positions = Positions::new(at)?;
            #[cfg(test)]
            trouble::before_chunk(at);
            let one_sample =
                slices.first().map(|slice| slice.sample) == slices.last().map(|slice| slice.sample);
            match kernel {
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
