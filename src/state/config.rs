//! The configuration of a tile, whatever stands at its crosspoints.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{PulseType, TileConfig, read_json};
use crate::devices::{DeviceConfig, Ideal};
use crate::error::Result;
use crate::unit_cells::{CellConfig, CellTileConfig};

/// Configuration of a tile of single devices, or of one of cells of several.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnyConfig {
    /// A device at each crosspoint.
    Devices(TileConfig),
    /// A cell at each crosspoint.
    Cells(CellTileConfig),
}

/// Mean step of the devices instead of that of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Steps {
    /// Of the device.
    Single(f64),
    /// Of each device of a cell.
    Each(Vec<f64>),
}

/// As much of a configuration as tells what stands at the crosspoints.
#[derive(Deserialize)]
struct Kind {
    device: KindOfDevice,
}

#[derive(Deserialize)]
struct KindOfDevice {
    r#type: String,
}

impl AnyConfig {
    /// Reads a configuration, that of a tile of devices checked. Exact updates know no devices: with
    /// `PulseType::None` one ideal weight is in the place of a whole cell.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) or [`Error::Unsupported`](crate::Error::Unsupported) naming
    /// the field.
    pub fn from_json(text: &str) -> Result<Self> {
        let is_cell = serde_json::from_str(text)
            .is_ok_and(|kind: Kind| CellConfig::NAMES.contains(&&*kind.device.r#type));
        if !is_cell {
            return TileConfig::from_json(text).map(Self::Devices);
        }
        Ok(Self::of_cells(read_json(text)?))
    }

    /// Canonical JSON text.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) when a value cannot be written.
    pub fn to_json(&self) -> Result<String> {
        match self {
            Self::Devices(config) => config.to_json(),
            Self::Cells(config) => config.to_json(),
        }
    }

    fn of_cells(config: CellTileConfig) -> Self {
        if config.update.pulse_type != PulseType::None {
            return Self::Cells(config);
        }
        let device = DeviceConfig::Ideal(Ideal::default());
        let CellTileConfig { forward, backward, update, .. } = config;
        Self::Devices(TileConfig { device, forward, backward, update })
    }
}

impl<'de> Deserialize<'de> for AnyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::from_json(&value.to_string()).map_err(D::Error::custom)
    }
}
