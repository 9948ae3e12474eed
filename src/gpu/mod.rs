//! Tiles in the memory of a graphics processor, through wgpu (Vulkan, Metal, Direct3D 12).
//!
//! Every kernel is a WGSL file under `shaders/` with a twin in the rest of the crate. Both draw the
//! same integers at the same positions, so pulses, roundings and noise are those of the processor's
//! kernels; floating-point sums may differ in their last places, because a driver is free to fuse
//! and to reorder operations.

mod adapter;
mod buffers;
mod cells;
mod context;
mod draws;
mod kernels;
mod parameters;
mod plan;
mod product;
mod pulses;
mod responses;
mod shaders;
mod tile;

pub use adapter::{AdapterKind, AdapterSummary, adapters};
pub use context::{Context, Pick};
pub use product::Product;
pub use pulses::GpuUpdate;
pub use shaders::sources;
pub use tile::{GpuTile, UNSUPPORTED};
