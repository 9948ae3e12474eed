//! Tiles in and out: their state as plain data, and the files that the Python package writes and reads.
//!
//! A [`TileState`] is all that the next calls of a tile depend on. It has the names that the state of a
//! tile has in Python and goes through any format of serde. With the feature `safetensors`,
//! [`SavedModel`] opens what Python has saved, and writes what Python loads: on both sides models
//! go on with the same bits.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `names` | names of the entries |
//! | `tensor` | values with a shape |
//! | `config` | the configuration, whatever stands at the crosspoints |
//! | `tile_state`, `parts` | the state, and how entries are taken out of it |
//! | `devices`, `cells` | the state of a [`Tile`](crate::Tile), and of a [`CellTile`](crate::unit_cells::CellTile) |
//! | `any_tile` | either of them |
//! | `header` | what a file says of the configuration of a tile |
//! | `tensor_file` | files of tensors |
//! | `folder` | folders of several files, with a map |
//! | `saved_tile` | a tile of a file, and what is digital around it |
//! | `model` | layers, and what is digital beside them |

mod any_tile;
mod cells;
mod config;
mod devices;
#[cfg(feature = "safetensors")]
mod folder;
#[cfg(feature = "safetensors")]
mod header;
#[cfg(feature = "safetensors")]
mod model;
pub mod names;
mod parts;
#[cfg(feature = "safetensors")]
mod saved_tile;
mod tensor;
#[cfg(feature = "safetensors")]
mod tensor_file;
mod tile_state;

pub use any_tile::AnyTile;
pub use config::{AnyConfig, Steps};
#[cfg(feature = "safetensors")]
pub use model::{SavedLayer, SavedModel};
#[cfg(feature = "safetensors")]
pub use saved_tile::{Periphery, SavedTile};
pub use tensor::{Tensor, Values};
pub use tile_state::TileState;
