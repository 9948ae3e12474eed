//! Digital correction of drift.

mod base;
mod config;
mod global;
mod per_column;

pub use base::{DriftCompensation, readout_inputs};
pub use config::CompensationConfig;
pub use global::{GlobalDriftCompensation, GlobalDriftCompensationWithExactReference};
pub use per_column::PerColumnDriftCompensation;
