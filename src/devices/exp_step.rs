//! Steps that fall exponentially with the weight.

use super::common::PulsedParameters;
use super::math::{self, exp, exp_and_expm1, ln_near_1, ratio};
use super::response::Response;
use super::rule::{Branch, CellRef, PulsedDevice, Rule, WriteNoise, select, write_noise};
use crate::config::{finite, params, require};
use crate::error::Result;
use crate::simd::larger;

params! {
    /// Device with exponential steps, fitted to resistive memory (Gong et al., "Signal and noise
    /// extraction from analog memory elements for neuromorphic computing", Nat. Commun. 9, 2102,
    /// 2018). With `z = 2 a w / (max_bound - min_bound) + b`:
    /// `w += dwmin_up max(1 - A_up exp(gamma_up z), 0)` for an up pulse,
    /// `w -= dwmin_down max(1 - A_down exp(-gamma_down z), 0)` for a down pulse. The noise of a step
    /// is `dw_min_std (|step| + dw_min_std_add + dw_min_std_slope |w|) xi`.
    #[allow(non_snake_case, reason = "names of the literature")]
    pub struct ExpStep {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
        /// Amplitude of the decrease of up steps.
        A_up: real = 0.000_81;
        /// Amplitude of the decrease of down steps.
        A_down: real = 0.368_33;
        /// Exponent of up steps.
        gamma_up: real = 12.446_25;
        /// Exponent of down steps.
        gamma_down: real = 12.787_85;
        /// Factor on the weight in units of half the range.
        a: real = 0.244;
        /// Offset of the weight in the exponent.
        b: real = 0.242_5;
        /// Part of the noise that depends neither on the step nor on the weight, in weight units.
        dw_min_std_add: real = 0.0;
        /// Part of the noise that grows with the absolute weight.
        dw_min_std_slope: real = 0.0;
        /// Noise of the visible weight in units of `dw_min`, or absolute if that is 0; 0 is none.
        write_noise_std: real = 0.0;
        /// Whether weights that are set receive write noise.
        apply_write_noise_on_set: bool = true;
    }
}

/// One pulse of [`ExpStep`].
#[derive(Debug, Clone, Copy)]
pub struct ExpStepRule {
    std: f32,
    amplitude: [f32; 2],
    /// Exponent per unit of `z`, negative for down pulses.
    gamma: [f32; 2],
    a: f32,
    b: f32,
    add: f32,
    slope: f32,
    complex: bool,
    /// `z` at which a step vanishes, up and down; far away where it never does.
    end: [f32; 2],
}

/// Positions in the prepared constants: `dz / dw` and its inverse, and 1 for cells that can move.
const SCALE: usize = 0;
const INVERSE: usize = 1;
const ACTIVE: usize = 2;

/// A weight, in units of `z`, that no cell reaches.
const NOWHERE: f32 = 1e30;
/// A change of the weight beyond all bounds.
const FAR: f32 = 1e30;

impl ExpStepRule {
    /// `A exp(gamma z)`.
    #[inline(always)]
    fn decrease(self, w: f32, up: bool, cell: CellRef) -> f32 {
        let z = cell.extra[SCALE].mul_add(w, self.b);
        let gamma = select(up, self.gamma[0], self.gamma[1]);
        select(up, self.amplitude[0], self.amplitude[1]) * exp(gamma * z)
    }
}

impl Rule for ExpStepRule {
    #[inline(always)]
    fn prepare(self, mut cell: CellRef) -> CellRef {
        let range = cell.max_bound - cell.min_bound;
        let moves = range > 0.0;
        cell.up = select(moves, cell.up, 0.0);
        cell.down = select(moves, cell.down, 0.0);
        cell.extra[SCALE] = select(moves, 2.0 * self.a / range, 0.0);
        cell.extra[INVERSE] = range / (2.0 * self.a);
        cell.extra[ACTIVE] = select(moves, 1.0, 0.0);
        cell
    }

    #[inline(always)]
    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        let rest = 1.0 - self.decrease(w, up, cell);
        select(up, cell.up, -cell.down) * select(rest > 0.0, rest, 0.0)
    }

    #[inline(always)]
    fn noise(self, mean: f32, w: f32, _up: bool, cell: CellRef) -> f32 {
        let full = cell.extra[ACTIVE] * (self.slope.mul_add(w.abs(), self.add) + mean.abs());
        self.std * select(self.complex, full, mean)
    }

    #[inline(always)]
    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        let decrease = self.decrease(w, up, cell);
        let moves = decrease < 1.0;
        let size = select(up, cell.up, -cell.down);
        let rate = select(up, self.gamma[0], self.gamma[1]) * cell.extra[SCALE];
        // Last, for the decrease may be infinite where nothing is left of a step.
        let mean = select(moves, size * (1.0 - decrease), 0.0);
        let slope = select(moves, -size * decrease * rate, 0.0);
        let noise = self.noise(mean, w, up, cell);
        let full = slope.mul_add(1.0f32.copysign(mean), self.slope.copysign(w));
        let noise_slope = self.std * select(self.complex, cell.extra[ACTIVE] * full, slope);
        Branch { mean, slope, curvature: slope * rate, noise, noise_slope }
    }

    #[inline(always)]
    fn smooth(self, w: f32, cell: CellRef) -> [f32; 2] {
        let mut interval = [cell.min_bound, cell.max_bound];
        for end in self.end {
            interval = cut(interval, w, (end - self.b) * cell.extra[INVERSE]);
        }
        // The absolute weight in the noise.
        let origin = select(self.complex & (self.slope != 0.0), 0.0, NOWHERE);
        cut(interval, w, origin)
    }

    #[inline(always)]
    fn std(self) -> f32 {
        self.std
    }

    /// With `k = gamma dz/dw`, what a step has lost, `p = A e^(gamma z)`, and what is left, `q = 1 - p`, the flow
    /// `e^(-k w) -> B + (e^(-k w) - B) e^t` with `B = A e^(gamma b)` and `t = -k size u` is
    /// `w - ln(p + q e^t) / k`. Small changes keep their digits as `ln(1 + q (e^t - 1))`, and steps that grow do not
    /// overflow as `t + ln(q + p e^-t)`. A step that has ended stays so.
    #[inline(always)]
    fn flow(self, w: f32, up: bool, u: f32, cell: CellRef) -> f32 {
        let lost = self.decrease(w, up, cell);
        let rest = 1.0 - lost;
        let rate = select(up, self.gamma[0], self.gamma[1]) * cell.extra[SCALE];
        let size = select(up, cell.up, -cell.down);
        let t = -rate * size * u;
        let (far, grows) = (t.abs() > 1.0, t > 1.0);
        let [power, change] = exp_and_expm1(select(grows, -t, t));
        let x = rest * change;
        let sum = select(grows, lost.mul_add(power, rest), rest.mul_add(power, lost));
        let sum = select(far, sum, 1.0 + x);
        let log = ln_near_1(larger(sum, f32::MIN_POSITIVE), select(far, 1.0, x));
        let near = size * u * rest * ratio(change, t) * ratio(log, x);
        let moved = select(far, -(log + select(grows, t, 0.0)) / rate, near);
        // A negative amplitude lets steps grow beyond all limits before the end.
        let moved = select(sum > 0.0, moved, FAR.copysign(size));
        let moved = select(lost == 0.0, size * u, moved);
        w + select(rest > 0.0, moved, 0.0)
    }
}

