//! LIMITS

/// Distance to bounds in standard deviations, as for constant steps.
pub(crate) const MARGIN: f32 = 6.0;
/// Distance to kinks, behind which the steps go on with another slope: weights that come behind one
/// are there by 0.03 standard deviations on average, and their steps are off by that times the
/// difference of the slopes.
pub(crate) const KINK_MARGIN: f32 = 1.5;
/// Largest relative step.
pub(crate) const MAX_STEP: f32 = 1.0 / 16.0;
/// Largest sum of relative steps of a segment.
pub(crate) const MAX_CHANGE: f32 = 0.5;
/// Largest third order, twelvefold, in units of the noise of the segment.
pub(crate) const MAX_ORDER: f32 = 0.25;
/// The same in units of the way that the weight goes, for segments with little noise.
pub(crate) const MAX_ORDER_OF_WAY: f32 = 1.0 / 4096.0;
/// Largest sum of squared relative noises of a segment.
pub(crate) const MAX_SPREAD: f32 = 1.0 / 320.0;
/// Largest relative change of the derivative of the steps over half of the path.
pub(crate) const MAX_BEND: f32 = 0.25;
/// Largest relative change of the steps that comes from their curvature over detours from the
/// straight path.
pub(crate) const MAX_DETOUR: f32 = 1.0 / 256.0;

/// `ln(1 + s) / s`; relative error below 2e-6 for `|s| <= 1/16`.
#[inline(always)]
pub(crate) fn log_ratio(s: f32) -> f32 {
    s.mul_add(0.2, -0.25).mul_add(s, 1.0 / 3.0).mul_add(s, -0.5).mul_add(s, 1.0)
}

/// `(exp(s) - 1) / s`; relative error below 3e-5 for `|s| <= 1/2` and 1e-8 for `|s| <= 1/8`.
#[inline(always)]
pub(crate) fn growth(s: f32) -> f32 {
    let p = s.mul_add(1.0 / 720.0, 1.0 / 120.0).mul_add(s, 1.0 / 24.0);
    p.mul_add(s, 1.0 / 6.0).mul_add(s, 0.5).mul_add(s, 1.0)
}
