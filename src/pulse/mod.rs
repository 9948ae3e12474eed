//! The pulsed update: an outer product turned into pulses, and pulses into weight changes.
//!
//! Per sample two kinds of stochastic trains are drawn, one for each column (input line) and one for
//! each row (error line); where both fire in the same slot, the crosspoint gets a pulse. Samples act
//! in order. Kernels differ in how many pulses they add up before they look at the weight again.
//!
//! In the order in which it is best read, from what is drawn to what is changed:
//!
//! | file | what it is for |
//! | --- | --- |
//! | [`scale`] | number of slots and probabilities of one sample |
//! | `samples` | some samples of a batch |
//! | `source` | a batch and how it becomes pulses, whoever receives them |
//! | `trains` | the trains of one side: slices, chunks, how they are drawn and stored |
//! | `coincidences` | the trains of both sides as kernels read them |
//! | `one_sided` | those of devices that take pulses of one direction |
//! | `positions` | which evaluation of the generator serves which pulse |
//! | `cells`, `lanes` | constants and weights of neighbouring crosspoints side by side |
//! | `transaction` | rows that change, copies of them, and how they come back |
//! | `kernels::queue` | pulse after pulse: the definition that everything else is measured by |
//! | `products` | deterministic numbers of pulses, as kernels read them |
//! | `kernels::one_by_one` | all pulses that way, for any device |
//! | `kernels::sums`, `kernels::sums_near_bound` | steps that do not depend on the weight |
//! | `expansion` | several pulses at once for steps that do, and how far that holds |
//! | `kernels::one_sample` | one sample, whose pulses have one direction at each crosspoint |
//! | `kernels::segments` | several samples |
//! | `counted` | the lines of deterministic numbers of pulses, instead of trains |
//! | `gradient` | no pulses |
//! | `flow` | infinitely fine ones |
//! | `apply` | which of these takes some samples of a batch |
//! | `custom` | the same for devices of other crates |
//! | `update` | the call: checks, and one transaction around it all |
//! | [`counts`] | numbers of pulses for devices that are stepped elsewhere |
//!
//! Data flows down that list: no file uses one below it, but `kernels` of `expansion`.

pub(crate) mod apply;
pub(crate) mod cells;
mod coincidences;
pub(crate) mod counted;
pub mod counts;
mod custom;
mod expansion;
mod flow;
pub(crate) mod gradient;
mod kernels;
mod lanes;
mod one_sided;
pub(crate) mod positions;
mod products;
pub(crate) mod samples;
pub mod scale;
pub(crate) mod source;
pub(crate) mod trains;
pub(crate) mod transaction;
mod update;

#[cfg(test)]
pub(crate) use apply::trouble;
pub use update::{Update, update};
