//! Tiles in the memory of a graphics processor, through wgpu (Vulkan, Metal, Direct3D 12).
//!
//! Every kernel is a WGSL file under `shaders/` with a twin in the rest of the crate. Both draw the
//! same integers at the same positions, so pulses, roundings and the noise of products are those of
//! the processor's kernels; only the noise of pulses has draws of its own. Sums may differ in their
//! last places, because a driver is free to fuse and to reorder operations: then a current that lies
//! between two levels of the ADC can end up on the other one.

mod adapter;
pub(crate) mod buffers;
pub(crate) mod context;
pub(crate) mod devices;
mod draws;
pub(crate) mod exact;
pub(crate) mod job;
pub(crate) mod kernels;
mod lifecycle;
mod parameters;
mod plan;
pub(crate) mod product;
pub(crate) mod pulses;
pub(crate) mod scratch;
pub(crate) mod shaders;
pub(crate) mod side;
mod sources;
pub(crate) mod state;
pub(crate) mod tile;
pub(crate) mod transaction;
mod uses;
pub(crate) mod words;

pub use adapter::{AdapterKind, AdapterSummary, adapters};
pub use context::{Context, Pick};
pub use product::Product;
pub use pulses::{GpuUpdate, pulse_sources};
pub use sources::sources;
#[cfg(test)]
pub(crate) use sources::tests::check_sources;
pub use tile::{GpuTile, UNSUPPORTED};
