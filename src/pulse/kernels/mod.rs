//! The kernels that apply trains of pulses.

mod limits;
pub(crate) mod one_by_one;
pub(crate) mod one_sample;
pub(crate) mod segments;
pub(crate) mod sums;
mod sums_near_bound;
