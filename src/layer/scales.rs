//! Mapping scales: weights of a layer are raw weights times them.

use crate::config::MappingParameter;
use crate::error::{Error, Result, shown};

/// Factors of the rows of a tile: none, one for all, or one for each.
#[derive(Debug, Clone, Default)]
pub(super) struct Scales {
    values: Vec<f32>,
    /// Factor on the learning rate.
    pub lr: f64,
}

impl Scales {
    pub(super) fn none() -> Self {
        Self { values: Vec::new(), lr: 1.0 }
    }

    /// Given factors.
    ///
    /// # Errors
    /// [`Error::Argument`] unless they are positive and finite, [`Error::Shape`] unless there is none, one or
    /// one per row.
    pub(super) fn given(values: &[f32], rows: usize, mapping: &MappingParameter) -> Result<Self> {
        if values.len() > 1 {
            Error::check_len("mapping_scales", values.len(), rows)?;
        }
        if values.iter().any(|value| !value.is_finite() || *value <= 0.0) {
            let why = "values must be finite and positive".to_owned();
            return Err(Error::Argument { argument: "mapping_scales", why });
        }
        let count = values.len().max(1) as f64;
        let factor = count / values.iter().map(|value| f64::from(*value)).sum::<f64>();
        let compensates = mapping.weight_scaling_lr_compensation && !values.is_empty();
        let lr = if compensates && factor.is_finite() { factor } else { 1.0 };
        Ok(Self { values: values.to_vec(), lr })
    }

    /// Those that bring the largest absolute weight of the tile, or of each row, to
    /// `mapping.weight_scaling_omega`; none if that is not positive.
    ///
    /// # Errors
    /// [`Error::Argument`] where they are beyond f32.
    pub(super) fn of(weights: &[f32], rows: usize, mapping: &MappingParameter) -> Result<Self> {
        let omega = mapping.weight_scaling_omega as f32;
        if omega <= 0.0 || weights.is_empty() {
            return Ok(Self::none());
        }
        let largest = |row: &[f32]| row.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let mut values: Vec<f32> =
            weights.chunks_exact(weights.len() / rows).map(largest).collect();
        let most = largest(&values);
        if !mapping.weight_scaling_columnwise {
            values = vec![most];
        }
        for value in &mut values {
            // Errors are divided by the scales: a row of nearly nothing must not blow them up.
            let scale = value.max(f32::EPSILON * most) / omega;
            *value = if *value > 0.0 && scale > 0.0 { scale } else { 1.0 };
        }
        Self::given(&values, rows, mapping).map_err(|_| Error::Argument {
            argument: "weights",
            why: format!("weight_scaling_omega = {} makes scales of them beyond f32", shown(omega)),
        })
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// The factor of a row; 1 without scales.
    pub(super) fn at(&self, row: usize) -> f32 {
        match &self.values[..] {
            [] => 1.0,
            [one] => *one,
            all => all[row],
        }
    }
}
