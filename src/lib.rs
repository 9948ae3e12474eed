//! Analog in-memory computing: crossbar tiles whose weights are conductances.
//!
//! A tile multiplies in the analog domain, with converters, noise and wire resistance, and learns in memory by
//! pulses on non-ideal devices. [`Tile`] is such a tile with its weights:
//!
//! ```
//! use mho_core::tile::Pass;
//! use mho_core::{Tile, TileConfig};
//!
//! # fn main() -> mho_core::Result<()> {
//! // Two rows, the outputs, by three columns, the inputs; 42 is the seed of all that is random.
//! let mut tile = Tile::new(2, 3, &TileConfig::default(), 42)?;
//! tile.set_weights(&[0.1, -0.2, 0.3, 0.0, 0.2, -0.1])?;
//! let x = [1.0, 0.5, -1.0];
//! let y = tile.forward_batch(&x, Pass::Test)?;
//! assert_eq!(y.len(), 2);
//! // Pulses for one step along the gradient, from the inputs and the errors of the outputs.
//! tile.update(&x, &[0.3, -0.1], 0.05)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! | to | see |
//! | --- | --- |
//! | choose devices, converters, noise and pulses | [`config`], [`devices`] |
//! | train a network | [`layer`], and the example `digits.rs` |
//! | train by Tiki-taka and its relatives | [`unit_cells`] |
//! | save tiles, or open what Python has saved | [`state`] |
//! | program weights and let them drift | [`inference`]; layers that Python has trained: `layer::InferenceLinear` |
//! | start from published devices and systems | [`presets`] |
//! | add a device of one's own | [`devices::PulsedDevice`], [`testing`], the example `extending.rs` |
//! | add an algorithm of one's own | [`compound`] |
//! | keep weights in memory of one's own | [`mvm`], [`pulse`]: what tiles do, on slices |
//! | change weights as hardware-aware training does | [`modifier`] |
//! | choose the threads | [`par`] |
//!
//! Configurations are plain structures with defaults, and are read from and written to strict JSON, with the names of the
//! Python package:
//!
//! ```
//! use mho_core::config::{PulseType, TileConfig};
//!
//! # fn main() -> mho_core::Result<()> {
//! let config = TileConfig::default().with(|config| {
//!     config.forward.out_noise = 0.02;
//!     config.update.pulse_type = PulseType::MeanCount;
//! });
//! assert_eq!(TileConfig::from_json(&config.to_json()?)?, config);
//! let error = TileConfig::from_json(r#"{"device": {"type": "SoftBounds", "params": {"w_max": 1}}}"#);
//! assert!(error.unwrap_err().to_string().contains("unknown field `w_max`"));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | none | everything, on the processor |
//! | `ndarray` | views of `ndarray` as arguments, arrays as results |
//! | `safetensors` | files and folders of models, as the Python package writes them |
//! | `wgpu` | `gpu`: tiles in the memory of graphics processors |
//!
//! The crate needs Rust 1.89. Kernels are compiled for AVX-512, AVX2 and the base instruction set, and chosen when the
//! process runs.
//!
//! # Threads
//!
//! Large calls are shared among threads: those of the rayon pool that the caller is in, else of a pool of the crate beside the
//! calling thread, or of a [`par::Team`] that the host hands over. A thread of the host never becomes a member of a pool.
//! Results do not depend on the number of threads. All public types are `Send` and `Sync`.
//!
//! What is global can be set by the host: the team ([`par::set_team`]), the number of threads ([`par::set_num_threads`]), and a
//! check by which long calls are stopped ([`par::set_interrupt_check`]).
//!
//! # Randomness
//!
//! A draw is a function of the seed of the tile, the number of the call, its purpose and its place in the tile, by the generator
//! Threefry4x32 ([`rng`]). So equal calls give equal bits, with any number of threads and other tiles beside; a clone of a tile
//! draws what the original draws.
//!
//! # Errors
//!
//! Everything that can fail returns an [`Error`] that names the field or the argument and says what to do. Arguments are
//! checked before anything changes; calls that fail later, for want of memory or because they were interrupted, put back what
//! they have changed. No argument leads to a panic, other than positions beyond the end where a function says so, as for slices.

#[cfg(feature = "ndarray")]
mod arrays;
mod batch;
pub mod compound;
pub mod config;
pub mod devices;
mod error;
pub mod finite;
#[cfg(feature = "wgpu")]
pub mod gpu;
#[doc(hidden)]
pub mod hooks;
pub mod inference;
pub mod layer;
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
pub mod testing;
pub mod tile;
pub mod unit_cells;

pub use config::{IoParameters, TileConfig, UpdateParameters};
pub use error::{Error, Result};
pub use rng::Key;
pub use tile::{Tile, TileSpec};

/// The README, whose example is run.
#[cfg(doctest)]
#[doc = include_str!("../README-crate.md")]
struct Readme;
