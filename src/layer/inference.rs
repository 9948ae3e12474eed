//! A fully connected layer that was trained, on tiles whose weights are programmed and drift.

use std::ops::Range;

use super::linear::whole;
use super::part::{Lines, Sum, bias_input};
use crate::error::Result;
use crate::inference::InferenceTile;
use crate::memory;
use crate::mvm::periphery::{self, Outputs};

/// A layer `y = W x + b` for inference: tiles with the scales, input ranges and bias of a saved layer, in
/// evaluation mode. Its weights are programmed with the errors of the noise model and drift.
///
/// ```no_run
/// use mho_core::layer::InferenceLinear;
/// use mho_core::state::SavedModel;
///
/// // A folder that `save_analog` of the Python package has written.
/// let model = SavedModel::open("checkpoint")?;
/// let mut layer = InferenceLinear::from_saved(&model.layers["fc"], 42)?;
/// let x = vec![0.5; layer.in_features()];
/// println!("{:?} as it was trained", layer.forward(&x)?);
/// layer.drift_weights(365.0 * 24.0 * 3600.0)?;
/// println!("{:?} after a year on a chip", layer.forward(&x)?);
/// # Ok::<(), mho_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct InferenceLinear {
    pub(super) in_features: usize,
    pub(super) out_features: usize,
    /// By input part, then by output part.
    pub(super) parts: Vec<InferencePart>,
    /// Added once, one per output; empty for none.
    pub(super) bias: Vec<f32>,
}

/// A tile and what is digital around it.
#[derive(Debug, Clone)]
pub(super) struct InferencePart {
    pub tile: InferenceTile,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// Range to which inputs are clipped and by which they are divided.
    pub range: Option<f32>,
    /// Factors on outputs: each one number, or one per output.
    pub factors: Vec<Vec<f32>>,
    /// One per output; empty for none.
    pub bias: Vec<f32>,
    /// Whether the last column of the tile is the bias.
    pub analog_bias: bool,
}

impl InferencePart {
    /// Adds the outputs for inputs of the layer to `sum`, those of the layer.
    fn forward(&mut self, x: Lines<'_>, sum: Sum<'_>) -> Result<()> {
        let mut seen = x.cut(&self.columns)?;
        let r = self.range.unwrap_or(1.0);
        if self.range.is_some() {
            let given = memory::copied(&seen)?;
            periphery::enter(&given, r, &mut seen)?;
        }
        if self.analog_bias {
            seen = with_bias_input(&seen, self.columns.len(), bias_input(r))?;
        }
        let rows = self.rows.len();
        let mut out = memory::filled(0.0, x.samples() * rows)?;
        self.tile.forward(&seen, &mut out)?;
        let range = [r];
        let mut factors: Vec<&[f32]> = Vec::with_capacity(1 + self.factors.len());
        factors.push(&range);
        factors.extend(self.factors.iter().map(Vec::as_slice));
        Outputs { factors: &factors, offset: &self.bias }.apply(&mut out, rows)?;
        sum.add(&self.rows, &out);
        Ok(())
    }
}

/// Samples of `width` inputs with one more, that of an analog bias.
fn with_bias_input(x: &[f32], width: usize, bias_input: f32) -> Result<Vec<f32>> {
    let mut longer = memory::room(x.len() / width * (width + 1))?;
    for row in x.chunks_exact(width) {
        longer.extend_from_slice(row);
        longer.push(bias_input);
    }
    Ok(longer)
}

impl InferenceLinear {
    /// Number of inputs.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Number of outputs.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// The tiles, by input part, then by output part. An analog bias is their last input.
    pub fn tiles(&self) -> impl Iterator<Item = &InferenceTile> {
        self.parts.iter().map(|part| &part.tile)
    }

    /// Outputs `[samples, out_features]` for inputs `[samples, in_features]`, with the noise of the products.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for inputs that are no whole samples, else as
    /// [`InferenceTile::forward`].
    pub fn forward(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        let samples = whole("x", x.len(), self.in_features)?;
        let mut y = memory::filled(0.0, samples * self.out_features)?;
        for part in &mut self.parts {
            let sum = Sum { values: &mut y, width: self.out_features };
            part.forward(Lines { values: x, width: self.in_features }, sum)?;
        }
        Outputs { factors: &[], offset: &self.bias }.apply(&mut y, self.out_features)?;
        Ok(y)
    }

    /// Programs the weights of all tiles, see [`InferenceTile::program_weights`].
    ///
    /// # Errors
    /// As there; the layer is then as before.
    pub fn program_weights(&mut self) -> Result<()> {
        self.each_tile(InferenceTile::program_weights)
    }

    /// Lets the weights of all tiles drift for `t_inference` seconds after programming, and corrects the
    /// outputs, see [`InferenceTile::drift_weights`].
    ///
    /// # Errors
    /// As there; the layer is then as before.
    pub fn drift_weights(&mut self, t_inference: f64) -> Result<()> {
        self.each_tile(|tile| tile.drift_weights(t_inference))
    }

    /// Changes all tiles, or none after an error.
    fn each_tile(&mut self, change: impl Fn(&mut InferenceTile) -> Result<()>) -> Result<()> {
        let mut parts = self.parts.clone();
        parts.iter_mut().try_for_each(|part| change(&mut part.tile))?;
        self.parts = parts;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::TileConfig;
    use crate::devices::{DeviceConfig, Ideal};
    use crate::inference::InferenceConfig;
    use crate::tile::{Pass, Tile};

    /// The last column of a tile sees what that of a tile with an analog bias does, noise included.
    #[test]
    fn an_analog_bias_is_an_input() {
        let weights = [0.5, -0.25, 0.75, 0.125, 0.25, -0.5];
        let config =
            TileConfig { device: DeviceConfig::Ideal(Ideal::default()), ..TileConfig::default() };
        let mut with = Tile::with_analog_bias(2, 2, &config, 3).unwrap();
        with.set_weights(&weights).unwrap();
        with.set_bias_input(bias_input(2.0)).unwrap();
        let (x, mut expected) = ([0.25, -0.75, 0.0, 1.0], [0.0; 4]);
        with.forward(&x, &mut expected, Pass::Test).unwrap();

        let mut plain = Tile::new(2, 3, &config, 3).unwrap();
        plain.set_weights(&weights).unwrap();
        let tile = InferenceTile::from_tile(plain, &InferenceConfig::default(), 1).unwrap();
        let part = InferencePart {
            tile,
            rows: 0..2,
            columns: 0..2,
            range: Some(2.0),
            factors: Vec::new(),
            bias: Vec::new(),
            analog_bias: true,
        };
        let mut layer = InferenceLinear {
            in_features: 2,
            out_features: 2,
            parts: vec![part],
            bias: Vec::new(),
        };
        let found = layer.forward(&x.map(|x| 2.0 * x)).unwrap();
        assert_eq!(found, expected.map(|y| 2.0 * y));
    }
}
