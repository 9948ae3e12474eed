//! A tile, whatever stands at its crosspoints.

use super::config::{AnyConfig, Steps};
use super::tile_state::TileState;
use crate::devices::WeightClip;
use crate::error::Result;
use crate::mvm::Direction;
use crate::tile::{Pass, Tile};
use crate::unit_cells::CellTile;

/// A tile of single devices, or one of cells of several: for code that works with either, such as a layer.
///
/// ```
/// use mho_core::state::{AnyConfig, AnyTile};
/// use mho_core::tile::Pass;
///
/// let config = AnyConfig::from_json(r#"{"device": {"type": "SoftBounds", "params": {}}}"#)?;
/// let mut tile = AnyTile::new(2, 3, &config, false, 1)?;
/// tile.update(&[1.0, 0.5, -0.5], &[0.2, -0.1], 0.1)?;
///
/// // All that its next calls depend on, as plain data for any format of serde.
/// let text = serde_json::to_string(&tile.state()?).unwrap();
/// let mut twin = AnyTile::from_state(&serde_json::from_str(&text).unwrap())?;
/// let (mut y, mut of_twin) = ([0.0; 2], [0.0; 2]);
/// tile.forward(&[1.0, 0.2, 0.3], &mut y, Pass::Train)?;
/// twin.forward(&[1.0, 0.2, 0.3], &mut of_twin, Pass::Train)?;
/// assert_eq!(y, of_twin);
/// # Ok::<(), mho_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub enum AnyTile {
    /// A device at each crosspoint.
    Devices(Box<Tile>),
    /// A cell at each crosspoint.
    Cells(Box<CellTile>),
}

/// Calls the method of the tile that there is.
macro_rules! either {
    ($self:expr, $tile:ident => $call:expr) => {
        match $self {
            Self::Devices($tile) => $call,
            Self::Cells($tile) => $call,
        }
    };
}

impl AnyTile {
    /// A new tile with `outputs` rows and `inputs` columns, and one more with an analog bias.
    ///
    /// # Errors
    /// As [`Tile::new`] and [`CellTile::new`].
    pub fn new(
        outputs: usize,
        inputs: usize,
        config: &AnyConfig,
        analog_bias: bool,
        seed: u64,
    ) -> Result<Self> {
        Ok(match (config, analog_bias) {
            (AnyConfig::Devices(config), false) => Tile::new(outputs, inputs, config, seed)?.into(),
            (AnyConfig::Devices(config), true) => {
                Tile::with_analog_bias(outputs, inputs, config, seed)?.into()
            }
            (AnyConfig::Cells(config), false) => {
                CellTile::new(outputs, inputs, config, seed)?.into()
            }
            (AnyConfig::Cells(config), true) => {
                CellTile::with_analog_bias(outputs, inputs, config, seed)?.into()
            }
        })
    }

    /// The tile of a state, see [`Tile::from_state`] and [`CellTile::from_state`].
    ///
    /// # Errors
    /// As there.
    pub fn from_state(state: &TileState) -> Result<Self> {
        match &state.config {
            AnyConfig::Devices(_) => Tile::from_state(state).map(Self::from),
            AnyConfig::Cells(_) => CellTile::from_state(state).map(Self::from),
        }
    }

