//! The pulsed update: an outer product turned into pulses, and pulses into weight changes.

mod apply;
mod cells;
mod coincidences;
pub(crate) mod counted;
pub mod counts;
mod expansion;
mod gradient;
mod kernels;
mod lanes;
pub(crate) mod positions;
pub mod scale;
mod source;
pub(crate) mod trains;
mod transaction;
mod update;

pub use update::{Update, update};
