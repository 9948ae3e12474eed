//! Pairs of devices with tabulated programmes.

use super::base::{ConductanceConverter, Conductances, Scale, check_range, weight_scale};
use super::pairs::{check_factors, weighted_sum};
use crate::config::{finite, params, require};
use crate::error::{Error, Result};
use crate::memory;

/// Weights that have to survive the conversion and its reverse, and how well.
const TEST_WEIGHTS: [f32; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];
const TEST_TOLERANCE: f32 = 1e-4;

params! {
    /// Pairs with factors `f_j` whose conductances are interpolated between given values.
    ///
    /// Every list in `g_lst` tabulates one device over equally spaced weights from the smallest to the
    /// largest: the sums `sum_j f_j (g+_j - g-_j)` must therefore increase evenly.
    pub struct CustomPairConductanceConverter {
        /// Factor of each pair, least significant first.
        f_lst: Vec<f64> = vec![1.0];
        /// Tables in µS: two per factor, for positive and for negative weights, all of one length.
        g_lst: Vec<Vec<f64>> = vec![vec![0.0, 0.0, 25.0], vec![25.0, 0.0, 0.0]];
        /// Largest conductance, in µS.
        g_max: real = 25.0;
        /// Smallest conductance, in µS.
        g_min: real = 0.0;
    }
}

impl CustomPairConductanceConverter {
    /// Pairs with factors, tables and a range in µS, by which weights survive conversion and reverse.
    ///
    /// # Errors
    /// [`Error::Config`]: tables that do not fit the factors, limits that are not in order, or weights that
    /// do not come back as they were.
    pub fn new(f_lst: Vec<f64>, g_lst: Vec<Vec<f64>>, g_max: f64, g_min: f64) -> Result<Self> {
        let pairs = Self { f_lst, g_lst, g_max, g_min };
        pairs.validate("g_converter")?;
        pairs.invertibility_test()?;
        Ok(pairs)
    }

    /// Checks that weights between -1 and 1 survive the conversion and its reverse, to 1e-4.
    ///
    /// # Errors
    /// [`Error::Config`] naming `g_lst`.
    pub fn invertibility_test(&self) -> Result<()> {
        let there = self.convert_to_conductances(&TEST_WEIGHTS, TEST_WEIGHTS.len())?;
        let back =
            self.convert_back_to_weights(&there.values, TEST_WEIGHTS.len(), &there.params)?;
        let is_near = |(w, back): (&f32, &f32)| (w - back).abs() <= TEST_TOLERANCE + 1e-5 * w.abs();
        if TEST_WEIGHTS.iter().zip(&back).all(is_near) {
            return Ok(());
        }
        let why = format!(
            "the weights {TEST_WEIGHTS:?} come back as {back:?}; the weighted sums of the tables must \
             increase evenly"
        );
        Err(Error::config("g_converter.g_lst", why))
    }

    /// Largest absolute weighted sum of the tables.
    fn largest(&self) -> f32 {
        let points = self.g_lst.first().map_or(0, Vec::len);
        let sum_at = |point: usize| -> f32 {
            let pairs = self.f_lst.iter().zip(self.g_lst.chunks_exact(2));
            pairs.map(|(f, pair)| (f * (pair[0][point] - pair[1][point])) as f32).sum()
        };
        (0..points).fold(0.0, |largest, point| sum_at(point).abs().max(largest))
    }
}

impl ConductanceConverter for CustomPairConductanceConverter {
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
        let (count, wanted) = (self.g_lst.len(), 2 * self.f_lst.len());
        let why = format!("expected {wanted} lists (two per factor), got {count}");
        require(count == wanted, path, "g_lst", why)?;
        let points = self.g_lst.first().map_or(0, Vec::len);
        let fits = points >= 2 && self.g_lst.iter().all(|table| table.len() == points);
        require(fits, path, "g_lst", "lists need one common length of at least 2")?;
        self.g_lst.iter().flatten().try_for_each(|g| finite(path, "g_lst", *g))?;
        check_range(path, self.g_min, self.g_max)
    }

    fn convert_to_conductances(&self, weights: &[f32], _columns: usize) -> Result<Conductances> {
        self.validate("g_converter")?;
        // Of what is not finite no table has a conductance.
        Error::check_finite("weights", weights)?;
        let largest = self.largest();
        let scale = weight_scale(weights, largest);
        let mut values = Vec::with_capacity(self.g_lst.len());
        for table in &self.g_lst {
            let table: Vec<f32> = table.iter().map(|g| *g as f32).collect();
            let steps = (table.len() - 1) as f32;
            let mut part = memory::copied(weights)?;
            for g in &mut part {
                *g = interpolate((*g * scale / largest + 1.0) / 2.0 * steps, &table);
            }
            values.push(part);
        }
        Ok(Conductances { values, params: Scale::new(scale) })
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

/// The value of a table of at least two points at a fractional position, constant beyond its ends.
fn interpolate(position: f32, table: &[f32]) -> f32 {
    let last = table.len() - 1;
    // A position that is not a number is at the first point.
    let position = position.max(0.0).min(last as f32);
    let lower = (position as usize).min(last - 1);
    table[lower] + (position - lower as f32) * (table[lower + 1] - table[lower])
}
