//! The whole configuration of a tile, and its JSON text.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{IoParameters, UpdateParameters};
use crate::devices::DeviceConfig;
use crate::error::{Error, Result};

/// Everything the kernels of one tile need to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
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
    /// Such devices, with default parameters of all else.
    #[must_use]
    pub fn new(device: DeviceConfig) -> Self {
        Self { device, ..Self::default() }
    }

    /// The same with what `change` changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Reads and validates a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = read_json(text)?;
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

/// Reads a configuration, without a look at its values.
///
/// # Errors
/// [`Error::Config`] naming the field.
pub(crate) fn read_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let config = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| Error::config(field(error.path()), error.inner().to_string()))?;
    reader.end().map_err(|error| Error::config("config", error.to_string()))?;
    Ok(config)
}

/// Dotted path of the field at which reading failed; the whole text where it has none.
fn field(path: &serde_path_to_error::Path) -> String {
    let path = path.to_string();
    if path.chars().all(|c| c == '?' || c == '.') { "config".to_owned() } else { path }
}
