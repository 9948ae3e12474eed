//! Interface of the conversion between weights and conductances.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::config::finite;
use crate::error::{Error, Result, shown};

/// Smallest largest weight that a scale is computed from, so that zero matrices convert too.
pub(super) const ZERO: f32 = 1e-7;

/// Maps a matrix of weights to the conductances of one or more devices per weight, and back.
///
/// All conductances are in microsiemens (µS). Weights are `[out, in]` row-major.
pub trait ConductanceConverter: Debug + Send + Sync {
    /// Largest conductance of a device, in µS.
    fn g_max(&self) -> f64;

    /// Smallest conductance of a device, in µS.
    fn g_min(&self) -> f64;

    /// Number of devices per weight.
    fn devices(&self) -> usize;

    /// Checks every value; `path` is where the converter stands.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    fn validate(&self, path: &str) -> Result<()>;

    /// The conductances that stand for `weights`, rows of `columns`.
    ///
    /// # Errors
    /// [`Error::Memory`], or that a weight has no conductance.
    fn convert_to_conductances(&self, weights: &[f32], columns: usize) -> Result<Conductances>;

    /// The weights that `conductances`, one matrix in µS per device of a weight, stand for.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of devices or of values, [`Error::Memory`].
    fn convert_back_to_weights(
        &self,
        conductances: &[Vec<f32>],
        columns: usize,
        params: &Scale,
    ) -> Result<Vec<f32>>;
}

/// What weights were converted to.
#[derive(Debug, Clone, PartialEq)]
pub struct Conductances {
    /// One matrix in µS per device of a weight, shaped as the weights.
    pub values: Vec<Vec<f32>>,
    /// What brings them back.
    pub params: Scale,
}

/// What converting back needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scale {
    /// Conductance per weight, in µS.
    pub scale_ratio: f32,
    /// Weight at the smallest conductance, of converters that have one.
    pub min: f32,
    /// The weights themselves, of converters that keep their signs.
    pub original_weights: Vec<f32>,
}

impl Scale {
    /// A conductance per weight, and nothing else.
    #[must_use]
    pub fn new(scale_ratio: f32) -> Self {
        Self { scale_ratio, ..Self::default() }
    }
}

/// Checks the limits of a device.
pub(super) fn check_range(path: &str, g_min: f64, g_max: f64) -> Result<()> {
    for (field, value) in [("g_min", g_min), ("g_max", g_max)] {
        finite(path, field, value)?;
        if value < 0.0 {
            let why = format!("must not be negative, got {}", shown(value));
            return Err(Error::config(format!("{path}.{field}"), why));
        }
    }
    if g_min < g_max {
        return Ok(());
    }
    let why = format!("must be below g_max, got {} and {}", shown(g_min), shown(g_max));
    Err(Error::config(format!("{path}.g_min"), why))
}

/// Conductance per weight that maps the largest absolute weight to `g_span`.
pub(super) fn weight_scale(weights: &[f32], g_span: f32) -> f32 {
    let largest = weights.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    g_span / largest.max(ZERO)
}

/// Checks that there are `devices` matrices of equal size, and returns that.
pub(super) fn check_devices(conductances: &[Vec<f32>], devices: usize) -> Result<usize> {
    if conductances.len() != devices {
        return Err(Error::Shape {
            argument: "conductances",
            expected: format!("{devices} matrices, one per device of a weight"),
            got: conductances.len().to_string(),
        });
    }
    let len = conductances.first().map_or(0, Vec::len);
    conductances.iter().try_for_each(|g| Error::check_len("conductances", g.len(), len))?;
    Ok(len)
}
