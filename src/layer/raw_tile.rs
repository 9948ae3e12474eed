//! What a layer needs of an array of crosspoints.

use crate::config::TileConfig;
use crate::error::{Error, Result};
use crate::tile::{Pass, Tile};
use crate::unit_cells::{CellTile, CellTileConfig};

/// Sizes and seed of a tile that a layer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TileShape {
    /// Number of outputs.
    pub outputs: usize,
    /// Number of inputs, without that of an analog bias.
    pub inputs: usize,
    /// Whether there is one more column, the bias.
    pub analog_bias: bool,
    /// Seed of the tile.
    pub seed: u64,
}

impl TileShape {
    pub(super) fn new([outputs, inputs]: [usize; 2], analog_bias: bool, seed: u64) -> Self {
        Self { outputs, inputs, analog_bias, seed }
    }

    /// A tile of these sizes.
    ///
    /// # Errors
    /// As [`Tile::new`].
    pub fn tile(self, config: &TileConfig) -> Result<Tile> {
        let Self { outputs, inputs, analog_bias, seed } = self;
        let new = if analog_bias { Tile::with_analog_bias } else { Tile::new };
        new(outputs, inputs, config, seed)
    }

    /// A tile of cells of these sizes.
    ///
    /// # Errors
    /// As [`CellTile::new`].
    pub fn cell_tile(self, config: &CellTileConfig) -> Result<CellTile> {
        let Self { outputs, inputs, analog_bias, seed } = self;
        let new = if analog_bias { CellTile::with_analog_bias } else { CellTile::new };
        new(outputs, inputs, config, seed)
    }
}

/// An array of crosspoints: a [`Tile`], a [`CellTile`], or one of your own, such as an algorithm that moves
/// weights between several tiles.
///
/// A layer calls it with whole batches, row by row: `x` is `[samples, inputs]`, `d` is `[samples, d_size]`. An
/// analog bias is the last column of the weights and has no place in `x`. Calls that fail must leave the
/// weights as they were.
pub trait RawTile {
    /// Number of rows (outputs).
    fn d_size(&self) -> usize;

    /// Number of columns, including that of an analog bias.
    fn x_size(&self) -> usize;

    /// Weights as the products see them, `[d_size, x_size]`.
    fn weights(&self) -> &[f32];

    /// Writes the weights.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for a wrong
    /// number of values or values that are not finite.
    fn set_weights(&mut self, weights: &[f32]) -> Result<()>;

    /// Writes `W x` into `y`, `[samples, d_size]`. `clipped`, if there is one, is as `y` and all zero: where
    /// the output sits at a bound, it is set to 1, and no gradient passes.
    ///
    /// # Errors
    /// [`Error::Shape`], or what may go wrong in the product.
    fn forward(
        &mut self,
        x: &[f32],
        y: &mut [f32],
        clipped: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()>;

    /// Writes `W^T d` into `g`, `[samples, inputs]`.
    ///
    /// # Errors
    /// As [`RawTile::forward`].
    fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()>;

    /// Changes the weights, in the mean by `-learning_rate d^T x`.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for bad
    /// arguments, or what may go wrong in the update.
    fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()>;

    /// Changes what the column of an analog bias sees; only called for tiles that were asked to have one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a tile that cannot have one.
    fn set_bias_input(&mut self, _bias_input: f32) -> Result<()> {
        let why = "this kind of tile has none; set mapping.digital_bias";
        Err(Error::unsupported("analog bias", why))
    }

    /// What devices do after a step, for instance forget.
    ///
    /// # Errors
    /// What may go wrong in that.
    fn after_step(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether outputs have a bound.
    fn clips_outputs(&self) -> bool {
        false
    }

    /// Whether there are passes of training and updates; a layer refuses both for tiles without.
    fn learns(&self) -> bool {
        true
    }

    /// Whether updates are exact, so that the weights can follow a gradient digitally.
    fn is_exact(&self) -> bool {
        false
    }
}

impl RawTile for Tile {
    fn d_size(&self) -> usize {
        self.spec().d_size()
    }

    fn x_size(&self) -> usize {
        self.spec().x_size()
    }

    fn weights(&self) -> &[f32] {
        self.weights()
    }

    fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.set_weights(weights)
    }

    fn forward(
        &mut self,
        x: &[f32],
        y: &mut [f32],
        clipped: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()> {
        self.forward_masked(x, y, clipped, pass)
    }

    fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        self.backward(d, g, pass)
    }

    fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()> {
        self.update(x, d, learning_rate)
    }

    fn set_bias_input(&mut self, bias_input: f32) -> Result<()> {
        self.set_bias_input(bias_input)
    }

    fn after_step(&mut self) -> Result<()> {
        if self.spec().device().diffuses() {
            self.diffuse()?;
        }
        if self.spec().device().decays() { self.decay(1.0) } else { Ok(()) }
    }

    fn clips_outputs(&self) -> bool {
        self.spec().config().forward.clips_outputs()
    }

    fn is_exact(&self) -> bool {
        !self.spec().device().is_pulsed()
    }
}

impl RawTile for CellTile {
    fn d_size(&self) -> usize {
        self.spec().d_size()
    }

    fn x_size(&self) -> usize {
        self.spec().x_size()
    }

    fn weights(&self) -> &[f32] {
        self.weights()
    }

    fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.set_weights(weights)
    }

    fn forward(
        &mut self,
        x: &[f32],
        y: &mut [f32],
        clipped: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()> {
        self.forward_masked(x, y, clipped, pass)
    }

    fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        self.backward(d, g, pass)
    }

    fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()> {
        self.update(x, d, learning_rate)
    }

    fn set_bias_input(&mut self, bias_input: f32) -> Result<()> {
        self.set_bias_input(bias_input)
    }

    fn after_step(&mut self) -> Result<()> {
        if self.spec().diffuses() {
            self.diffuse()?;
        }
        if self.spec().decays() { self.decay(1.0) } else { Ok(()) }
    }

    fn clips_outputs(&self) -> bool {
        self.config().forward.clips_outputs()
    }
}
