//! A tile of cells that owns its state, for Rust users.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::config::CellConfig;
use super::construct::OwnedEntry;
use super::slots::Slot;
use super::spec::CellSpec;
use super::state::{CellState, Entry};
use super::update::update;
use crate::config::{IoParameters, UpdateParameters, read_json};
use crate::devices::WeightClip;
use crate::error::{Error, Result};
use crate::memory;
use crate::mvm::{Direction, Mvm, Request};
use crate::rng::Key;
use crate::tile::{OwnedLines, Pass};

/// Everything the kernels of one tile of cells need to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellTileConfig {
    /// Cell at each crosspoint.
    pub device: CellConfig,
    /// Input and output of the forward pass.
    #[serde(default)]
    pub forward: IoParameters,
    /// Input and output of the backward pass.
    #[serde(default)]
    pub backward: IoParameters,
    /// Pulse generation.
    #[serde(default)]
    pub update: UpdateParameters,
}

impl CellTileConfig {
    /// Cells with default parameters of all else.
    #[must_use]
    pub fn new(device: CellConfig) -> Self {
        Self {
            device,
            forward: IoParameters::default(),
            backward: IoParameters::default(),
            update: UpdateParameters::default(),
        }
    }

    /// Reads a configuration; what values are possible is checked where a tile is built.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn from_json(text: &str) -> Result<Self> {
        read_json(text)
    }
}

/// A tile of cells with its state. As with a [`Tile`](crate::Tile), all of its random numbers follow from
/// its seed and the number of the call.
///
/// ```
/// use mho_core::devices::DeviceConfig;
/// use mho_core::unit_cells::{CellConfig, CellTile, CellTileConfig, TransferCompound};
///
/// let device = || DeviceConfig::default().into();
/// let cell = TransferCompound { unit_cell_devices: vec![device(), device()], ..Default::default() };
/// let config = CellTileConfig::new(CellConfig::TransferCompound(cell));
/// let mut tile = CellTile::new(2, 3, &config, 1)?;
/// tile.update(&[1.0, 0.5, -0.5], &[0.2, -0.1], 0.1)?;
/// # Ok::<(), mho_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CellTile {
    spec: CellSpec,
    forward: Mvm,
    backward: Mvm,
    weights: Vec<f32>,
    slots: Vec<Slot>,
    entries: Vec<Option<OwnedEntry>>,
    forward_lines: OwnedLines,
    backward_lines: OwnedLines,
    seed: u64,
    calls: u64,
}

impl CellTile {
    /// A tile with `outputs` rows and `inputs` columns and weights of zero, or of the bound next to it for
    /// devices that cannot have that; every random value follows from `seed`.
    ///
    /// # Errors
    /// As [`CellSpec::new`] and [`CellSpec::construct`].
    pub fn new(outputs: usize, inputs: usize, config: &CellTileConfig, seed: u64) -> Result<Self> {
        let spec = CellSpec::new(&config.device, &config.update, outputs, inputs, false)?;
        let forward = Mvm::new(&config.forward, Direction::Forward, outputs, inputs)?;
        let backward = Mvm::new(&config.backward, Direction::Backward, outputs, inputs)?;
        let forward_lines = OwnedLines { values: forward.construct_lines(seed)? };
        let backward_lines = OwnedLines { values: backward.construct_lines(seed)? };
        forward_lines.check("forward")?;
        backward_lines.check("backward")?;
        let (weights, entries) = (memory::filled(0.0, outputs * inputs)?, spec.allocate()?);
        let slots = spec.slots();
        let mut tile = Self {
            spec,
            forward,
            backward,
            weights,
            slots,
            entries,
            forward_lines,
            backward_lines,
            seed,
            calls: 0,
        };
        tile.with_state(|spec, state| spec.construct(state, seed))?;
        Ok(tile)
    }

    /// The parsed configuration.
    #[must_use]
    pub fn spec(&self) -> &CellSpec {
        &self.spec
    }

