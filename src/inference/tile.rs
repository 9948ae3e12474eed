//! A tile whose weights are programmed and drift.

use serde::{Deserialize, Serialize};

use super::compensation::{DriftCompensation, readout_inputs};
use super::config::InferenceConfig;
use super::noise::NoiseModel;
use super::programmed::ProgrammedWeights;
use crate::config::{IoParameters, TileConfig};
use crate::devices::{DeviceConfig, Ideal, WeightClip};
use crate::error::{Error, Result};
use crate::memory;
use crate::modifier::Modifier;
use crate::rng::Key;
use crate::tile::{Pass, Tile};

/// Programmed weights of a tile, with what its drift compensation has read.
///
/// Names are those of the entries of a saved state of the Python package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Programming {
    /// Weights as they were programmed.
    pub programmed: ProgrammedWeights,
    /// Readout after programming: one number, one per output, or none without compensation.
    pub drift_baseline: Vec<f32>,
    /// Factor on the outputs, or one factor per output.
    pub alpha: Vec<f32>,
}

impl Programming {
    /// Weights that were programmed and not read yet.
    #[must_use]
    pub fn new(programmed: ProgrammedWeights, drift_baseline: Vec<f32>) -> Self {
        Self { programmed, drift_baseline, alpha: vec![1.0] }
    }
}

/// A crossbar with converters whose weights are programmed and drift.
///
/// Weights and outputs are those of the bare array: scales, input range and bias belong to the layer
/// around it, [`Linear::for_inference`](crate::layer::Linear::for_inference). All random numbers follow from the seed, the number of the call, and of the event of
/// programming or drift.
#[derive(Debug, Clone)]
pub struct InferenceTile {
    tile: Tile,
    config: InferenceConfig,
    modifier: Modifier,
    state: Option<Programming>,
    seed: u64,
    events: u64,
}

impl InferenceTile {
    /// A tile with `outputs` rows and `inputs` columns and weights of zero, nothing of which is programmed.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field, [`Error::Argument`] for sizes,
    /// [`Error::Memory`].
    pub fn new(outputs: usize, inputs: usize, config: &InferenceConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        let tile = TileConfig {
            device: DeviceConfig::Ideal(Ideal::default()),
            forward: config.forward.clone(),
            backward: IoParameters::perfect(),
            ..TileConfig::default()
        };
        Ok(Self {
            tile: Tile::new(outputs, inputs, &tile, seed)?,
            modifier: Modifier::new(&config.modifier)?,
            config: config.clone(),
            state: None,
            seed,
            events: 0,
        })
    }

    /// A tile around an array that there is, for example one of a [saved model](crate::state), which goes on
    /// where it was: with its weights, the position in its random numbers, and its `forward`, which replaces
    /// that of `config`. `seed` is that of programming and drift.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for pulsed devices, whose bounds would clip what is programmed, and for an analog
    /// bias; [`Error::Config`] and [`Error::Unsupported`] naming the field.
    pub fn from_tile(tile: Tile, config: &InferenceConfig, seed: u64) -> Result<Self> {
        if tile.spec().device().is_pulsed() {
            let why = "bounds would clip what is programmed; make the tile with the weights";
            return Err(Error::unsupported(format!("device {}", tile.spec().device().name()), why));
        }
        if tile.spec().analog_bias() {
            let why = "make the tile without, its weights having one more column";
            return Err(Error::unsupported("analog bias", why));
        }
        let forward = tile.spec().config().forward.clone();
        let config = InferenceConfig { forward, ..config.clone() };
        config.validate()?;
        let modifier = Modifier::new(&config.modifier)?;
        Ok(Self { tile, config, modifier, state: None, seed, events: 0 })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &InferenceConfig {
        &self.config
    }

    /// The array: its weights are those that were read last.
    #[must_use]
    pub fn tile(&self) -> &Tile {
        &self.tile
    }

    /// What is programmed, if anything is.
    #[must_use]
    pub fn programming(&self) -> Option<&Programming> {
        self.state.as_ref()
    }

    /// Factor on the outputs, or one factor per output: 1 until weights have drifted.
    #[must_use]
    pub fn alpha(&self) -> &[f32] {
        self.state.as_ref().map_or(&[1.0], |state| &state.alpha)
    }

    /// Number of events of programming and drift so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Writes target weights, `[outputs, inputs]`; what was programmed before is dropped.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for a wrong number of values or values that are not
    /// finite; the tile is then as before.
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.tile.set_weights(weights)?;
        self.state = None;
        Ok(())
    }

