//! Layers on tiles whose weights are programmed and drift.

use super::linear::{Linear, LinearParameters};
use super::raw_tile::{RawTile, TileShape};
use crate::error::{Error, Result};
use crate::inference::{InferenceConfig, InferenceTile};
use crate::tile::Pass;

/// What is refused besides products in evaluation.
const NO_TRAINING: &str =
    "tiles for inference do not learn; train a layer on tiles that do, and set its weights here";

impl TileShape {
    /// A tile for inference of these sizes.
    ///
    /// # Errors
    /// As [`InferenceTile::new`]; [`Error::Unsupported`] if it should have an analog bias.
    pub fn inference_tile(self, config: &InferenceConfig) -> Result<InferenceTile> {
        if self.analog_bias {
            let why = "tiles for inference have no analog bias; set it to true";
            return Err(Error::unsupported("mapping.digital_bias = false", why));
        }
        InferenceTile::new(self.outputs, self.inputs, config, self.seed)
    }
}

impl Linear<InferenceTile> {
    /// A layer for evaluation, with the mapping and the input ranges of `config`. Initial weights and bias are as
    /// with [`Linear::new`]; set trained ones, and the ranges that belong to them.
    ///
    /// It does not learn: passes of training and [`Linear::step`] are refused, and what follows them, `modifier`,
    /// `clip`, `remap` and learned output scales, stays as it is in the configuration.
    ///
    /// ```
    /// use mho_core::layer::Linear;
    /// use mho_core::{presets, tile::Pass};
    ///
    /// let config = presets::standard_hwa_training();
    /// let mut layer = Linear::for_inference(3, 2, true, &config, 42)?;
    /// layer.set_weights(&[0.4, -0.2, 0.3, 0.0, 0.1, -0.1], Some(&[0.5, 0.0]))?;
    /// layer.input_ranges_mut().try_for_each(|range| range.set(1.0))?;
    /// layer.tiles_mut().try_for_each(|tile| tile.drift_weights(3600.0))?;
    /// let y = layer.forward(&[1.0, 0.5, -0.5], Pass::Test)?;
    /// assert_eq!(y.len(), 2);
    /// # Ok::<(), mho_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`InferenceTile::new`], [`Error::Unsupported`] for an analog bias.
    pub fn for_inference(
        in_features: usize,
        out_features: usize,
        bias: bool,
        config: &InferenceConfig,
        seed: u64,
    ) -> Result<Self> {
        config.validate()?;
        let parameters = LinearParameters::default().with(|p| {
            p.bias = bias;
            p.mapping = config.mapping.clone();
            p.input_range = config.pre_post.input_range.clone();
        });
        let make = |shape: TileShape| shape.inference_tile(config);
        Self::with_tiles(in_features, out_features, &parameters, seed, make)
    }
}

impl RawTile for InferenceTile {
    fn d_size(&self) -> usize {
        self.tile().spec().d_size()
    }

    fn x_size(&self) -> usize {
        self.tile().spec().x_size()
    }

    fn weights(&self) -> &[f32] {
        self.tile().weights()
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
        if pass == Pass::Train {
            return Err(Error::unsupported("Pass::Train", NO_TRAINING));
        }
        self.forward_masked(x, y, clipped)
    }

    fn backward(&mut self, _d: &[f32], _g: &mut [f32], _pass: Pass) -> Result<()> {
        Err(Error::unsupported("backward", NO_TRAINING))
    }

    fn update(&mut self, _x: &[f32], _d: &[f32], _learning_rate: f64) -> Result<()> {
        Err(Error::unsupported("update", NO_TRAINING))
    }

    fn clips_outputs(&self) -> bool {
        self.config().forward.clips_outputs()
    }

    fn learns(&self) -> bool {
        false
    }
}