    /// Visible weights, `[outputs, inputs]` row-major.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Visible weights, to change them; [`CellTile::settle`] has to follow, for they belong to the devices.
    #[must_use]
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// The entry of the state with this name, of those in [`CellSpec::slots`] that are stored.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&OwnedEntry> {
        self.entries[self.slots.iter().position(|slot| slot.name == name)?].as_ref()
    }

    /// The entry of the state with this name, to change it; [`CellTile::settle`] has to follow.
    #[must_use]
    pub fn entry_mut(&mut self, name: &str) -> Option<&mut OwnedEntry> {
        self.entries[self.slots.iter().position(|slot| slot.name == name)?].as_mut()
    }

    /// See [`CellSpec::settle`].
    ///
    /// # Errors
    /// As there.
    pub fn settle(&mut self) -> Result<()> {
        self.with_state(CellSpec::settle)
    }

    /// See [`CellSpec::set_weights`].
    ///
    /// # Errors
    /// As there.
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.numbered(|tile, key| {
            tile.with_state(|spec, state| spec.set_weights(state, weights, key))
        })
    }

    /// See [`CellState::set_hidden_update_index`].
    ///
    /// # Errors
    /// As there.
    pub fn set_hidden_update_index(&mut self, index: i64) -> Result<()> {
        self.with_state(|spec, mut state| state.set_hidden_update_index(spec, index))
    }

    /// See [`CellState::hidden_update_index`].
    ///
    /// # Errors
    /// None for a tile made by [`CellTile::new`].
    pub fn hidden_update_index(&mut self) -> Result<usize> {
        self.with_state(|spec, state| Ok(state.hidden_update_index(spec)))
    }

    /// Decay by `alpha` calls, see [`CellSpec::decay`].
    ///
    /// # Errors
    /// As there.
    pub fn decay(&mut self, alpha: f64) -> Result<()> {
        self.numbered(|tile, key| tile.with_state(|spec, state| spec.decay(state, alpha, key)))
    }

    /// Diffusion, see [`CellSpec::diffuse`].
    ///
    /// # Errors
    /// As there.
    pub fn diffuse(&mut self) -> Result<()> {
        self.numbered(|tile, key| tile.with_state(|spec, state| spec.diffuse(state, key)))
    }

    /// Clipping, see [`CellSpec::clip_weights`].
    ///
    /// # Errors
    /// As there.
    pub fn clip_weights(&mut self, clip: WeightClip) -> Result<()> {
        self.numbered(|tile, key| {
            tile.with_state(|spec, state| spec.clip_weights(state, clip, key))
        })
    }

    /// Reset of columns, see [`CellSpec::reset_columns`].
    ///
    /// # Errors
    /// As there.
    pub fn reset_columns(&mut self, start: usize, count: i64, probability: f64) -> Result<()> {
        self.numbered(|tile, key| {
            tile.with_state(|spec, state| spec.reset_columns(state, start, count, probability, key))
        })
    }

    /// Update with a batch, see [`update`].
    ///
    /// # Errors
    /// As there; the tile is then as before.
    pub fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()> {
        let batch = Batch { x, bias: None, d, learning_rate };
        self.numbered(|tile, key| tile.with_state(|spec, state| update(spec, state, &batch, key)))
    }

    /// Analog product `y = W x` for a batch: `x` is `[batch, inputs]`, `y` is `[batch, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit, [`Error::Memory`], [`Error::Interrupted`].
    pub fn forward(&mut self, x: &[f32], y: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Forward, x, y, pass)
    }

    /// Analog product `g = W^T d` for a batch: `d` is `[batch, outputs]`, `g` is `[batch, inputs]`.
    ///
    /// # Errors
    /// As for [`CellTile::forward`].
    pub fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Backward, d, g, pass)
    }

    fn product(
        &mut self,
        direction: Direction,
        x: &[f32],
        y: &mut [f32],
        pass: Pass,
    ) -> Result<()> {
        self.numbered(|tile, key| {
            let (mvm, owned) = match direction {
                Direction::Forward => (&tile.forward, &mut tile.forward_lines),
                Direction::Backward => (&tile.backward, &mut tile.backward_lines),
            };
            let mut running = owned.running();
            mvm.run(Request {
                x,
                bias: None,
                drop_last: false,
                weights: &tile.weights,
                y,
                key,
                is_test: pass == Pass::Test,
                lines: owned.borrow(),
                running: running.as_mut(),
                mask: None,
            })?;
            owned.set_running(running);
            Ok(())
        })
    }

    fn with_state<R>(
        &mut self,
        f: impl FnOnce(&CellSpec, CellState<'_>) -> Result<R>,
    ) -> Result<R> {
        let Self { spec, weights, entries, .. } = self;
        let entries: Vec<Option<Entry<'_>>> =
            entries.iter_mut().map(|entry| entry.as_mut().map(OwnedEntry::as_mut)).collect();
        f(spec, CellState::new(spec, weights, entries)?)
    }

    /// Runs a call with the key of the next one; a call that fails has not been one.
    fn numbered<R>(&mut self, call: impl FnOnce(&mut Self, Key) -> Result<R>) -> Result<R> {
        let Some(calls) = self.calls.checked_add(1) else {
            let why = "the number of calls is at its end".to_owned();
            return Err(Error::State { why });
        };
        let key = Key::new(self.seed, calls);
        let result = call(self, key)?;
        self.calls = calls;
        Ok(result)
    }
}
