//! One device for positive and one for negative weights.

use super::base::{
    ConductanceConverter, Conductances, Scale, check_devices, check_range, weight_scale,
};
use crate::config::params;
use crate::error::Result;
use crate::memory;

params! {
    /// Pair of devices whose difference is the weight, `w = (g+ - g-) / k`: the largest absolute weight of
    /// the matrix has `g_max`, and zero has `g_min` twice.
    pub struct SinglePairConductanceConverter {
        /// Largest conductance, in µS.
        g_max: real = 25.0;
        /// Smallest conductance, in µS.
        g_min: real = 0.0;
    }
}

impl SinglePairConductanceConverter {
    /// A pair with a range in µS.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for limits that are negative or not in order.
    pub fn new(g_max: f64, g_min: f64) -> Result<Self> {
        let pair = Self { g_max, g_min };
        pair.validate("g_converter")?;
        Ok(pair)
    }
}

impl ConductanceConverter for SinglePairConductanceConverter {
    fn g_max(&self) -> f64 {
        self.g_max
    }

    fn g_min(&self) -> f64 {
        self.g_min
    }

    fn devices(&self) -> usize {
        2
    }

    fn validate(&self, path: &str) -> Result<()> {
        check_range(path, self.g_min, self.g_max)
    }

    fn convert_to_conductances(&self, weights: &[f32], _columns: usize) -> Result<Conductances> {
        let scale = weight_scale(weights, (self.g_max - self.g_min) as f32);
        let (g_max, g_min) = (self.g_max as f32, self.g_min as f32);
        let mut values = vec![memory::copied(weights)?, memory::copied(weights)?];
        for (part, sign) in values.iter_mut().zip([scale, -scale]) {
            part.iter_mut().for_each(|g| *g = (*g * sign).max(0.0).min(g_max) + g_min);
        }
        Ok(Conductances { values, params: Scale::new(scale) })
    }

    fn convert_back_to_weights(
        &self,
        conductances: &[Vec<f32>],
        _columns: usize,
        params: &Scale,
    ) -> Result<Vec<f32>> {
        check_devices(conductances, 2)?;
        let g_min = self.g_min as f32;
        let mut weights = memory::copied(&conductances[0])?;
        for (w, minus) in weights.iter_mut().zip(&conductances[1]) {
            *w = ((*w - g_min) - (minus - g_min)) / params.scale_ratio;
        }
        Ok(weights)
    }
}