    /// Takes over what was programmed elsewhere, for example from a saved state: the array gets the
    /// programmed weights. `events` is how often that tile was programmed and has drifted.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for another size or factors that are not finite; the tile is
    /// then as before.
    pub fn set_programming(&mut self, state: Programming, events: u64) -> Result<()> {
        self.check_programming(&state)?;
        self.tile.set_weights(state.programmed.weights())?;
        (self.state, self.events) = (Some(state), events);
        Ok(())
    }

    /// As [`InferenceTile::set_programming`] for an array whose weights are those that were read last: they
    /// stay.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "safetensors")]
    pub(crate) fn resume(&mut self, state: Programming) -> Result<()> {
        self.check_programming(&state)?;
        self.state = Some(state);
        Ok(())
    }

    fn check_programming(&self, state: &Programming) -> Result<()> {
        let (outputs, inputs) = (self.tile.spec().d_size(), self.tile.spec().x_size());
        Error::check_len("columns", state.programmed.columns(), inputs)?;
        let len = state.programmed.weights().len();
        Error::check_len("programmed_weights", len, outputs * inputs)?;
        for (argument, factors) in
            [("alpha", &state.alpha), ("drift_baseline", &state.drift_baseline)]
        {
            Error::check_finite(argument, factors)?;
            if !(argument == "drift_baseline" && factors.is_empty()) && factors.len() != 1 {
                Error::check_len(argument, factors.len(), outputs)?;
            }
        }
        Ok(())
    }

    /// Programs the weights with the errors of the noise model. After the first time it aims at the same
    /// weights as then, until others are set.
    ///
    /// # Errors
    /// As [`ProgrammedWeights::program`]; the tile is then as before.
    pub fn program_weights(&mut self) -> Result<()> {
        self.or_as_before(Self::program)
    }

    /// Sets the weights to what is read `t_inference` seconds after programming, and `alpha` to what
    /// corrects the outputs. Programs the weights if that was not done yet. Calls are independent: each
    /// starts from the programmed weights.
    ///
    /// # Errors
    /// As [`ProgrammedWeights::drifted`]; the tile is then as before.
    pub fn drift_weights(&mut self, t_inference: f64) -> Result<()> {
        self.config.noise_model.check_time(t_inference)?;
        self.or_as_before(|tile| tile.drift(t_inference))
    }

    /// Analog product `y = alpha W x` in evaluation for a batch: `x` is `[batch, inputs]`, `y` is
    /// `[batch, outputs]`.
    ///
    /// # Errors
    /// As for [`Tile::forward`].
    pub fn forward(&mut self, x: &[f32], y: &mut [f32]) -> Result<()> {
        self.forward_masked(x, y, None)
    }

    /// The same, and where outputs are at the bound of their converter.
    pub(crate) fn forward_masked(
        &mut self,
        x: &[f32],
        y: &mut [f32],
        mask: Option<&mut [u8]>,
    ) -> Result<()> {
        self.tile.forward_masked(x, y, mask, Pass::Test)?;
        let Some(state) = self.state.as_ref().filter(|_| self.config.drift_compensation.is_some())
        else {
            return Ok(());
        };
        match &state.alpha[..] {
            [alpha] => y.iter_mut().for_each(|y| *y *= alpha),
            alpha => {
                for row in y.chunks_exact_mut(alpha.len()) {
                    row.iter_mut().zip(alpha).for_each(|(y, alpha)| *y *= alpha);
                }
            }
        }
        Ok(())
    }

