//! When a segment of pulses is too long for the expansion, and the two functions it rests on.
//!
//! Relative steps are derivatives `f'` of the step by the weight; those of a segment add up to its
//! change, `u |f_up'| + d |f_down'|`. Behind a limit the crosspoint takes parts of the segment, and
//! at last pulse after pulse, so a limit that is too narrow costs speed and no more.

/// Distance to bounds in standard deviations, as for constant steps.
pub(crate) const MARGIN: f32 = 6.0;

/// Distance to kinks, behind which the steps go on with another slope: weights that come behind one
/// are there by `phi(1.5) - 1.5 Phi(-1.5) = 0.03` standard deviations on average, and their steps are
/// off by that times the difference of the slopes.
pub(crate) const KINK_MARGIN: f32 = 1.5;

/// Largest relative step. [`log_ratio`] has an error of 2e-7 there; what is left out of the variance
/// is largest for a lone pulse in a segment: `5/6 f'^2` of it for additive and up to `3 f'^2` for
/// multiplicative noise, at most 1.2 %.
pub(crate) const MAX_STEP: f32 = 1.0 / 16.0;

/// Largest change of a segment, up to which [`growth`] has an error of 4e-6; the weight then goes up
/// to 40 % of the way to the point where its steps vanish. For exponential steps, with all other
/// limits reached as well, the mean is off by 2.5e-4 of the way for 16 pulses and by 1e-4 of it, a
/// hundredth of a step, for 128 (compared with the exact map).
pub(crate) const MAX_CHANGE: f32 = 0.5;

/// Largest third order in units of the noise of the segment, times twelve.
///
/// The third order is `([X, [X, Y]] + [Y, [Y, X]]) / 12` for all pulses up (`X`) before all down
/// (`Y`), at most `u d |f_up f_down' - f_down f_up'| / 12` times the change of the segment. Over all
/// orders of up to ten pulses and for many ratios of slopes and steps, a pulse up followed by all
/// down comes closest to that bound, and none exceeds it: it leaves 1/48 of the noise, and twice that
/// where the brackets of curvatures, which are no larger within `MAX_BEND`, add to it. For pulses in
/// random order it is more than ten times less on average.
pub(crate) const MAX_ORDER: f32 = 0.25;

/// The same in units of the way that the weight goes, for segments with little noise: the third
/// order is at most 4e-5 of the way.
pub(crate) const MAX_ORDER_OF_WAY: f32 = 1.0 / 4096.0;

/// Largest sum `S` of squared relative noises `g'` of a segment. The sum of multiplicative noise is
/// nearly log-normal, with skewness `3 sqrt(S)` and excess kurtosis `16 S`, 0.05 at the limit; the
/// quadratic in `xi` has `12 S` of it, so `4 S = 0.0125` is left out.
pub(crate) const MAX_SPREAD: f32 = 1.0 / 320.0;

/// Largest relative change of the derivative of the steps over half of the path: where steps bend
/// more, what follows after the second order around the middle counts. The numbers at `MAX_CHANGE`
/// are for segments that reach this limit as well.
pub(crate) const MAX_BEND: f32 = 0.25;

/// Largest relative change of the steps that comes from their curvature over detours from the
/// straight path. A detour to and fro has a mean square of a third of that of its end, and half of
/// that times the curvature counts: a sixth of the limit, 6.5e-4 of the way.
pub(crate) const MAX_DETOUR: f32 = 1.0 / 256.0;

/// `ln(1 + s) / s` by its Taylor series; relative error below 2e-7 for `|s| <= 1/16`.
#[inline(always)]
pub(crate) fn log_ratio(s: f32) -> f32 {
    s.mul_add(0.2, -0.25).mul_add(s, 1.0 / 3.0).mul_add(s, -0.5).mul_add(s, 1.0)
}

/// `(exp(s) - 1) / s` by its Taylor series; relative error below 4e-6 for `|s| <= 1/2` and 1e-9 for
/// `|s| <= 1/8`.
#[inline(always)]
pub(crate) fn growth(s: f32) -> f32 {
    let p = s.mul_add(1.0 / 720.0, 1.0 / 120.0).mul_add(s, 1.0 / 24.0);
    p.mul_add(s, 1.0 / 6.0).mul_add(s, 0.5).mul_add(s, 1.0)
}
