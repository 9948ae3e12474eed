//! Analog in-memory computing: crossbar tiles whose weights are conductances.
//!
//! A tile multiplies in the analog domain, with converters, noise and wire resistance, and learns
//! in memory by pulses on non-ideal devices.

pub mod config;
pub mod devices;
mod error;
#[cfg(feature = "wgpu")]
pub mod gpu;
#[doc(hidden)]
pub mod hooks;
pub(crate) mod memory;
pub mod mvm;
pub mod par;
pub mod pulse;
#[cfg(feature = "python")]
mod python;
pub mod rng;
pub(crate) mod scratch;
mod simd;
pub mod tile;

pub use config::{IoParameters, TileConfig, UpdateParameters};
pub use error::{Error, Result};
pub use rng::Key;
pub use tile::{Tile, TileSpec};
