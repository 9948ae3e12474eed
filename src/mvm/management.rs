//! Noise management (the scale of an input) and bound management (when to repeat a product).

use super::converter::Converter;
use super::vector::{max, sum_negative, sum_positive};
use crate::config::{BoundManagement, IoParameters, NoiseManagement};
use crate::finite::max_abs;
use crate::simd::larger;

/// One input: what was given and the constant input of an analog bias.
#[derive(Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub given: &'a [f32],
    pub bias: Option<f32>,
    /// The largest absolute value, which nearly every product needs; NaN or infinite if a value is.
    max_abs: f32,
}

impl<'a> Sample<'a> {
    #[inline(always)]
    pub fn new(given: &'a [f32], bias: Option<f32>) -> Self {
        let max_abs = max_abs(given);
        let max_abs = match bias {
            Some(bias) if max_abs.is_finite() && bias.is_finite() => larger(bias.abs(), max_abs),
            Some(bias) if max_abs.is_finite() => bias,
            _ => max_abs,
        };
        Self { given, bias, max_abs }
    }

    /// Whether every input is finite; the product of another sample is NaN.
    #[inline(always)]
    pub fn is_finite(&self) -> bool {
        self.max_abs.is_finite()
    }

    #[inline(always)]
    fn max(&self) -> f32 {
        larger(self.bias.unwrap_or(f32::NEG_INFINITY), max(self.given))
    }

    /// The larger of the sum of positive inputs and the negated sum of negative inputs.
    #[inline(always)]
    fn one_sided_sum(&self) -> f32 {
        let bias = self.bias.unwrap_or(0.0);
        larger(
            sum_negative(self.given) + larger(-bias, 0.0),
            sum_positive(self.given) + larger(bias, 0.0),
        )
    }
}

/// Scale of the input before the DAC (section "noise management" of the model).
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoiseScale {
    pub kind: NoiseManagement,
    pub threshold: f32,
    pub assumed_wmax: f32,
    decay: f32,
    /// Output bound, 1 when there is none.
    pub out_bound: f32,
    /// Largest factor of the worst-case scale over the largest input; infinite without a DAC.
    pub largest_factor: f32,
}

impl NoiseScale {
    pub fn new(io: &IoParameters, input: &Converter, output: &Converter) -> Self {
        let factor = io.max_bm_res as f32 / input.step;
        Self {
            kind: io.noise_management,
            threshold: io.nm_thres as f32,
            assumed_wmax: io.nm_assumed_wmax as f32,
            decay: io.nm_decay as f32,
            out_bound: if output.clips() { output.bound } else { 1.0 },
            largest_factor: if input.quantises() { factor } else { f32::INFINITY },
        }
    }

    /// Whether inputs are scaled at all.
    pub fn active(&self) -> bool {
        self.kind != NoiseManagement::None
    }

    /// Whether the scale comes from a running average.
    pub fn averages(&self) -> bool {
        self.kind == NoiseManagement::AverageAbsMax
    }

    #[inline(always)]
    fn cap(&self, value: f32) -> f32 {
        if self.threshold > 0.0 && value > self.threshold { self.threshold } else { value }
    }

    /// Scale of one sample; `average` is the running value's answer for it, where that is used.
    #[inline(always)]
    pub fn of(&self, sample: &Sample<'_>, average: f32) -> f32 {
        match self.kind {
            NoiseManagement::None => 1.0,
            NoiseManagement::AbsMax => self.cap(sample.max_abs),
            NoiseManagement::Max => self.cap(sample.max()),
            NoiseManagement::Constant if self.threshold > 0.0 => self.threshold,
            NoiseManagement::Constant => 1.0,
            NoiseManagement::AverageAbsMax => average,
            NoiseManagement::AbsMaxNPSum => self.worst_case(sample),
        }
    }

    /// The scale that keeps the output within its bound for any weights up to the assumed largest.
    #[inline(always)]
    pub fn worst_case(&self, sample: &Sample<'_>) -> f32 {
        let largest = self.cap(sample.max_abs);
        let wanted = sample.one_sided_sum() * self.assumed_wmax / self.out_bound;
        let limit = largest * self.largest_factor;
        // `0 * inf` is NaN and compares false, which leaves the zero of an all-zero input.
        let wanted = if wanted > limit { limit } else { wanted };
        larger(wanted, largest)
    }

