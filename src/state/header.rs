//! What a file says of the configuration of a tile, in the entry `analog_tile_config`.

use serde::{Deserialize, Serialize};

use super::config::{AnyConfig, Steps};
use super::names;
use super::tensor::{Tensor, Values};
use crate::error::{Error, Result};

/// Version of the content; 2 adds what the core needs to know.
const FORMAT: u64 = 2;

/// Classes of tiles that compute in torch.
const OF_TORCH: [&str; 2] = ["TorchInferenceTile", "QuantizedTorchInferenceTile"];

/// Class, configuration and learning rate. Classes and configurations of Python are text that nobody here
/// looks into; a tile that was not made in Python has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: u64,
    mho_version: String,
    tile_class: Option<String>,
    pub(super) learning_rate: Option<f64>,
    rpu_config: Option<String>,
    #[serde(default)]
    core: Option<String>,
    #[serde(default)]
    pub(super) analog_bias: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dw_min: Option<Steps>,
}

/// As much as tells whether the rest can be read.
#[derive(Deserialize)]
struct Version {
    format: u64,
    #[serde(default)]
    mho_version: String,
}

impl Header {
    /// That of a tile that was not made in Python.
    pub(super) fn new(config: &AnyConfig, analog_bias: bool) -> Result<Self> {
        Ok(Self {
            format: FORMAT,
            mho_version: env!("CARGO_PKG_VERSION").to_owned(),
            tile_class: None,
            learning_rate: None,
            rpu_config: None,
            core: Some(config.to_json()?),
            analog_bias,
            dw_min: None,
        })
    }

    /// # Errors
    /// [`Error::State`] for content that is damaged or of another version.
    pub(super) fn read(tensor: &Tensor) -> Result<Self> {
        let damaged = |why: String| Error::State { why: format!("{}: {why}", names::CONFIG) };
        let Values::U8(bytes) = &tensor.values else {
            return Err(damaged(format!("expected U8, got {}", tensor.describe())));
        };
        let version: Version =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if !(1..=FORMAT).contains(&version.format) {
            return Err(damaged(format!(
                "format {} is not supported by mho {}; it was written by mho {}",
                version.format,
                env!("CARGO_PKG_VERSION"),
                version.mho_version
            )));
        }
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))
    }

    /// The header of the same tile with another learning rate and mean step.
    pub(super) fn with(&self, learning_rate: Option<f64>, dw_min: Option<Steps>) -> Self {
        Self { learning_rate, dw_min, ..self.clone() }
    }

    /// The entry.
    pub(super) fn write(&self) -> Result<Tensor> {
        let header = Self {
            format: FORMAT,
            mho_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..self.clone()
        };
        let text = serde_json::to_vec(&header)
            .map_err(|error| Error::State { why: format!("{}: {error}", names::CONFIG) })?;
        Ok(Tensor::vector(Values::U8(text)))
    }

    /// The configuration of the tile.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the file does not have it, [`Error::Config`].
    pub(super) fn config(&self) -> Result<AnyConfig> {
        match &self.core {
            Some(text) => AnyConfig::from_json(text),
            None if self.format < FORMAT => Err(Error::unsupported(
                format!("{} of format {}", names::CONFIG, self.format),
                "it lacks the configuration of the core; load and save the model with a newer mho",
            )),
            None => Err(Error::unsupported(
                self.tile_class.as_deref().unwrap_or("this kind of tile"),
                "the tile, its device or its rule is Python code; load it in Python",
            )),
        }
    }

    /// Configuration of the tile in Python, as JSON text with the names of its classes.
    pub(super) fn rpu_config(&self) -> Option<&str> {
        self.rpu_config.as_deref()
    }

    /// Whether the tile computes in torch, which has other entries.
    pub(super) fn is_of_torch(&self) -> bool {
        self.tile_class.as_deref().is_some_and(|name| OF_TORCH.contains(&name))
    }

    /// Class of the tile in Python.
    pub(super) fn tile_class(&self) -> Option<&str> {
        self.tile_class.as_deref()
    }
}