    /// Writes what the modifier of the configuration makes of the weights for the passes of a training
    /// step, `[outputs, inputs]`; the weights stay.
    ///
    /// # Errors
    /// [`Error::Shape`] when `modified` has another length; the tile is then as before.
    pub fn modify_weights(&mut self, modified: &mut [f32]) -> Result<()> {
        self.tile.modify_weights(&self.modifier, modified)
    }

    /// Clips the weights as the configuration says, which training does after each step; what was programmed
    /// before is dropped unless `clip` is of type `None`.
    ///
    /// # Errors
    /// None for values that [`InferenceConfig::validate`] takes.
    pub fn clip_weights(&mut self) -> Result<()> {
        let clip = WeightClip::from(&self.config.clip);
        if clip != WeightClip::None {
            self.tile.clip_weights(clip)?;
            self.state = None;
        }
        Ok(())
    }

    fn program(&mut self) -> Result<()> {
        let targets = match &self.state {
            Some(state) => state.programmed.reference_combined_weights(),
            None => self.tile.weights(),
        };
        let (columns, key) = (self.tile.spec().x_size(), Key::new(self.seed, self.events + 1));
        let model = self.config.noise_model.model();
        let programmed = ProgrammedWeights::program(model, targets, columns, key)?;
        self.events += 1;
        self.tile.set_weights(programmed.weights())?;
        let mut state = Programming::new(programmed, Vec::new());
        if let Some(compensation) = &self.config.drift_compensation {
            let compensation = compensation.compensation();
            state.drift_baseline = baseline(
                compensation,
                &mut self.tile,
                state.programmed.reference_combined_weights(),
            )?;
        }
        self.state = Some(state);
        Ok(())
    }

    fn drift(&mut self, t_inference: f64) -> Result<()> {
        if self.state.is_none() {
            self.program()?;
        }
        let Some(mut state) = self.state.take() else { return Ok(()) };
        let (model, key) = (self.config.noise_model.model(), Key::new(self.seed, self.events + 1));
        let drifted = state.programmed.drifted(model, t_inference, key)?;
        self.events += 1;
        if let Some(compensation) = &self.config.drift_compensation {
            let compensation = compensation.compensation();
            let rows = self.tile.spec().d_size();
            if state.drift_baseline.len() != compensation.readout(&vec![1.0; rows], rows).len() {
                // It was programmed with another compensation, or none.
                self.tile.set_weights(state.programmed.weights())?;
                let targets = state.programmed.reference_combined_weights();
                state.drift_baseline = baseline(compensation, &mut self.tile, targets)?;
            }
            self.tile.set_weights(&drifted)?;
            let outputs = read_out(&mut self.tile)?;
            state.alpha = compensation.apply(&outputs, rows, &state.drift_baseline)?;
        } else {
            self.tile.set_weights(&drifted)?;
        }
        self.state = Some(state);
        Ok(())
    }

    /// Runs something that changes weights; after an error everything is as before.
    fn or_as_before(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let before = self.clone();
        let result = change(self);
        if result.is_err() {
            *self = before;
        }
        result
    }
}

/// Readout of a tile whose weights were just programmed.
fn baseline(
    compensation: &dyn DriftCompensation,
    tile: &mut Tile,
    targets: &[f32],
) -> Result<Vec<f32>> {
    let (rows, columns) = (tile.spec().d_size(), tile.spec().x_size());
    if !compensation.has_exact_reference() {
        return Ok(compensation.readout(&read_out(tile)?, rows));
    }
    // The product with one-hot inputs is the transpose.
    let mut outputs = memory::filled(0.0, targets.len())?;
    for (row, weights) in targets.chunks_exact(columns).enumerate() {
        weights.iter().enumerate().for_each(|(column, w)| outputs[column * rows + row] = *w);
    }
    Ok(compensation.readout(&outputs, rows))
}

/// The product of the array with one-hot inputs, `[inputs, outputs]`.
fn read_out(tile: &mut Tile) -> Result<Vec<f32>> {
    let (rows, columns) = (tile.spec().d_size(), tile.spec().x_size());
    let inputs = readout_inputs(columns)?;
    let mut outputs = memory::filled(0.0, rows * columns)?;
    tile.forward(&inputs, &mut outputs, Pass::Test)?;
    Ok(outputs)
}
