//! A fully connected layer.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::part::{Lines, Part, Sum};
use super::range::InputRange;
use super::raw_tile::{RawTile, TileShape};
use super::scales::Scales;
use crate::config::{
    InputRangeParameter, MappingParameter, TileConfig, check_factor, params, require,
};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Key, derived};
use crate::tile::{Pass, Tile, fill_uniform};

/// How the weights of a layer learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Learning {
    /// In memory: the tiles get inputs and errors, from which they make their updates.
    InMemory,
    /// Digitally, by plain gradient descent on the weights, as hardware-aware training does: forward and backward
    /// passes are analog, the weights are not. Needs tiles with exact updates.
    Gradient,
}

params! {
    /// What is digital in a layer.
    pub struct LinearParameters {
        /// Whether there is a bias.
        bias: bool = true;
        /// How weights are put on tiles.
        mapping: MappingParameter = MappingParameter::default();
        /// Input ranges of the tiles.
        input_range: InputRangeParameter = InputRangeParameter::default();
        /// How the weights learn.
        learning: Learning = Learning::InMemory;
    }
}

impl LinearParameters {
    fn validate(&self) -> Result<()> {
        self.mapping.validate("mapping")?;
        self.input_range.validate("input_range")
    }
}

/// A layer `y = W x + b` whose product is computed by one tile or by an array of tiles, with a bias, mapping
/// scales and input ranges, as `AnalogLinear` of the Python package.
///
/// ```
/// use mho_core::layer::{Linear, LinearParameters};
/// use mho_core::{TileConfig, tile::Pass};
///
/// let mut layer = Linear::new(3, 2, &TileConfig::default(), &LinearParameters::default(), 42)?;
/// let x = [1.0, 0.5, -1.0];
/// let y = layer.forward(&x, Pass::Train)?;
/// // The gradient of half the squared outputs; what comes back is that of the inputs.
/// let g = layer.backward(&y)?;
/// assert_eq!((y.len(), g.len()), (2, 3));
/// layer.step(0.1)?;
/// # Ok::<(), mho_core::Error>(())
/// ```
///
/// `T` is the kind of tile: [`Tile`], a cell tile, or one of your own, see [`RawTile`].
#[derive(Debug, Clone)]
pub struct Linear<T = Tile> {
    in_features: usize,
    out_features: usize,
    parameters: LinearParameters,
    /// Tiles by input part, then by output part.
    parts: Vec<Part<T>>,
    bias: Option<Bias>,
    /// Samples of the last training pass that have had no backward pass.
    open: Option<usize>,
}

/// A digital bias and its gradient.
#[derive(Debug, Clone)]
struct Bias {
    values: Vec<f32>,
    gradient: Vec<f32>,
}

impl Linear<Tile> {
    /// A layer on tiles with devices of `config`. Initial weights and bias are uniform in `+-1/sqrt(in_features)`,
    /// limited by the bounds of the devices; everything random follows from `seed`.
    ///
    /// # Errors
    /// As [`Tile::new`]; [`Error::Config`] naming the field of `parameters`.
    pub fn new(
        in_features: usize,
        out_features: usize,
        config: &TileConfig,
        parameters: &LinearParameters,
        seed: u64,
    ) -> Result<Self> {
        parameters.input_range.check_observed("input_range", &config.forward)?;
        Self::with_tiles(in_features, out_features, parameters, seed, |shape| shape.tile(config))
    }
}

