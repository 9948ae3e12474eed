//! Strict configuration: unknown fields, wrong types and impossible values are errors that name
//! the field.
//!
//! Names, defaults and choices equal those of the Python dataclasses. Infinity is written as JSON
//! `null`, for JSON has no infinity.

mod io;
mod macros;
pub(crate) mod real;
mod update;

use serde::{Deserialize, Serialize};

pub use io::{AnalogMvType, BoundManagement, IoParameters, NoiseManagement, WeightNoise};
pub(crate) use macros::params;
pub use update::{PulseType, UpdateParameters};

use crate::devices::DeviceConfig;
use crate::error::{Error, Result};

/// Everything the kernels of one tile need to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct TileConfig {
    /// Device at each crosspoint.
    pub device: DeviceConfig,
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

impl TileConfig {
    /// Reads and validates a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field.
    pub fn from_json(text: &str) -> Result<Self> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let config: Self = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| Error::config(field(error.path()), error.inner().to_string()))?;
        reader.end().map_err(|error| Error::config("config", error.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// Canonical JSON text.
    ///
    /// # Errors
    /// [`Error::Config`] when a value cannot be written.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::config("config", error.to_string()))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.forward.validate("forward")?;
        self.backward.validate("backward")?;
        self.update.validate("update")?;
        self.device.validate("device")
    }
}

/// Dotted path of the field at which reading failed; the whole text where it has none.
fn field(path: &serde_path_to_error::Path) -> String {
    let path = path.to_string();
    if path.chars().all(|c| c == '?' || c == '.') { "config".to_owned() } else { path }
}

/// Checks that a value is finite.
pub(crate) fn finite(path: &str, field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value.abs() <= f64::from(f32::MAX) {
        return Ok(());
    }
    Err(Error::config(
        format!("{path}.{field}"),
        format!("must be finite and within f32, got {value}"),
    ))
}

/// Checks `condition` of a field.
pub(crate) fn require(
    condition: bool,
    path: &str,
    field: &str,
    why: impl Into<String>,
) -> Result<()> {
    if condition { Ok(()) } else { Err(Error::config(format!("{path}.{field}"), why)) }
}
