//! Symmetric clipping of the weights of a tile.

use super::DeviceConfig;
use super::device::Device;
use super::rows::{Cells, Operation, Row};
use crate::config::{WeightClipParameter, WeightClipType};
use crate::error::{Error, Result};
use crate::rng::Key;

/// How [`Device::clip_weights`] finds its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum WeightClip {
    /// No clipping.
    None,
    /// At `fixed_value`.
    FixedValue(f32),
    /// At `sigma` standard deviations of all weights, at most at a positive `fixed_value`.
    LayerGaussian {
        /// Number of standard deviations.
        sigma: f32,
        /// Upper limit of the result, if positive.
        fixed_value: f32,
    },
    /// At the mean over rows of the largest absolute weight, at most at a positive `fixed_value`.
    AverageChannelMax {
        /// Upper limit of the result, if positive.
        fixed_value: f32,
    },
}

impl From<&WeightClipParameter> for WeightClip {
    fn from(clip: &WeightClipParameter) -> Self {
        let fixed_value = clip.fixed_value as f32;
        match clip.kind {
            WeightClipType::None => Self::None,
            WeightClipType::FixedValue => Self::FixedValue(fixed_value),
            WeightClipType::LayerGaussian => {
                Self::LayerGaussian { sigma: clip.sigma as f32, fixed_value }
            }
            WeightClipType::AverageChannelMax => Self::AverageChannelMax { fixed_value },
        }
    }
}

impl WeightClip {
    pub(crate) fn check(self) -> Result<()> {
        let (sigma, fixed_value) = match self {
            Self::None => return Ok(()),
            Self::LayerGaussian { sigma, fixed_value } => (sigma, fixed_value),
            Self::FixedValue(value) | Self::AverageChannelMax { fixed_value: value } => {
                (0.0, value)
            }
        };
        Error::check_finite("sigma", &[sigma])?;
        if fixed_value.is_nan() {
            let why = "must not be NaN".to_owned();
            return Err(Error::Argument { argument: "fixed_value", why });
        }
        Ok(())
    }
}

impl Device {
    /// Clips the weights symmetrically; pulsed devices know only [`WeightClip::FixedValue`], within
    /// their own bounds, and a negative value leaves those alone.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another kind on a pulsed device, [`Error::Argument`] for NaN,
    /// [`Error::Shape`].
    pub fn clip_weights(&self, cells: Cells<'_>, clip: WeightClip, key: Key) -> Result<()> {
        clip.check()?;
        self.check_cells(&cells)?;
        if clip == WeightClip::None {
            return Ok(());
        }
        if !self.is_pulsed() {
            let keeps_zero = matches!(self.config(), DeviceConfig::FloatingPoint(_));
            if let Some(limit) = exact_limit(cells.weights, self.x_size(), clip, keeps_zero) {
                cells.weights.iter_mut().for_each(|w| *w = w.clamp(-limit, limit));
            }
            return Ok(());
        }
        let WeightClip::FixedValue(limit) = clip else {
            let why = "pulsed devices clip only with WeightClipType.FIXED_VALUE";
            return Err(Error::unsupported("clip.type", why));
        };
        let limit = if limit < 0.0 { f32::INFINITY } else { limit };
        self.for_rows(cells, [], key, &Symmetric(limit))
    }
}

/// Clips to the interval of that length around zero.
struct Symmetric(f32);

impl Operation<0> for Symmetric {
    const DRAWS: f64 = 0.0;

    #[inline(always)]
    fn apply(&self, row: Row<'_, 0>) {
        row.weights.iter_mut().for_each(|w| *w = w.clamp(-self.0, self.0));
    }
}

/// Limit for the weights of an exact device, or `None` for no clipping.
pub(crate) fn exact_limit(
    weights: &[f32],
    columns: usize,
    clip: WeightClip,
    keeps_zero: bool,
) -> Option<f32> {
    let capped = |limit: f32, cap: f32| if cap > 0.0 { limit.min(cap) } else { limit };
    match clip {
        WeightClip::None => None,
        WeightClip::FixedValue(limit) => {
            (limit > 0.0 || (limit == 0.0 && !keeps_zero)).then_some(limit)
        }
        WeightClip::LayerGaussian { sigma, fixed_value } => {
            Some(capped(sigma * deviation(weights), fixed_value)).filter(|limit| *limit > 0.0)
        }
        WeightClip::AverageChannelMax { fixed_value } => {
            let rows = weights.chunks_exact(columns);
            let count = rows.len() as f32;
            let sum: f32 = rows.map(|row| row.iter().fold(0.0f32, |max, w| max.max(w.abs()))).sum();
            Some(capped(sum / count, fixed_value)).filter(|limit| *limit > 0.0)
        }
    }
}

/// Standard deviation with the unbiased variance.
fn deviation(values: &[f32]) -> f32 {
    let count = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
    (squares / (count - 1.0).max(1.0)).sqrt() as f32
}
