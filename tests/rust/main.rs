//! Tests of the whole crate, in one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod devices;
#[cfg(feature = "wgpu")]
mod gpu;
mod mvm;
mod pulse;
mod rng;
mod tile;
