//! Several pairs of devices of different significance per weight.

use super::base::{ConductanceConverter, Conductances, Scale, check_range, weight_scale};
use super::pairs::{check_factors, weighted_sum};
use crate::config::{params, require};
use crate::error::Result;
use crate::memory;

params! {
    /// Pairs with factors, `w = sum_j f_j (g+_j - g-_j) / k`: a pair is used only where those before it in
    /// the list are full.
    pub struct NPairConductanceConverter {
        /// Factor of each pair, least significant first.
        f_lst: Vec<f64> = vec![1.0];
        /// Largest conductance, in µS.
        g_max: real = 25.0;
        /// Smallest conductance, in µS.
        g_min: real = 0.0;
    }
}

params! {
    /// [`NPairConductanceConverter`] with two pairs.
    pub struct DualPairConductanceConverter {
        /// Factor of both pairs, least significant first.
        f_lst: Vec<f64> = vec![1.0, 1.0];
        /// Largest conductance, in µS.
        g_max: real = 25.0;
        /// Smallest conductance, in µS.
        g_min: real = 0.0;
    }
}

impl NPairConductanceConverter {
    /// Pairs with factors, least significant first, and a range in µS.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config): no factors, or limits that are negative or not in order.
    pub fn new(f_lst: Vec<f64>, g_max: f64, g_min: f64) -> Result<Self> {
        let pairs = Self { f_lst, g_max, g_min };
        pairs.validate("g_converter")?;
        Ok(pairs)
    }
}

impl DualPairConductanceConverter {
    /// Two pairs with factors, least significant first, and a range in µS.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for limits that are negative or not in order.
    pub fn new(f_lst: [f64; 2], g_max: f64, g_min: f64) -> Result<Self> {
        let pairs = Self { f_lst: f_lst.to_vec(), g_max, g_min };
        pairs.validate("g_converter")?;
        Ok(pairs)
    }
}

macro_rules! pairs {
    ($name:ident) => {
        impl ConductanceConverter for $name {
            fn g_max(&self) -> f64 {
                self.g_max
            }

            fn g_min(&self) -> f64 {
                self.g_min
            }

            fn devices(&self) -> usize {
                2 * self.f_lst.len()
            }

            fn validate(&self, path: &str) -> Result<()> {
                check_factors(path, &self.f_lst)?;
                self.check_count(path)?;
                // By a factor of zero nothing is divided, and pairs are filled upwards.
                let is_positive = self.f_lst.iter().all(|factor| *factor > 0.0);
                let why = format!("every factor must be positive, got {:?}", self.f_lst);
                require(is_positive, path, "f_lst", why)?;
                check_range(path, self.g_min, self.g_max)
            }

            fn convert_to_conductances(
                &self,
                weights: &[f32],
                _columns: usize,
            ) -> Result<Conductances> {
                fill_in_order(&self.f_lst, self.g_max, self.g_min, weights)
            }

            fn convert_back_to_weights(
                &self,
                conductances: &[Vec<f32>],
                _columns: usize,
                params: &Scale,
            ) -> Result<Vec<f32>> {
                weighted_sum(&self.f_lst, conductances, params)
            }
        }
    };
}
pairs!(NPairConductanceConverter);
pairs!(DualPairConductanceConverter);

impl NPairConductanceConverter {
    fn check_count(&self, path: &str) -> Result<()> {
        require(!self.f_lst.is_empty(), path, "f_lst", "expected at least one factor")
    }
}

impl DualPairConductanceConverter {
    fn check_count(&self, path: &str) -> Result<()> {
        let why = format!("expected two factors, got {}", self.f_lst.len());
        require(self.f_lst.len() == 2, path, "f_lst", why)
    }
}

/// Conductances of pairs that are filled one after another.
fn fill_in_order(f_lst: &[f64], g_max: f64, g_min: f64, weights: &[f32]) -> Result<Conductances> {
    let span = g_max - g_min;
    let total: f64 = f_lst.iter().map(|factor| factor * span).sum();
    let scale = weight_scale(weights, total as f32);
    let (mut values, mut filled) = (Vec::with_capacity(2 * f_lst.len()), 0.0);
    let (lowest, highest) = (g_min as f32, g_max as f32);
    for factor in f_lst {
        for sign in [1.0, -1.0] {
            let mut part = memory::copied(weights)?;
            let (factor, filled) = (*factor as f32, filled as f32);
            for g in &mut part {
                let level = ((sign * *g * scale).max(0.0) - filled) / factor + lowest;
                *g = level.max(lowest).min(highest);
            }
            values.push(part);
        }
        filled += factor * span;
    }
    Ok(Conductances { values, params: Scale::new(scale) })
}
