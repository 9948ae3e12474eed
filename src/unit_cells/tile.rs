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
use crate::tile::{OwnedDrift, OwnedLines, Pass, next_call};

/// Everything the kernels of one tile of cells need to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
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

    /// The same with what `change` changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Reads a configuration; what values are possible is checked where a tile is built.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn from_json(text: &str) -> Result<Self> {
        read_json(text)
    }

    /// Canonical JSON text.
    ///
    /// # Errors
    /// [`Error::Config`] when a value cannot be written.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::config("config", error.to_string()))
    }
}

/// Parsed and validated configuration of one tile of cells with its sizes. Immutable.
#[derive(Debug, Clone)]
pub struct CellTileSpec {
    config: CellTileConfig,
    cells: CellSpec,
    forward: Mvm,
    backward: Mvm,
}

impl CellTileSpec {
    /// Specification of a tile with `d_size` outputs and `x_size` columns, the last of which is the
    /// bias when `analog_bias` is set.
    ///
    /// # Errors
    /// As [`CellSpec::new`].
    pub fn new(
        config: CellTileConfig,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
    ) -> Result<Self> {
        Self::with_steps(config, d_size, x_size, analog_bias, &[])
    }

    /// As [`CellTileSpec::new`], with other steps of the devices, see [`CellSpec::with_steps`].
    ///
    /// # Errors
    /// As there.
    pub fn with_steps(
        config: CellTileConfig,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
        steps: &[f64],
    ) -> Result<Self> {
        config.forward.validate("forward")?;
        config.backward.validate("backward")?;
        let CellTileConfig { device, update, .. } = &config;
        let cells = CellSpec::with_steps(device, update, d_size, x_size, analog_bias, steps)?;
        let forward = Mvm::new(&config.forward, Direction::Forward, d_size, x_size)?;
        let backward = Mvm::new(&config.backward, Direction::Backward, d_size, x_size)?;
        Ok(Self { config, cells, forward, backward })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &CellTileConfig {
        &self.config
    }

    /// The cells at the crosspoints.
    #[must_use]
    pub fn cells(&self) -> &CellSpec {
        &self.cells
    }

    /// The product of one direction.
    #[must_use]
    pub fn mvm(&self, direction: Direction) -> &Mvm {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        }
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
/// let cell = TransferCompound::default().with(|cell| cell.unit_cell_devices = vec![device(), device()]);
/// let config = CellTileConfig::new(CellConfig::TransferCompound(cell));
/// let mut tile = CellTile::new(2, 3, &config, 1)?;
/// tile.update(&[1.0, 0.5, -0.5], &[0.2, -0.1], 0.1)?;
/// # Ok::<(), mho_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CellTile {
    pub(crate) spec: CellTileSpec,
    pub(crate) weights: Vec<f32>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) entries: Vec<Option<OwnedEntry>>,
    pub(crate) forward_lines: OwnedLines,
    pub(crate) backward_lines: OwnedLines,
    /// Of each device that drifts.
    pub(crate) drift: Option<Vec<OwnedDrift>>,
    pub(crate) seed: u64,
    pub(crate) calls: u64,
    /// What the column of an analog bias sees.
    pub(crate) bias_input: f32,
}

impl CellTile {
    /// A tile with `outputs` rows and `inputs` columns and weights of zero, or of the bound next to it for
    /// devices that cannot have that; every random value follows from `seed`.
    ///
    /// # Errors
    /// As [`CellSpec::new`] and [`CellSpec::construct`].
    pub fn new(outputs: usize, inputs: usize, config: &CellTileConfig, seed: u64) -> Result<Self> {
        Self::construct(CellTileSpec::new(config.clone(), outputs, inputs, false)?, seed)
    }

    /// As [`CellTile::new`], with one more column of weights, the bias: inputs and outputs of products and
    /// updates have as many elements as without it, and the column sees 1, or what
    /// [`CellTile::set_bias_input`] has said.
    ///
    /// # Errors
    /// As there.
    pub fn with_analog_bias(
        outputs: usize,
        inputs: usize,
        config: &CellTileConfig,
        seed: u64,
    ) -> Result<Self> {
        let columns = inputs.saturating_add(1);
        Self::construct(CellTileSpec::new(config.clone(), outputs, columns, true)?, seed)
    }