    /// Scale by the running average. Training moves `running` (negative while unset); an all-zero
    /// or non-finite sample does not, so that it cannot spoil the samples after it.
    #[inline(always)]
    pub fn average(&self, sample: &Sample<'_>, running: &mut f32, is_test: bool) -> f32 {
        let (largest, unset) = (sample.max_abs, *running < 0.0);
        if largest <= 0.0 {
            return 0.0;
        }
        if is_test || !sample.is_finite() {
            return if unset { largest } else { *running };
        }
        *running =
            if unset { largest } else { (1.0 - self.decay) * *running + self.decay * largest };
        *running
    }
}

/// No parameter choice repeats a product more often than this: the number of the pass is part of the
/// position of draws, and those of negative reads begin here.
const MAX_PASSES: u32 = 64;

/// When a product whose output clipped is repeated with a smaller input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repeats {
    active: bool,
    worst_case: bool,
    max_factor: i64,
    max_reduction: f32,
    /// Whether the negative bound counts.
    pub test_negative: bool,
}

impl Repeats {
    pub fn new(io: &IoParameters, input: &Converter, forward: bool) -> Self {
        let scales_itself =
            matches!(io.noise_management, NoiseManagement::AbsMaxNPSum | NoiseManagement::None);
        let worst_case = io.bound_management == BoundManagement::IterativeWorstCase;
        let limit = io.max_bm_res as f32 / input.step;
        Self {
            active: forward && io.bound_management != BoundManagement::None,
            worst_case: worst_case && !scales_itself,
            max_factor: io.max_bm_factor,
            max_reduction: if input.quantises() { limit } else { f32::INFINITY },
            test_negative: io.bm_test_negative_bound,
        }
    }

    /// Reduction of the input in pass number `pass`: doubles each time; the worst-case scale of the
    /// second pass starts again at 1.
    pub fn reduction(&self, pass: u32) -> f32 {
        let doublings = if self.worst_case { pass.saturating_sub(1) } else { pass };
        (1u64 << doublings.min(63)) as f32
    }

    /// Whether pass number `pass` uses the worst-case scale.
    pub fn worst_case(&self, pass: u32) -> bool {
        self.worst_case && pass > 0
    }

    /// Whether samples that clipped in pass number `pass` get another one.
    pub fn again(&self, pass: u32) -> bool {
        let reduction = self.reduction(pass);
        self.active
            && reduction as i64 <= self.max_factor
            && reduction <= self.max_reduction
            && pass + 1 < MAX_PASSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(io: &IoParameters) -> u32 {
        let input = Converter::new(io.inp_res, io.inp_bound, false);
        let repeats = Repeats::new(io, &input, true);
        (0..).find(|pass| !repeats.again(*pass)).map_or(0, |pass| pass + 1)
    }

    #[test]
    fn number_of_passes() {
        let io = IoParameters::default();
        assert_eq!(passes(&io), 5);
        assert_eq!(passes(&IoParameters { inp_res: -1.0, ..io.clone() }), 11);
        let worst = BoundManagement::IterativeWorstCase;
        assert_eq!(passes(&IoParameters { bound_management: worst, ..io.clone() }), 6);
        let endless = IoParameters { inp_res: -1.0, max_bm_factor: i64::MAX, ..io };
        assert_eq!(passes(&endless), 64);
    }

    #[test]
    fn running_average_ignores_zero_and_test_samples() {
        let io = IoParameters {
            noise_management: NoiseManagement::AverageAbsMax,
            nm_decay: 0.5,
            ..IoParameters::default()
        };
        let input = Converter::new(io.inp_res, io.inp_bound, false);
        let scale = NoiseScale::new(&io, &input, &input);
        fn sample(given: &[f32]) -> Sample<'_> {
            Sample::new(given, None)
        }
        let mut running = -1.0;
        assert_eq!(scale.average(&sample(&[0.0, 0.0]), &mut running, false), 0.0);
        assert_eq!(scale.average(&sample(&[-2.0]), &mut running, true), 2.0);
        assert_eq!(running, -1.0);
        assert_eq!(scale.average(&sample(&[-2.0]), &mut running, false), 2.0);
        assert_eq!(scale.average(&sample(&[4.0]), &mut running, false), 3.0);
        assert_eq!(scale.average(&sample(&[f32::INFINITY]), &mut running, false), 3.0);
        assert_eq!(running, 3.0);
    }
}
