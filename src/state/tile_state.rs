//! All of a tile that its next calls depend on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{AnyConfig, Steps};
use super::names;
use super::tensor::{Tensor, Values};
use crate::error::{Error, Result};

/// All of a tile that its next calls depend on: a tile that is made of it goes on with the same bits.
///
/// Entries have the names, types and shapes that they have in the state of a tile in Python, without the
/// name of the layer around it:
///
/// | name | holds |
/// | --- | --- |
/// | `analog_tile_weights` | raw weights, `F32 [d_size, x_size]` |
/// | `analog_tile_hidden.<name>` | hidden parameters that are not constant, weights and buffers of the devices of a cell, as the weights |
/// | `analog_tile_cell.<name>` | counters, signs, averages and frozen values of a cell, one axis |
/// | `analog_tile_forward.<name>`, `analog_tile_backward.<name>` | frozen values of the products, `F32`, one axis |
/// | `analog_tile_drift.<name>` | clocks `F64` and weights `F32`, from the first drift on |
/// | `analog_tile_pulse_counters` | pulses down and up, `I64 [2, d_size, x_size]`, where they are counted |
/// | `analog_tile_seed`, `analog_tile_calls` | position in the random numbers, `I64 [1]` each |
///
/// It is plain data for any format of serde. What is wrong with it is found out by
/// [`Tile::from_state`](crate::Tile::from_state) and its like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TileState {
    /// The configuration.
    pub config: AnyConfig,
    /// Mean step of the devices instead of that of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dw_min: Option<Steps>,
    /// Whether the last column is that of an analog bias.
    pub analog_bias: bool,
    /// Tensors by name.
    pub entries: BTreeMap<String, Tensor>,
}

impl TileState {
    /// A state; nothing is checked.
    #[must_use]
    pub fn new(
        config: AnyConfig,
        dw_min: Option<Steps>,
        analog_bias: bool,
        entries: BTreeMap<String, Tensor>,
    ) -> Self {
        Self { config, dw_min, analog_bias, entries }
    }

    /// Rows and columns, by the shape of the weights.
    ///
    /// # Errors
    /// [`Error::State`] without weights that have two axes.
    pub fn sizes(&self) -> Result<[usize; 2]> {
        let Some(weights) = self.entries.get(names::WEIGHTS) else {
            return Err(missing(names::WEIGHTS));
        };
        match weights.shape[..] {
            [d_size, x_size] => Ok([d_size, x_size]),
            _ => Err(refused(names::WEIGHTS, weights, "F32 of two axes")),
        }
    }

    pub(super) fn put(&mut self, name: impl Into<String>, shape: &[usize], values: Values) {
        self.entries.insert(name.into(), Tensor { shape: shape.to_vec(), values });
    }

    pub(super) fn put_vector(&mut self, name: impl Into<String>, values: Values) {
        self.entries.insert(name.into(), Tensor::vector(values));
    }
}

/// A state whose entries are taken one after another; what is left in the end belongs to no such tile.
pub(super) struct Entries<'a>(BTreeMap<&'a str, &'a Tensor>);

/// Types that entries have.
pub(super) trait Element: Copy {
    const DTYPE: &'static str;

    fn of(values: &Values) -> Option<&[Self]>;
}

macro_rules! elements {
    ($($kind:ident $type:ty),*) => {$(
        impl Element for $type {
            const DTYPE: &'static str = stringify!($kind);

            fn of(values: &Values) -> Option<&[Self]> {
                if let Values::$kind(values) = values { Some(values) } else { None }
            }
        }
    )*};
}

elements!(F32 f32, F64 f64, I64 i64, I8 i8);

impl<'a> Entries<'a> {
    /// # Errors
    /// [`Error::Unsupported`] where devices or rules are Python code.
    pub(super) fn new(state: &'a TileState) -> Result<Self> {
        let group = |name: &'a String| name.split('.').next().unwrap_or_default();
        if let Some(name) =
            state.entries.keys().find(|name| names::OF_PYTHON.contains(&group(name)))
        {
            let why = "the devices or the rule of this tile are Python code; load it in Python";
            return Err(Error::unsupported(name, why));
        }
        Ok(Self(state.entries.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()))
    }