    fn construct(spec: CellTileSpec, seed: u64) -> Result<Self> {
        let cells = spec.cells.d_size() * spec.cells.x_size();
        let forward_lines = OwnedLines { values: spec.forward.construct_lines(seed)? };
        let backward_lines = OwnedLines { values: spec.backward.construct_lines(seed)? };
        forward_lines.check("forward")?;
        backward_lines.check("backward")?;
        let (weights, entries) = (memory::filled(0.0, cells)?, spec.cells.allocate()?);
        let slots = spec.cells.slots();
        let mut tile = Self {
            spec,
            weights,
            slots,
            entries,
            forward_lines,
            backward_lines,
            drift: None,
            seed,
            calls: 0,
            bias_input: 1.0,
        };
        tile.with_state(|spec, state| spec.construct(state, seed))?;
        Ok(tile)
    }

    /// The parsed configuration of the tile.
    #[must_use]
    pub fn tile_spec(&self) -> &CellTileSpec {
        &self.spec
    }

    /// The seed that all random numbers follow from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of calls so far: the position in the random numbers.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// What the column of an analog bias sees.
    #[must_use]
    pub fn bias_input(&self) -> f32 {
        self.bias_input
    }

    /// Changes what the column of an analog bias sees, see
    /// [`Tile::set_bias_input`](crate::Tile::set_bias_input).
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that is not finite.
    pub fn set_bias_input(&mut self, bias_input: f32) -> Result<()> {
        Error::check_finite("bias_input", &[bias_input])?;
        self.bias_input = bias_input;
        Ok(())
    }

    /// Values that were drawn once for the lines of a product, and the running value of its noise
    /// management, with their names.
    pub fn lines(&self, direction: Direction) -> impl Iterator<Item = (&'static str, &[f32])> {
        let lines = match direction {
            Direction::Forward => &self.forward_lines,
            Direction::Backward => &self.backward_lines,
        };
        lines.iter()
    }

    /// Writes one of [`CellTile::lines`].
    ///
    /// # Errors
    /// As [`Tile::set_lines`](crate::Tile::set_lines).
    pub fn set_lines(&mut self, direction: Direction, name: &str, values: &[f32]) -> Result<()> {
        match direction {
            Direction::Forward => self.forward_lines.set(name, values),
            Direction::Backward => self.backward_lines.set(name, values),
        }
    }

    /// Time of the last drift in units of `t_0`, of each device that drifts; none before the first one.
    pub fn drift_clocks(&self) -> impl Iterator<Item = f64> {
        self.drift.iter().flatten().map(|drift| drift.clock)
    }

    /// Drift of all devices for `delta_t`, see [`CellSpec::drift`]; nothing happens where none drifts. The
    /// clocks start at the first call.
    ///
    /// # Errors
    /// As there; the tile is then as before.
    pub fn drift(&mut self, delta_t: f64) -> Result<()> {
        let drifting = self.spec.cells.drifting();
        if drifting.is_empty() {
            return Ok(());
        }
        let (mut memories, is_old) = match self.drift.take() {
            Some(memories) => (memories, true),
            None => {
                let fresh = drifting.iter().map(|(_, ending)| OwnedDrift::new(self.acting(ending)));
                (fresh.collect::<Result<_>>()?, false)
            }
        };
        let result = self.numbered(|tile, key| {
            tile.with_state(|spec, state| {
                let memories = memories.iter_mut().map(OwnedDrift::borrow).collect();
                spec.drift(state, memories, delta_t, key)
            })
        });
        // A drift that fails has changed nothing, and has not started the clocks.
        self.drift = (is_old || result.is_ok()).then_some(memories);
        result
    }

    /// Weights that the device with this ending of its names acts with: those under its write noise, its
    /// own, or the visible ones.
    fn acting(&self, ending: &str) -> &[f32] {
        let stored = |name: &str| match self.entry(&format!("{name}{ending}")) {
            Some(OwnedEntry::Floats(values)) => Some(values.as_slice()),
            _ => None,
        };
        stored("persistent_weights").or_else(|| stored("hidden_weights")).unwrap_or(&self.weights)
    }

