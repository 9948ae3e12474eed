//! What converters with several pairs have in common: factors, and the weighted sum of the differences.

use super::base::{Scale, check_devices};
use crate::config::finite;
use crate::error::{Error, Result};
use crate::memory;

/// Checks the factors of pairs, least significant first.
pub(super) fn check_factors(path: &str, f_lst: &[f64]) -> Result<()> {
    f_lst.iter().try_for_each(|factor| finite(path, "f_lst", *factor))?;
    if f_lst.iter().copied().fold(f64::NEG_INFINITY, f64::max) >= 0.0 {
        return Ok(());
    }
    let why = format!("expected factors, at least one of which is not negative, got {f_lst:?}");
    Err(Error::config(format!("{path}.f_lst"), why))
}

/// `sum_j f_j (g+_j - g-_j) / k`.
pub(super) fn weighted_sum(
    f_lst: &[f64],
    conductances: &[Vec<f32>],
    params: &Scale,
) -> Result<Vec<f32>> {
    let len = check_devices(conductances, 2 * f_lst.len())?;
    let mut weights = memory::filled(0.0f32, len)?;
    for (factor, pair) in f_lst.iter().zip(conductances.chunks_exact(2)) {
        let factor = *factor as f32;
        for ((w, plus), minus) in weights.iter_mut().zip(&pair[0]).zip(&pair[1]) {
            *w += factor * (plus - minus);
        }
    }
    weights.iter_mut().for_each(|w| *w /= params.scale_ratio);
    Ok(weights)
}
