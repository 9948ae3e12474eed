//! Layers: a matrix of weights of any size on one tile or on several, with what is digital around them.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `raw_tile` | [`RawTile`]: what a layer needs of an array of crosspoints |
//! | `range` | the input range of a tile, which may be learned |
//! | `scales` | mapping scales between raw weights and those of the layer |
//! | `part` | one tile with its range and scales |
//! | `linear` | [`Linear`]: the layer |
//! | `inference_tiles` | the same on tiles whose weights are programmed and drift |
//! | `inference`, `saved` | `InferenceLinear`: a layer that was trained and saved, on such tiles (feature `safetensors`) |
//!
//! Names, defaults and rules are those of `AnalogLinear` in the Python package.

#[cfg(feature = "safetensors")]
mod inference;
mod inference_tiles;
mod linear;
mod part;
mod range;
mod raw_tile;
#[cfg(feature = "safetensors")]
mod saved;
mod scales;

#[cfg(feature = "safetensors")]
pub use inference::InferenceLinear;
pub use linear::{Learning, Linear, LinearParameters};
pub use range::InputRange;
pub use raw_tile::{RawTile, TileShape};