    /// The values of an entry that may be absent.
    ///
    /// # Errors
    /// [`Error::State`] for another type or shape.
    pub(super) fn find<T: Element>(
        &mut self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<&'a [T]>> {
        let Some(tensor) = self.0.remove(name) else { return Ok(None) };
        let values = T::of(&tensor.values).filter(|_| tensor.shape == shape && tensor.is_filled());
        let expected = || format!("{} of shape {shape:?}", T::DTYPE);
        values.map(Some).ok_or_else(|| refused(name, tensor, &expected()))
    }

    /// The values of an entry.
    ///
    /// # Errors
    /// As [`Entries::find`], or it is missing.
    pub(super) fn take<T: Element>(&mut self, name: &str, shape: &[usize]) -> Result<&'a [T]> {
        self.find(name, shape)?.ok_or_else(|| missing(name))
    }

    /// The floats of an entry, all of them finite.
    ///
    /// # Errors
    /// As [`Entries::take`], or one is not finite.
    pub(super) fn take_finite(&mut self, name: &str, shape: &[usize]) -> Result<&'a [f32]> {
        let values = self.take::<f32>(name, shape)?;
        check_finite(name, values.iter().all(|value| value.is_finite()))?;
        Ok(values)
    }

    /// Whether there is an entry of a group.
    pub(super) fn has_group(&self, group: &str) -> bool {
        let start = names::in_group(group, "");
        self.0.keys().any(|name| name.starts_with(&start))
    }

    /// Seed and number of calls.
    ///
    /// # Errors
    /// [`Error::State`].
    pub(super) fn position(&mut self) -> Result<(u64, u64)> {
        /// No tile reaches it, and from it none gets to the end of 63 bits.
        const MOST: i64 = 1 << 62;
        let seed = self.take::<i64>(names::SEED, &[1])?[0];
        let calls = self.take::<i64>(names::CALLS, &[1])?[0];
        if !(0..=MOST).contains(&calls) {
            let why = format!("{}: expected 0 to 2^62 calls, got {calls}", names::CALLS);
            return Err(Error::State { why });
        }
        Ok((seed as u64, calls as u64))
    }

    /// # Errors
    /// [`Error::State`] for what was not taken.
    pub(super) fn finish(self, device: &str) -> Result<()> {
        let Some(name) = self.0.keys().next() else { return Ok(()) };
        let why = format!("{name}: a tile with {device} and this configuration has no such entry");
        Err(Error::State { why })
    }
}

/// # Errors
/// [`Error::State`] unless `is_finite`.
pub(super) fn check_finite(name: &str, is_finite: bool) -> Result<()> {
    let why = || format!("{name}: values must be finite; found NaN or infinity");
    if is_finite { Ok(()) } else { Err(Error::State { why: why() }) }
}

/// Refuses weights that no device of these can have: `inside` are the given ones, clipped to the bounds.
///
/// Clipping is exact, but bounds that a reference shifts are computed, on the machine that saved and on this
/// one: two roundings of at most 2^-24 each. `further` is what else may differ.
///
/// # Errors
/// [`Error::State`].
pub(super) fn check_bounds(name: &str, given: &[f32], inside: &[f32], further: f32) -> Result<()> {
    const ROUNDING: f32 = 1.0 / (1 << 22) as f32;
    let is_outside = |(given, inside): &(&f32, &f32)| {
        let limit = inside.abs() * ROUNDING + f32::MIN_POSITIVE + further;
        (*given - *inside).abs() > limit
    };
    let outside = given.iter().zip(inside).filter(is_outside).count();
    if outside == 0 {
        return Ok(());
    }
    let why = format!(
        "{name}: {outside} of {} weights are outside of the bounds of their devices; the state was \
         changed after it was saved",
        given.len()
    );
    Err(Error::State { why })
}

/// What a state lacks.
pub(super) fn missing(name: &str) -> Error {
    Error::State { why: format!("{name} is missing") }
}

fn refused(name: &str, tensor: &Tensor, expected: &str) -> Error {
    Error::State { why: format!("{name}: expected {expected}, got {}", tensor.describe()) }
}

/// An error of a check with the name of what was checked.
pub(super) fn named(name: &str) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Argument { argument, why } => {
            Error::State { why: format!("{name}.{argument}: {why}") }
        }
        Error::Shape { argument, expected, got } => {
            Error::State { why: format!("{name}.{argument}: expected {expected}, got {got}") }
        }
        Error::State { why } => Error::State { why: format!("{name}: {why}") },
        other => other,
    }
}