impl<T: RawTile> Linear<T> {
    /// A layer on tiles that `make` makes, else as [`Linear::new`].
    ///
    /// # Errors
    /// Those of `make`, [`Error::Config`] naming the field of `parameters`, [`Error::Argument`] for sizes,
    /// [`Error::Shape`] for a tile of another size.
    pub fn with_tiles(
        in_features: usize,
        out_features: usize,
        parameters: &LinearParameters,
        seed: u64,
        mut make: impl FnMut(TileShape) -> Result<T>,
    ) -> Result<Self> {
        for (argument, size) in [("in_features", in_features), ("out_features", out_features)] {
            if size == 0 || u32::try_from(size).is_err() {
                let why = format!("must be between 1 and 2^32 - 1, got {size}");
                return Err(Error::Argument { argument, why });
            }
        }
        if in_features.checked_mul(out_features).is_none() {
            return Err(Error::Memory { bytes: usize::MAX });
        }
        let LinearParameters { bias, mapping, input_range, learning } = parameters;
        parameters.validate()?;
        let columns = split(in_features, mapping.max_input_size);
        let rows = split(out_features, mapping.max_output_size);
        let analog_bias = *bias && !mapping.digital_bias && columns.len() * rows.len() == 1;
        let mut parts = Vec::new();
        for columns in &columns {
            for rows in &rows {
                let sizes = [rows.len(), columns.len()];
                let shape = TileShape::new(sizes, analog_bias, derived(seed, parts.len() as u64));
                let tile = make(shape)?;
                Error::check_len("d_size", tile.d_size(), sizes[0])?;
                let columns_with_bias = sizes[1] + usize::from(analog_bias);
                Error::check_len("x_size", tile.x_size(), columns_with_bias)?;
                let why = "layers that learn have no learned output scales; set it to false, and \
                           weight_scaling_omega for scales that follow the weights";
                if mapping.learn_out_scaling && tile.learns() {
                    return Err(Error::unsupported("mapping.learn_out_scaling", why));
                }
                let exact = *learning == Learning::InMemory || tile.is_exact();
                let why = "Gradient needs tiles with exact updates; use a device of that kind";
                require(exact, "parameters", "learning", why)?;
                let range = InputRange::new(input_range);
                let place = [rows.clone(), columns.clone()];
                parts.push(Part::new(tile, place, range, analog_bias));
            }
        }
        let bias = (*bias && !analog_bias)
            .then(|| {
                let values = memory::filled(0.0, out_features)?;
                Ok(Bias { gradient: memory::copied(&values)?, values })
            })
            .transpose()?;
        let parameters = parameters.clone();
        let mut layer = Self { in_features, out_features, parameters, parts, bias, open: None };
        layer.reset_parameters(seed)?;
        Ok(layer)
    }

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

    /// What is digital.
    #[must_use]
    pub fn parameters(&self) -> &LinearParameters {
        &self.parameters
    }

    /// The tiles, by input part, then by output part.
    pub fn tiles(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().map(|part| &part.tile)
    }

