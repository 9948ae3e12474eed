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

/// `ln(1 + s) / s` by its Taylor series, whose relative error is below 2e-7 for `|s| <= 1/16`.
#[inline(always)]
pub(crate) fn log_ratio(s: f32) -> f32 {
    s.mul_add(0.2, -0.25).mul_add(s, 1.0 / 3.0).mul_add(s, -0.5).mul_add(s, 1.0)
}

/// `(exp(s) - 1) / s` by its Taylor series, whose relative error is below 4e-6 for `|s| <= 1/2`.
#[inline(always)]
pub(crate) fn growth(s: f32) -> f32 {
    let p = s.mul_add(1.0 / 720.0, 1.0 / 120.0).mul_add(s, 1.0 / 24.0);
    p.mul_add(s, 1.0 / 6.0).mul_add(s, 0.5).mul_add(s, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_as_close_as_they_say() {
        for i in -1000..=1000 {
            let unit = f64::from(i) / 1000.0 + 1e-9;
            // Rounding of the result and of the terms before it adds up to two units.
            let rounding = 2.0 * f64::from(f32::EPSILON);
            let s = f64::from((unit * f64::from(MAX_STEP)) as f32);
            let error = f64::from(log_ratio(s as f32)) / (s.ln_1p() / s) - 1.0;
            assert!(error.abs() < 2e-7 + rounding, "ln at {s}: {error:e}");
            let s = f64::from((unit * f64::from(MAX_CHANGE)) as f32);
            let error = f64::from(growth(s as f32)) / (s.exp_m1() / s) - 1.0;
            assert!(error.abs() < 4e-6 + rounding, "exp at {s}: {error:e}");
        }
    }

    /// Steps `1 + s w` up and `-r (1 + t w)` down in every order, against the second order of the
    /// expansion: what is left is third order, at most a twelfth of the bracket times the change.
    #[test]
    fn third_order_is_bounded_by_a_twelfth() {
        const PULSES: u32 = 10;
        const SMALL: f64 = 1e-4;
        let mut worst: f64 = 0.0;
        for [s, t] in [[-1.0, -1.0], [-1.0, 1.0], [-1.0, 3.0], [-1.0, -0.01], [-0.01, -1.0]] {
            for order in 1..(1u32 << PULSES) - 1 {
                let (up, down) = ([1.0, SMALL * s], [-0.7, -0.7 * SMALL * t]);
                let (mut whole, mut end, mut ups, mut pairs) = (1.0, 0.0, 0.0, 0.0);
                for pulse in 0..PULSES {
                    let rises = order >> pulse & 1 == 1;
                    let [step, slope] = if rises { up } else { down };
                    // The flow of the field over unit time.
                    let growth = slope.exp_m1() / slope;
                    (whole, end) = (whole * slope.exp(), end * slope.exp() + step * growth);
                    if rises { ups += 1.0 } else { pairs += ups }
                }
                let downs = f64::from(PULSES) - ups;
                let bracket = up[0] * down[1] - down[0] * up[1];
                let rate = ups * up[1] + downs * down[1];
                let drive = ups * up[0] + downs * down[0] + (pairs - 0.5 * ups * downs) * bracket;
                let left = end - drive * if rate == 0.0 { 1.0 } else { rate.exp_m1() / rate };
                assert!((whole - rate.exp()).abs() < 1e-12);
                let change = (ups * up[1]).abs() + (downs * down[1]).abs();
                let third = (ups * downs * bracket).abs() * change;
                // The fourth order is smaller by another change, at most 0.003; and what is added up
                // in f64 leaves 1e-15.
                let limit = third / 12.0 * 1.01 + 1e-14;
                assert!(left.abs() <= limit, "{order:b} {s} {t}: {left:e} above {limit:e}");
                worst = worst.max((left.abs() - 1e-14) / third);
            }
        }
        // It comes close, so no smaller factor would do.
        assert!(worst > 0.08, "{worst}");
    }
}
