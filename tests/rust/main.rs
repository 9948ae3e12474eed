//! Tests of the whole crate, in one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[cfg(feature = "ndarray")]
mod arrays;
mod device_pulses;
mod devices;
mod extending;
#[cfg(feature = "wgpu")]
mod gpu;
mod inference;
mod layer;
mod lifecycle;
mod modifier;
mod mvm;
mod pinned;
mod preset_values;
mod presets;
mod pulse;
mod reference;
mod rng;
mod statistics;
mod threads;
mod tile;
mod unit_cells;
