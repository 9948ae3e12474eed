//! One factor per output, that is per column of the crossbar.

use super::base::{DriftCompensation, SMALLEST_READOUT};
use crate::config::params;

params! {
    /// One factor per output from its mean absolute value over all one-hot inputs.
    pub struct PerColumnDriftCompensation {}
}

impl DriftCompensation for PerColumnDriftCompensation {
    fn readout(&self, outputs: &[f32], out_size: usize) -> Vec<f32> {
        let out_size = out_size.max(1);
        let mut sums = vec![0.0f64; out_size];
        for row in outputs.chunks_exact(out_size) {
            sums.iter_mut().zip(row).for_each(|(sum, y)| *sum += f64::from(y.abs()));
        }
        let batch = (outputs.len() / out_size) as f64;
        sums.iter().map(|sum| ((sum / batch) as f32).max(SMALLEST_READOUT)).collect()
    }
}
