//! What applies the pulses of a chunk to the weights of some rows.
//!
//! `queue` takes pulse after pulse; the others add up as many as may be, and leave the rest to it.

mod careful;
mod limits;
mod line;
pub(crate) mod one_by_one;
pub(crate) mod one_sample;
pub(crate) mod queue;
pub(crate) mod segments;
pub(crate) mod sums;
mod sums_near_bound;
