//! One factor for all outputs.

use super::base::{DriftCompensation, SMALLEST_READOUT};
use crate::config::params;

params! {
    /// One factor per tile from the mean absolute output over all one-hot inputs (Joshi et al., Nat.
    /// Commun. 11:2473, 2020).
    pub struct GlobalDriftCompensation {}
}

params! {
    /// One factor per tile relative to the weights before programming, read without noise.
    pub struct GlobalDriftCompensationWithExactReference {}
}

impl DriftCompensation for GlobalDriftCompensation {
    fn readout(&self, outputs: &[f32], _out_size: usize) -> Vec<f32> {
        mean_size(outputs)
    }
}

impl DriftCompensation for GlobalDriftCompensationWithExactReference {
    fn readout(&self, outputs: &[f32], _out_size: usize) -> Vec<f32> {
        mean_size(outputs)
    }

    fn has_exact_reference(&self) -> bool {
        true
    }
}

/// Mean absolute value.
fn mean_size(outputs: &[f32]) -> Vec<f32> {
    let sum: f64 = outputs.iter().map(|y| f64::from(y.abs())).sum();
    vec![((sum / outputs.len() as f64) as f32).max(SMALLEST_READOUT)]
}