    /// The tiles, to change them.
    pub fn tiles_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.parts.iter_mut().map(|part| &mut part.tile)
    }

    /// Input ranges of the tiles, in their order; none where they are off.
    pub fn input_ranges(&self) -> impl Iterator<Item = &InputRange> {
        self.parts.iter().filter_map(|part| part.range.as_ref())
    }

    /// Input ranges of the tiles, to set them.
    pub fn input_ranges_mut(&mut self) -> impl Iterator<Item = &mut InputRange> {
        self.parts.iter_mut().filter_map(|part| part.range.as_mut())
    }

    /// Mapping scales of the tiles, in their order: none, one, or one per output of the tile.
    pub fn mapping_scales(&self) -> impl Iterator<Item = &[f32]> {
        self.parts.iter().map(|part| part.scales.values())
    }

    /// Sets the mapping scales of the tile with this number; the raw weights stay.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number beyond that of tiles and for scales that are not positive and finite,
    /// [`Error::Shape`] unless there is none, one, or one per output of the tile.
    pub fn set_mapping_scales(&mut self, tile: usize, scales: &[f32]) -> Result<()> {
        let count = self.parts.len();
        let Some(part) = self.parts.get_mut(tile) else {
            let why = format!("must be below the number of tiles {count}, got {tile}");
            return Err(Error::Argument { argument: "tile", why });
        };
        part.scales = Scales::given(scales, part.rows.len(), &self.parameters.mapping)?;
        Ok(())
    }

    /// Weights of the layer: raw ones times the mapping scales, `[out_features, in_features]`.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn weights(&self) -> Result<Vec<f32>> {
        let mut weights = memory::filled(0.0, self.in_features * self.out_features)?;
        for part in &self.parts {
            let columns = part.columns.len();
            for (at, row) in part.tile.weights().chunks_exact(part.tile.x_size()).enumerate() {
                let first = (part.rows.start + at) * self.in_features + part.columns.start;
                let scale = part.scales.at(at);
                let out = weights[first..first + columns].iter_mut();
                out.zip(row).for_each(|(out, w)| *out = scale * w);
            }
        }
        Ok(weights)
    }

    /// The bias, `[out_features]`; `None` without one.
    #[must_use]
    pub fn bias(&self) -> Option<Vec<f32>> {
        if let Some(bias) = &self.bias {
            return Some(bias.values.clone());
        }
        let part = self.parts.first().filter(|part| part.analog_bias)?;
        let rows = part.tile.weights().chunks_exact(part.tile.x_size()).enumerate();
        Some(rows.map(|(at, row)| row[row.len() - 1] * part.scales.at(at)).collect())
    }

    /// Writes the weights, `[out_features, in_features]`, with new mapping scales, and the bias: a digital one
    /// stays if it is not given. Devices clip to their bounds.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for a wrong number of values, values that are not finite, or an
    /// analog bias that is missing; the layer is then as before.
    pub fn set_weights(&mut self, weights: &[f32], bias: Option<&[f32]>) -> Result<()> {
        Error::check_len("weights", weights.len(), self.in_features * self.out_features)?;
        Error::check_finite("weights", weights)?;
        let analog_bias = self.parts.iter().any(|part| part.analog_bias);
        match bias {
            Some(bias) => {
                Error::check_len("bias", bias.len(), self.out_features)?;
                Error::check_finite("bias", bias)?;
            }
            None if analog_bias => {
                let why = "is required, the tile has an analog bias".to_owned();
                return Err(Error::Argument { argument: "bias", why });
            }
            None => {}
        }
        let mut raw = Vec::new();
        for part in &self.parts {
            raw.push(self.raw_weights(part, weights, bias.unwrap_or(&[]))?);
        }
        for (part, (raw, scales)) in self.parts.iter_mut().zip(raw) {
            part.tile.set_weights(&raw)?;
            part.scales = scales;
            part.forget();
        }
        self.open = None;
        if let (Some(bias), Some(own)) = (bias, &mut self.bias) {
            own.values.copy_from_slice(bias);
        }
        Ok(())
    }

    /// Raw weights of a tile and their scales.
    fn raw_weights(
        &self,
        part: &Part<T>,
        weights: &[f32],
        bias: &[f32],
    ) -> Result<(Vec<f32>, Scales)> {
        let mut raw = memory::room(part.tile.d_size() * part.tile.x_size())?;
        for row in part.rows.clone() {
            let first = row * self.in_features;
            raw.extend_from_slice(&weights[first + part.columns.start..first + part.columns.end]);
            if part.analog_bias {
                raw.extend(bias.get(row));
            }
        }
        let scales = Scales::of(&raw, part.rows.len(), &self.parameters.mapping)?;
        for (at, row) in raw.chunks_exact_mut(part.tile.x_size()).enumerate() {
            row.iter_mut().for_each(|w| *w /= scales.at(at));
        }
        Error::check_finite("weights", &raw)?;
        Ok((raw, scales))
    }

    /// Draws new weights and a new bias, uniform in `+-1/sqrt(in_features)`.
    ///
    /// # Errors
    /// [`Error::Memory`], or what tiles may raise.
    pub fn reset_parameters(&mut self, seed: u64) -> Result<()> {
        let limit = 1.0 / (self.in_features as f32).sqrt();
        let count = self.in_features * self.out_features;
        let mut drawn = memory::filled(0.0, count + self.out_features)?;
        // Calls of tiles begin with 1.
        fill_uniform(&mut drawn, -limit, limit, Key::new(seed, 0))?;
        let (weights, bias) = drawn.split_at(count);
        self.set_weights(weights, self.parameters.bias.then_some(bias))
    }

    /// Outputs `[samples, out_features]` for inputs `[samples, in_features]`. In training it is kept what
    /// [`Linear::backward`] needs, and input ranges follow the data as their parameters say.
    ///
    /// # Errors
    /// [`Error::Shape`] for inputs that are no whole samples, [`Error::Unsupported`] for training with tiles that do
    /// not learn, [`Error::Memory`], or what tiles may raise.
    pub fn forward(&mut self, x: &[f32], pass: Pass) -> Result<Vec<f32>> {
        if pass == Pass::Train {
            self.check_learns("Pass::Train")?;
        }
        let samples = whole("x", x.len(), self.in_features)?;
        let mut y = memory::filled(0.0, samples * self.out_features)?;
        for part in &mut self.parts {
            let sum = Sum { values: &mut y, width: self.out_features };
            part.forward(Lines { values: x, width: self.in_features }, sum, pass)?;
        }
        if let Some(bias) = &self.bias {
            for row in y.chunks_exact_mut(self.out_features) {
                row.iter_mut().zip(&bias.values).for_each(|(y, bias)| *y += bias);
            }
        }
        if pass == Pass::Train {
            self.open = Some(samples);
        }
        Ok(y)
    }

    /// Gradients of the inputs, `[samples, in_features]`, from those of the outputs of the last training pass,
    /// `[samples, out_features]`. Inputs and errors are kept for [`Linear::step`]; several passes add up.
    ///
    /// No gradient passes through outputs that were clipped, and it passes straight through clipped inputs.
    ///
    /// # Errors
    /// [`Error::Argument`] without a training pass before it and for values that are not finite,
    /// [`Error::Shape`] for another number of samples; nothing is changed then. [`Error::Memory`], or what
    /// tiles may raise; what was kept for this step is dropped then.
    pub fn backward(&mut self, d: &[f32]) -> Result<Vec<f32>> {
        let Some(samples) = self.open else {
            let why = "belongs to no forward pass; call forward with Pass::Train before".to_owned();
            return Err(Error::Argument { argument: "d", why });
        };
        Error::check_len("d", d.len(), samples * self.out_features)?;
        Error::check_finite("d", d)?;
        self.open = None;
        let result = self.gradients(d, samples);
        if result.is_err() {
            self.forget();
        }
        result
    }

    fn gradients(&mut self, d: &[f32], samples: usize) -> Result<Vec<f32>> {
        let mut g = memory::filled(0.0, samples * self.in_features)?;
        let follows = self.parameters.learning == Learning::Gradient;
        for part in &mut self.parts {
            let sum = Sum { values: &mut g, width: self.in_features };
            part.backward(Lines { values: d, width: self.out_features }, sum, follows)?;
        }
        if let Some(Bias { gradient, .. }) = &mut self.bias {
            for row in d.chunks_exact(self.out_features) {
                gradient.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
            }
        }
        Ok(g)
    }

    /// Updates weights, bias and input ranges with what the backward passes since the last step have kept:
    /// the tiles by their own means, in the order of the samples, the others by plain gradient descent. Then devices
    /// decay and diffuse if they do.
    ///
    /// # Errors
    /// [`Error::Argument`] for a learning rate that is negative or beyond f32, [`Error::Unsupported`] for tiles that
    /// do not learn; nothing is changed then.
    /// [`Error::Memory`], [`Error::Interrupted`] or what tiles may raise: each tile is updated or as before then,
    /// and what was kept is dropped.
    pub fn step(&mut self, learning_rate: f64) -> Result<()> {
        check_factor("learning_rate", learning_rate)?;
        self.check_learns("step")?;
        let mut result = Ok(());
        for part in &mut self.parts {
            result = result.and_then(|()| part.step(learning_rate));
        }
        if let (Ok(()), Some(Bias { values, gradient })) = (&result, &mut self.bias) {
            for (value, gradient) in values.iter_mut().zip(gradient) {
                let next = f64::from(*value) - learning_rate * f64::from(*gradient);
                *value = if (next as f32).is_finite() { next as f32 } else { *value };
            }
        }
        self.forget();
        result
    }

    fn check_learns(&self, feature: &str) -> Result<()> {
        if self.parts.iter().all(|part| part.tile.learns()) {
            return Ok(());
        }
        let why =
            "these tiles do not learn; train a layer on tiles that do, and set its weights here";
        Err(Error::unsupported(feature, why))
    }

    /// Drops what was kept for the next step.
    fn forget(&mut self) {
        self.parts.iter_mut().for_each(Part::forget);
        if let Some(bias) = &mut self.bias {
            bias.gradient.fill(0.0);
        }
        self.open = None;
    }
}

/// Number of whole samples of `width` values.
pub(super) fn whole(argument: &'static str, len: usize, width: usize) -> Result<usize> {
    if len.is_multiple_of(width) {
        return Ok(len / width);
    }
    let (expected, got) = (format!("samples of {width} values"), format!("{len} values"));
    Err(Error::Shape { argument, expected, got })
}

/// Nearly equal parts of an axis, larger ones first; a limit of zero or less is none.
fn split(size: usize, largest: i64) -> Vec<Range<usize>> {
    let largest = usize::try_from(largest).ok().filter(|largest| *largest > 0).unwrap_or(size);
    let count = size.div_ceil(largest);
    let (base, extra) = (size / count, size % count);
    let mut first = 0;
    (0..count)
        .map(|at| {
            let end = first + base + usize::from(at < extra);
            std::mem::replace(&mut first, end)..end
        })
        .collect()
}