    /// The parsed configuration of the cells.
    #[must_use]
    pub fn spec(&self) -> &CellSpec {
        &self.spec.cells
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &CellTileConfig {
        self.spec.config()
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
        let bias = self.spec.cells.analog_bias().then_some(self.bias_input);
        let batch = Batch { x, bias, d, learning_rate };
        self.numbered(|tile, key| tile.with_state(|spec, state| update(spec, state, &batch, key)))
    }

    /// Analog product `y = W x` for a batch: `x` is `[batch, inputs]`, `y` is `[batch, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit, [`Error::Memory`], [`Error::Interrupted`].
    pub fn forward(&mut self, x: &[f32], y: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Forward, x, y, None, pass)
    }

    /// The same, and where outputs are at the bound of their converter.
    pub(crate) fn forward_masked(
        &mut self,
        x: &[f32],
        y: &mut [f32],
        mask: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()> {
        self.product(Direction::Forward, x, y, mask, pass)
    }

    /// Analog product `g = W^T d` for a batch: `d` is `[batch, outputs]`, `g` is `[batch, inputs]`.
    ///
    /// # Errors
    /// As for [`CellTile::forward`].
    pub fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Backward, d, g, None, pass)
    }

    fn product(
        &mut self,
        direction: Direction,
        x: &[f32],
        y: &mut [f32],
        mask: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()> {
        self.numbered(|tile, key| {
            let owned = match direction {
                Direction::Forward => &mut tile.forward_lines,
                Direction::Backward => &mut tile.backward_lines,
            };
            let mut running = owned.running();
            let (has_bias, forward) =
                (tile.spec.cells.analog_bias(), direction == Direction::Forward);
            tile.spec.mvm(direction).run(Request {
                x,
                bias: (has_bias && forward).then_some(tile.bias_input),
                // The bias column of a transposed product is computed and dropped.
                drop_last: has_bias && !forward,
                weights: &tile.weights,
                y,
                key,
                is_test: pass == Pass::Test,
                lines: owned.borrow(),
                running: running.as_mut(),
                mask,
            })?;
            owned.set_running(running);
            Ok(())
        })
    }

    pub(crate) fn with_state<R>(
        &mut self,
        f: impl FnOnce(&CellSpec, CellState<'_>) -> Result<R>,
    ) -> Result<R> {
        let Self { spec, weights, entries, .. } = self;
        let entries: Vec<Option<Entry<'_>>> =
            entries.iter_mut().map(|entry| entry.as_mut().map(OwnedEntry::as_mut)).collect();
        f(&spec.cells, CellState::new(&spec.cells, weights, entries)?)
    }

    /// Runs a call with the key of the next one; a call that fails has not been one.
    fn numbered<R>(&mut self, call: impl FnOnce(&mut Self, Key) -> Result<R>) -> Result<R> {
        let calls = next_call(self.calls)?;
        let key = Key::new(self.seed, calls);
        let result = call(self, key)?;
        self.calls = calls;
        Ok(result)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::config::{
        ChoppedTransferCompound, Crosspoint, DynamicTransferCompound, MixedPrecisionCompound,
        OneSidedUnitCell, TransferCompound, VectorUnitCell, VectorUnitCellUpdatePolicy,
    };
    use super::*;
    use crate::config::NoiseManagement;
    use crate::devices::{DeviceConfig, SoftBounds};
    use crate::par;
    use crate::rng::Stream;
    use crate::rng::record::{self, Position};

    fn soft() -> Crosspoint {
        let mut soft = SoftBounds { write_noise_std: 0.5, ..SoftBounds::default() };
        soft.pulsed.reset_dtod = 0.1;
        (soft.pulsed.diffusion, soft.pulsed.lifetime) = (0.01, 100.0);
        DeviceConfig::SoftBounds(soft).into()
    }

    fn noisy() -> IoParameters {
        IoParameters {
            noise_management: NoiseManagement::None,
            inp_noise: 0.01,
            inp_sto_round: true,
            out_sto_round: true,
            out_noise_std: 0.1,
            w_noise: 0.1,
            w_noise_type: crate::config::WeightNoise::AdditiveConstant,
            ..IoParameters::default()
        }
    }

    fn cells() -> Vec<CellConfig> {
        let pair = || OneSidedUnitCell {
            unit_cell_devices: vec![soft()],
            refresh_every: 3,
            units_in_mbatch: false,
            refresh_upper_thres: -9.0,
            refresh_lower_thres: -9.0,
            refresh_forward: noisy(),
            ..OneSidedUnitCell::default()
        };
        let pair: Crosspoint = CellConfig::OneSidedUnitCell(pair()).into();
        let random: Crosspoint = CellConfig::VectorUnitCell(VectorUnitCell {
            unit_cell_devices: vec![soft(), soft(), soft()],
            update_policy: VectorUnitCellUpdatePolicy::SingleRandom,
            ..VectorUnitCell::default()
        })
        .into();
        vec![
            CellConfig::VectorUnitCell(VectorUnitCell {
                unit_cell_devices: vec![pair.clone(), random.clone()],
                ..VectorUnitCell::default()
            }),
            CellConfig::TransferCompound(TransferCompound {
                unit_cell_devices: vec![random.clone(), soft(), soft()],
                units_in_mbatch: false,
                with_reset_prob: 0.5,
                random_selection: true,
                n_reads_per_transfer: 2,
                transfer_forward: noisy(),
                gamma: 0.5,
                ..TransferCompound::default()
            }),
            CellConfig::ChoppedTransferCompound(ChoppedTransferCompound {
                unit_cell_devices: vec![pair.clone(), random.clone()],
                in_chop_prob: 0.5,
                out_chop_prob: 0.5,
                transfer_forward: noisy(),
                ..ChoppedTransferCompound::default()
            }),
            CellConfig::DynamicTransferCompound(DynamicTransferCompound {
                unit_cell_devices: vec![soft(), soft()],
                in_chop_prob: 0.5,
                in_chop_random: true,
                transfer_columns: false,
                transfer_forward: noisy(),
                ..DynamicTransferCompound::default()
            }),
            CellConfig::MixedPrecisionCompound(MixedPrecisionCompound {
                device: random,
                n_x_bins: 5,
                n_d_bins: 5,
                random_row: true,
                n_rows_per_transfer: 2,
                ..MixedPrecisionCompound::default()
            }),
        ]
    }

    /// Devices of a cell have the trains of a sample or of a write in common; roundings of probabilities,
    /// write noise and the words of single slots are asked for several times.
    fn repeats(position: &Position) -> bool {
        [Stream::PulseX, Stream::PulseD, Stream::PulseRound, Stream::WriteNoise]
            .iter()
            .any(|stream| position.is_of(*stream))
    }

    #[test]
    fn no_draw_serves_two_purposes() {
        // What other threads draw is not recorded.
        par::set_num_threads(1).unwrap();
        let (rows, columns) = (5, 21);
        for cell in cells() {
            let name = cell.name();
            let mut tile = None;
            let mut drawn = vec![record::during(|| {
                tile = CellTile::new(rows, columns, &CellTileConfig::new(cell), 3).ok();
            })];
            let mut tile = tile.unwrap();
            drawn.push(record::during(|| tile.set_weights(&[0.1; 105]).unwrap()));
            for number in 0..8 {
                let value = |at: usize| ((at + 100 * number) as f32).sin();
                let x: Vec<f32> = (0..4 * columns).map(value).collect();
                let d: Vec<f32> = (50..50 + 4 * rows).map(value).collect();
                drawn.push(record::during(|| tile.update(&x, &d, 0.1).unwrap()));
            }
            drawn.push(record::during(|| tile.diffuse().unwrap()));
            drawn.push(record::during(|| tile.decay(1.0).unwrap()));
            drawn.push(record::during(|| tile.reset_columns(0, -1, 0.5).unwrap()));
            let mut all = Vec::new();
            for (at, mut call) in drawn.into_iter().enumerate() {
                call.sort_unstable();
                let twice = call.windows(2).find(|two| two[0] == two[1] && !repeats(&two[0]));
                assert!(twice.is_none(), "{name}: {twice:?} in call {at}");
                call.dedup();
                all.append(&mut call);
            }
            assert!(all.len() > 1000, "{name}");
            all.sort_unstable();
            let twice = all.windows(2).find(|two| two[0] == two[1]);
            assert!(twice.is_none(), "{name}: {twice:?} in two calls");
        }
    }
}