/// The part of an interval around `w` that ends at `kink`.
#[inline(always)]
fn cut([low, high]: [f32; 2], w: f32, kink: f32) -> [f32; 2] {
    let above = kink > w;
    [select(!above & (kink > low), kink, low), select(above & (kink < high), kink, high)]
}

impl ExpStep {
    /// The weight at the farther of the mean bounds, in units of half their range: 1 where they are
    /// symmetric, up to 2.
    fn farthest(&self) -> f64 {
        let PulsedParameters { w_max, w_min, .. } = self.pulsed;
        let range = w_max - w_min;
        if range > 0.0 { 2.0 * w_max.max(-w_min) / range } else { 1.0 }
    }
}

impl PulsedDevice for ExpStep {
    const NAME: &'static str = "ExpStep";
    type Rule<'a> = ExpStepRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        for (field, value) in [
            ("A_up", self.A_up),
            ("A_down", self.A_down),
            ("gamma_up", self.gamma_up),
            ("gamma_down", self.gamma_down),
            ("a", self.a),
            ("b", self.b),
            ("dw_min_std_add", self.dw_min_std_add),
            ("dw_min_std_slope", self.dw_min_std_slope),
            ("write_noise_std", self.write_noise_std),
        ] {
            finite(path, field, value)?;
        }
        // More would leave nothing of a step at any weight, or overflow. Cells whose range is less
        // even than that of the mean bounds may go further: their steps end there.
        let z = self.a.abs() * self.farthest() + self.b.abs();
        for (field, exponent) in [("gamma_up", self.gamma_up), ("gamma_down", self.gamma_down)] {
            let size = exponent.abs() * z;
            let why = "the exponent at the bounds exceeds 80; reduce gamma, a or b";
            require(size <= 80.0, path, field, why)?;
        }
        Ok(())
    }

    fn rule(&self) -> ExpStepRule {
        let end = |amplitude: f64, gamma: f64| {
            let has_end = amplitude > 0.0 && gamma != 0.0 && self.a != 0.0;
            if has_end { (-amplitude.ln() / gamma) as f32 } else { NOWHERE }
        };
        let complex = self.dw_min_std_add != 0.0 || self.dw_min_std_slope != 0.0;
        ExpStepRule {
            std: self.pulsed.dw_min_std as f32,
            amplitude: [self.A_up as f32, self.A_down as f32],
            gamma: [self.gamma_up as f32, -self.gamma_down as f32],
            a: self.a as f32,
            b: self.b as f32,
            add: self.dw_min_std_add as f32,
            slope: self.dw_min_std_slope as f32,
            complex,
            end: [end(self.A_up, self.gamma_up), end(self.A_down, -self.gamma_down)],
        }
    }

    fn response(&self) -> Response {
        let rule = self.rule();
        let ([a_up, a_down], [gamma_up, gamma_down]) = (rule.amplitude, rule.gamma);
        let complex = f32::from(u8::from(rule.complex));
        let constants =
            [a_up, a_down, gamma_up, gamma_down, rule.a, rule.b, rule.add, rule.slope, complex];
        Response::new(&[math::WGSL, include_str!("exp_step.wgsl")], rule.std, &constants)
            .with_flow()
    }

    /// The mean of the up and down steps at weight 0; `dw_min` if there are none.
    fn granularity(&self) -> f64 {
        let pulsed = &self.pulsed;
        let up = (1.0 - self.A_up * (self.gamma_up * self.b).exp()).max(0.0);
        let down = (1.0 - self.A_down * (-self.gamma_down * self.b).exp()).max(0.0);
        let up = up * (1.0 + pulsed.up_down.min(0.0));
        let down = down * (1.0 - pulsed.up_down.max(0.0));
        let mean = 0.5 * (up + down);
        if mean > 0.0 { mean * pulsed.dw_min } else { pulsed.dw_min }
    }

    fn write_noise(&self) -> Option<WriteNoise> {
        write_noise(self.write_noise_std, self.apply_write_noise_on_set, &self.pulsed)
    }
}
