//! Strict configuration: unknown fields, wrong types and impossible values are errors that name
//! the field.
//!
//! Names, defaults and choices equal those of the Python dataclasses. Infinity is written as JSON
//! `null`, for JSON has no infinity.

mod checks;
mod clip;
mod drift;
mod input_range;
mod io;
mod macros;
mod mapping;
mod modifier;
mod pre_post;
pub(crate) mod real;
mod remap;
mod tile;
mod update;

pub use checks::MAX_SIZE;
pub(crate) use checks::{check_factor, check_sizes, finite, require};
pub use clip::{WeightClipParameter, WeightClipType};
pub use drift::{DriftParameters, SimpleDriftParameters};
pub use input_range::InputRangeParameter;
pub use io::{AnalogMvType, BoundManagement, IoParameters, NoiseManagement, WeightNoise};
pub(crate) use macros::params;
pub use mapping::MappingParameter;
pub use modifier::{ModifierParameters, ModifierType};
pub use pre_post::PrePostProcessingParameter;
pub use remap::{WeightRemapParameter, WeightRemapType};
pub use tile::TileConfig;
pub(crate) use tile::read_json;
pub(crate) use update::MAX_SLOTS;
pub use update::{PulseType, UpdateMode, UpdateParameters};