    /// All that the next calls depend on.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
    pub fn state(&self) -> Result<TileState> {
        either!(self, tile => tile.state())
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> AnyConfig {
        match self {
            Self::Devices(tile) => AnyConfig::Devices(tile.spec().config().clone()),
            Self::Cells(tile) => AnyConfig::Cells(tile.tile_spec().config().clone()),
        }
    }

    /// Number of rows (outputs).
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Devices(tile) => tile.spec().d_size(),
            Self::Cells(tile) => tile.spec().d_size(),
        }
    }

    /// Number of inputs, without the column of an analog bias.
    #[must_use]
    pub fn inputs(&self) -> usize {
        let columns = match self {
            Self::Devices(tile) => tile.spec().x_size(),
            Self::Cells(tile) => tile.spec().x_size(),
        };
        columns - usize::from(self.analog_bias())
    }

    /// Whether the last column is that of an analog bias.
    #[must_use]
    pub fn analog_bias(&self) -> bool {
        match self {
            Self::Devices(tile) => tile.spec().analog_bias(),
            Self::Cells(tile) => tile.spec().analog_bias(),
        }
    }

    /// Mean step of the devices instead of that of the configuration.
    #[must_use]
    pub fn dw_min(&self) -> Option<Steps> {
        match self {
            Self::Devices(tile) => tile.spec().dw_min().map(Steps::Single),
            Self::Cells(tile) => {
                let steps = tile.spec().steps();
                (!steps.is_empty()).then(|| Steps::Each(steps.to_vec()))
            }
        }
    }

    /// The seed that all random numbers follow from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        either!(self, tile => tile.seed())
    }

    /// Number of calls so far: the position in the random numbers.
    #[must_use]
    pub fn calls(&self) -> u64 {
        either!(self, tile => tile.calls())
    }

    /// Raw weights, row-major; the last column is that of an analog bias.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        either!(self, tile => tile.weights())
    }

    /// See [`Tile::set_weights`] and [`CellTile::set_weights`].
    ///
    /// # Errors
    /// As there.
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        either!(self, tile => tile.set_weights(weights))
    }

    /// Changes what the column of an analog bias sees, see [`Tile::set_bias_input`].
    ///
    /// # Errors
    /// As there.
    pub fn set_bias_input(&mut self, bias_input: f32) -> Result<()> {
        either!(self, tile => tile.set_bias_input(bias_input))
    }

    /// Values that were drawn once for the lines of a product, see [`Tile::lines`].
    pub fn lines(&self, direction: Direction) -> Vec<(&'static str, &[f32])> {
        either!(self, tile => tile.lines(direction).collect())
    }

    /// Analog product, see [`Tile::forward`].
    ///
    /// # Errors
    /// As there.
    pub fn forward(&mut self, x: &[f32], y: &mut [f32], pass: Pass) -> Result<()> {
        either!(self, tile => tile.forward(x, y, pass))
    }

    /// Transposed analog product, see [`Tile::backward`].
    ///
    /// # Errors
    /// As there.
    pub fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        either!(self, tile => tile.backward(d, g, pass))
    }

    /// Update in memory, see [`Tile::update`] and [`CellTile::update`].
    ///
    /// # Errors
    /// As there.
    pub fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()> {
        either!(self, tile => tile.update(x, d, learning_rate))
    }

    /// Decay by `alpha` calls.
    ///
    /// # Errors
    /// As [`Tile::decay`].
    pub fn decay(&mut self, alpha: f64) -> Result<()> {
        either!(self, tile => tile.decay(alpha))
    }

    /// One step of a random walk.
    ///
    /// # Errors
    /// As [`Tile::diffuse`].
    pub fn diffuse(&mut self) -> Result<()> {
        either!(self, tile => tile.diffuse())
    }

    /// Reset of columns.
    ///
    /// # Errors
    /// As [`Tile::reset_columns`].
    pub fn reset_columns(&mut self, start: usize, count: i64, probability: f64) -> Result<()> {
        either!(self, tile => tile.reset_columns(start, count, probability))
    }

    /// Symmetric clipping.
    ///
    /// # Errors
    /// As [`Tile::clip_weights`].
    pub fn clip_weights(&mut self, clip: WeightClip) -> Result<()> {
        either!(self, tile => tile.clip_weights(clip))
    }

    /// Drift for `delta_t`.
    ///
    /// # Errors
    /// As [`Tile::drift`].
    pub fn drift(&mut self, delta_t: f64) -> Result<()> {
        either!(self, tile => tile.drift(delta_t))
    }
}

impl From<Tile> for AnyTile {
    fn from(tile: Tile) -> Self {
        Self::Devices(Box::new(tile))
    }
}

impl From<CellTile> for AnyTile {
    fn from(tile: CellTile) -> Self {
        Self::Cells(Box::new(tile))
    }
}
