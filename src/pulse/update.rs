//! The update of a tile with a batch: checks, then one transaction.

use super::apply::apply;
use super::cells::Target;
use super::scale::longest;
use super::source::{Source, Turn};
use super::transaction::{self, MOST_PULSES, State};
use crate::config::check_factor;
use crate::devices::{Cells, Device, PlaneRef};
use crate::error::{Error, Result};
use crate::rng::Key;

/// One update of all weights of a tile with a batch of samples.
#[derive(Debug)]
#[non_exhaustive]
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
    /// Learning rate, from 0 to the largest f32; the target is `w -= learning_rate d x`.
    pub learning_rate: f64,
    /// Key of this call.
    pub key: Key,
    /// Coincidences, `[2, d_size, x_size]`: those down (`x d > 0`), then those up; added to.
    pub counts: Option<&'a mut [i64]>,
}

impl<'a> Update<'a> {
    /// An update of devices without write noise, bias and counts: these fields can be set.
    #[must_use]
    pub fn new(
        device: &'a Device,
        weights: &'a mut [f32],
        planes: &'a [PlaneRef<'a>],
        [x, d]: [&'a [f32]; 2],
        learning_rate: f64,
        key: Key,
    ) -> Self {
        Self {
            device,
            weights,
            planes,
            persistent: None,
            x,
            bias: None,
            d,
            learning_rate,
            key,
            counts: None,
        }
    }

    /// The same with what `change` changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// What its pulses come from.
    pub(crate) fn source(&self) -> Source<'a> {
        let device = self.device;
        Source {
            x: self.x,
            x_size: device.x_size(),
            bias: self.bias,
            d: self.d,
            d_size: device.d_size(),
            parameters: device.update(),
            granularity: device.granularity(),
            rate: self.learning_rate,
            rates: &[],
            turn: Turn::Both,
            signs: [&[]; 2],
            key: self.key,
        }
    }

    /// Checks that no count can overflow.
    fn check_counts(&self, counts: &[i64]) -> Result<()> {
        let source = self.source();
        if !source.parameters.pulse_type.has_trains() || !self.device.is_pulsed() {
            return Ok(());
        }
        let longest = longest(source.parameters, source.granularity, source.rate);
        if source.samples() as f64 * longest > MOST_PULSES as f64 {
            let why = format!(
                "more than {MOST_PULSES} pulses at a crosspoint could not be counted; split the batch"
            );
            return Err(Error::Argument { argument: "x", why });
        }
        // A comparison of each, which the compiler vectorises.
        let full =
            counts.iter().fold(false, |full, count| full | (*count > i64::MAX - MOST_PULSES));
        if full {
            let why = "a pulse counter is at the end of its range of 2^63; set it to 0".to_owned();
            return Err(Error::State { why });
        }
        Ok(())
    }

    /// Checks everything but the state.
    pub(crate) fn check(&self) -> Result<()> {
        self.source().check()?;
        if let Some(counts) = &self.counts {
            let cells = self.device.d_size() * self.device.x_size();
            Error::check_len("counts", counts.len(), 2 * cells)?;
            self.check_counts(counts)?;
        }
        check_factor("learning_rate", self.learning_rate)
    }
}

/// Applies the update.
///
/// # Errors
/// [`Error::Shape`] and [`Error::Argument`] for bad arguments, [`Error::Interrupted`],
/// [`Error::Memory`] and [`Error::Panic`]; [`Error::State`] where a count is full. In all cases weights
/// and counts are then as they were before the call.
pub fn update(mut update: Update<'_>) -> Result<()> {
    let persistent = update.persistent.as_deref_mut();
    let cells = Cells { weights: update.weights, persistent, planes: update.planes };
    update.device.check_cells(&cells)?;
    update.check()?;
    if update.learning_rate == 0.0 || update.d.is_empty() {
        return Ok(());
    }
    let source = update.source();
    let target = Target { device: update.device, planes: update.planes, key: update.key };
    let Update { weights, persistent, counts, .. } = update;
    let state = State { weights, persistent, counts, columns: source.x_size };
    transaction::run(vec![state], |states| {
        states
            .iter_mut()
            .try_for_each(|state| apply(&target, &source, (0..source.samples()).into(), state))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::super::apply::trouble::{self, STOP, TROUBLE, Trouble};
    use super::*;
    use crate::config::UpdateParameters;
    use crate::devices::DeviceConfig;

    #[test]
    fn trouble_restores_weights_and_counts() {
        trouble::watch();
        for name in DeviceConfig::PULSED {
            let config = DeviceConfig::pulsed_default(name).unwrap();
            let device = Device::new(&config, &UpdateParameters::default(), 3, 5, false).unwrap();
            let planes = device.construct(1).unwrap();
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

    /// An update of a 1x2 tile with given counts.
    fn counted(counts: &mut [i64], samples: usize, desired_bl: i64) -> Result<()> {
        let mut config = DeviceConfig::default();
        config.pulsed_mut().unwrap().count_pulses = true;
        let parameters = UpdateParameters { desired_bl, ..UpdateParameters::default() };
        let device = Device::new(&config, &parameters, 1, 2, false).unwrap();
        let planes = device.construct(1).unwrap();
        let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let mut weights = [0.0; 2];
        let result = update(Update {
            device: &device,
            weights: &mut weights,
            planes: &planes,
            persistent: None,
            x: &vec![1.0; 2 * samples],
            bias: None,
            d: &vec![1.0; samples],
            learning_rate: 0.1,
            key: Key::new(3, 4),
            counts: Some(counts),
        });
        assert!(result.is_ok() || weights == [0.0; 2]);
        result
    }

    #[test]
    fn full_counters_are_refused() {
        let mut counts = [i64::MAX - MOST_PULSES, 0, 0, 0];
        counted(&mut counts, 3, 31).unwrap();
        assert!(counts[0] > i64::MAX - MOST_PULSES);
        let before = counts;
        assert!(matches!(counted(&mut counts, 3, 31), Err(Error::State { .. })));
        assert_eq!(counts, before);
    }

    #[test]
    fn more_pulses_than_can_be_counted_are_refused() {
        let error = counted(&mut [0; 4], 65_538, 65_535).unwrap_err();
        assert!(matches!(error, Error::Argument { argument: "x", .. }), "{error}");
    }
}
