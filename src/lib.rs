//! Analog in-memory computing: crossbar tiles whose weights are conductances.
//!
//! A tile multiplies in the analog domain, with converters, noise and wire resistance, and learns
//! in memory by pulses on non-ideal devices. [`Tile`] is such a tile with its weights:
//!
//! ```
//! use mho_core::tile::Pass;
//! use mho_core::{Tile, TileConfig};
//!
//! # fn main() -> mho_core::Result<()> {
//! // Two rows, the outputs, by three columns, the inputs; 42 is the seed of all that is random.
//! let mut tile = Tile::new(2, 3, &TileConfig::default(), 42)?;
//! tile.set_weights(&[0.1, -0.2, 0.3, 0.0, 0.2, -0.1])?;
//! let (x, mut y) = ([1.0, 0.5, -1.0], [0.0; 2]);
//! tile.forward(&x, &mut y, Pass::Test)?;
//! // Pulses for one step along the gradient, from the inputs and the errors of the outputs.
//! tile.update(&x, &[0.3, -0.1], 0.05)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`devices`] has the devices, [`config`] all settings, which also come as JSON, [`mvm`] and [`pulse`]
//! what a tile does on slices of its owner's memory, [`modifier`] what training for inference makes of
//! weights, [`state`] how tiles are saved, [`inference`] weights that are programmed and drift, [`presets`]
//! published devices and systems, and [`par`] the threads.

pub mod config;
pub mod devices;
mod error;
pub mod finite;
#[cfg(feature = "wgpu")]
pub mod gpu;
#[doc(hidden)]
pub mod hooks;
pub mod inference;
#[doc(hidden)]
pub mod memory;
pub mod modifier;
pub mod mvm;
pub mod par;
pub mod presets;
pub mod pulse;
pub mod rng;
pub(crate) mod scratch;
mod simd;
pub mod state;
pub mod tile;
pub mod unit_cells;

pub use config::{IoParameters, TileConfig, UpdateParameters};
pub use error::{Error, Result};
pub use rng::Key;
pub use tile::{Tile, TileSpec};
