//! Number of pulse slots and scales of the pulse probabilities, per sample.

use crate::config::{MAX_SLOTS, UpdateParameters};
use crate::error::{Error, Result, shown};

/// Slots and scales of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Number of slots of the pulse trains.
    pub slots: u32,
    /// Probability per unit of `|d|`.
    pub d: f64,
    /// Probability per unit of `|x|`.
    pub x: f64,
}

/// Guards against a number of coincidences that is an integer up to rounding: one slot more would
/// change the variance, one less costs at most this relative saturation.
const ROUNDING: f64 = 1e-6;

/// Slots that trains without management and without a fixed length take beyond `desired_bl`, if they
/// do: as many as keep the scale of all values at 1.
pub(crate) fn free_slots(
    update: &UpdateParameters,
    granularity: f64,
    learning_rate: f64,
) -> Option<f64> {
    let is_free = !update.fixed_bl && !update.update_bl_management;
    (is_free && learning_rate > granularity * update.desired_bl as f64)
        .then(|| (learning_rate / granularity * (1.0 - ROUNDING)).ceil().max(1.0))
}

/// Most slots of a sample, which are most pulses that it gives a crosspoint.
pub(crate) fn longest(update: &UpdateParameters, granularity: f64, learning_rate: f64) -> f64 {
    free_slots(update, granularity, learning_rate).unwrap_or(update.desired_bl as f64)
}

/// Checks that no train is longer than there are positions for its draws.
///
/// # Errors
/// [`Error::Argument`] for a learning rate that asks for a longer one.
pub(crate) fn check_length(
    update: &UpdateParameters,
    granularity: f64,
    learning_rate: f64,
) -> Result<()> {
    match free_slots(update, granularity, learning_rate) {
        Some(slots) if slots > MAX_SLOTS as f64 => {
            let why = format!(
                "{} takes trains of {} slots and at most {MAX_SLOTS} are possible; lower it, or set \
                 update.fixed_bl or update.update_bl_management",
                shown(learning_rate),
                shown(slots)
            );
            Err(Error::Argument { argument: "learning_rate", why })
        }
        _ => Ok(()),
    }
}

/// Slots and scales for a sample with the largest absolute input `x_max` and error `d_max`, or
/// `None` when nothing is to be updated.
///
/// The wanted number of coincidences at the largest crosspoint is
/// `k = lr x_max um_grad_scale d_max / granularity`. With `update_bl_management` the trains have
/// `ceil(k)` slots, at most `desired_bl`; with `update_management` (or the former) input and error
/// lines fire equally often. Beyond `desired_bl` the error lines saturate, the input lines do not.
#[must_use]
pub fn scaling(
    update: &UpdateParameters,
    granularity: f64,
    learning_rate: f64,
    x_max: f64,
    d_max: f64,
) -> Option<Scaling> {
    if learning_rate == 0.0 || x_max == 0.0 || d_max == 0.0 {
        return None;
    }
    let longest = update.desired_bl as f64;
    let step_scale = |slots: f64| (learning_rate / (granularity * slots)).sqrt();
    let (mut slots, mut scale) = (longest, step_scale(longest));
    if let Some(free) = free_slots(update, granularity, learning_rate) {
        (slots, scale) = (free, 1.0);
    }
    if !update.update_management && !update.update_bl_management {
        return Some(Scaling { slots: slots as u32, d: scale, x: scale });
    }
    let mut d_scale = update.um_grad_scale * d_max;
    let coincidences = learning_rate * x_max * d_scale / granularity;
    if update.update_bl_management {
        slots = (coincidences * (1.0 - ROUNDING)).ceil().clamp(1.0, longest);
        scale = step_scale(slots);
    }
    if coincidences > longest {
        d_scale *= longest / coincidences;
    }
    let balance = (x_max / d_scale).sqrt();
    Some(Scaling { slots: slots as u32, d: scale * balance, x: scale / balance })
}

/// Rounds a probability to bins of width `res` (none if 0 or less); `dither` is a uniform draw for
/// stochastic rounding, 1/2 otherwise.
#[must_use]
#[inline(always)]
pub fn discretize(value: f64, res: f64, dither: f64) -> f64 {
    if res <= 0.0 { value } else { (value / res + dither - 0.5).round_ties_even() * res }
}

/// Bin width of a resolution: one above 1 is a number of bins.
#[must_use]
pub fn bin_width(res: f64) -> f64 {
    if res > 1.0 { 1.0 / res } else { res }
}
