//! Steps that are a power of the distance to the bound.

use super::common::{Cell, PulsedParameters};
use super::math::{self, expm1, ln_1p, pow_unit, ratio};
use super::response::Response;
use super::rule::{
    Branch, CellRef, MAX_EXTRA, PulsedDevice, Rule, WriteNoise, select, write_noise,
};
use crate::config::{finite, params};
use crate::error::Result;
use crate::simd::smaller;

params! {
    /// Device whose step is a power of the relative distance to the bound (Frascaroli et al.,
    /// "Evidence of soft bound behaviour in analogue memristive devices for neuromorphic computing",
    /// Sci. Rep. 8, 7178, 2018). With `R = max_bound - min_bound`:
    /// `w += dwmin_up ((max_bound - w) / R)^gamma_up (1 + dw_min_std xi)` for an up pulse,
    /// `w -= dwmin_down ((w - min_bound) / R)^gamma_down (1 + dw_min_std xi)` for a down pulse.
    pub struct PowStep {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
        /// Mean exponent.
        pow_gamma: real = 1.0;
        /// Relative spread of the exponent.
        pow_gamma_dtod: real = 0.1;
        /// Weakening of the exponent of down pulses (positive) or up pulses (negative).
        pow_up_down: real = 0.0;
        /// Spread of that asymmetry, relative to `pow_gamma`.
        pow_up_down_dtod: real = 0.0;
        /// Noise of the visible weight in units of `dw_min`, or absolute if that is 0; 0 is none.
        write_noise_std: real = 0.0;
        /// Whether weights that are set receive write noise.
        apply_write_noise_on_set: bool = true;
    }
}

/// One pulse of a device with power steps.
#[derive(Debug, Clone, Copy)]
pub struct PowRule {
    std: f32,
}

impl PowRule {
    pub(super) fn new(std: f64) -> Self {
        Self { std: std as f32 }
    }

    pub(super) fn response(self) -> Response {
        Response::new(&[math::WGSL, include_str!("pow_step.wgsl")], self.std, &[]).with_flow()
    }
}

/// Positions of the exponents, and in the prepared constants of `1 / R`.
const GAMMA: [usize; 2] = [0, 1];
const INVERSE: usize = 2;

/// Relative distance to the bound below which derivatives stay what they are at it: an exponent below 1
/// lets them diverge, and a weight is rounded to some 1e-7 of its range.
const CLOSE: f32 = 1e-6;

/// A change of the relative distance beyond all bounds.
const FAR: f32 = 1e30;

/// Relative distance to the bound, within 0..=1.
#[inline(always)]
fn distance(w: f32, up: bool, cell: CellRef) -> f32 {
    let x = select(up, cell.max_bound - w, w - cell.min_bound) * cell.extra[INVERSE];
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 1.0 { x } else { 1.0 }
}

#[inline(always)]
fn gamma(up: bool, cell: CellRef) -> f32 {
    select(up, cell.extra[GAMMA[0]], cell.extra[GAMMA[1]])
}

impl Rule for PowRule {
    #[inline(always)]
    fn prepare(self, mut cell: CellRef) -> CellRef {
        let range = cell.max_bound - cell.min_bound;
        let moves = range > 0.0;
        cell.up = select(moves, cell.up, 0.0);
        cell.down = select(moves, cell.down, 0.0);
        cell.extra[INVERSE] = select(moves, 1.0 / range, 0.0);
        cell
    }

    #[inline(always)]
    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        let size = select(up, cell.up, -cell.down);
        size * pow_unit(distance(w, up, cell), gamma(up, cell))
    }

    #[inline(always)]
    fn noise(self, mean: f32, _w: f32, _up: bool, _cell: CellRef) -> f32 {
        self.std * mean
    }

    #[inline(always)]
    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        let mean = self.mean(w, up, cell);
        let (x, gamma) = (distance(w, up, cell), gamma(up, cell));
        // Per unit of weight towards the bound.
        let rate = select(up, -1.0, 1.0) * cell.extra[INVERSE] / if x > CLOSE { x } else { CLOSE };
        let slope = mean * gamma * rate;
        Branch::multiplicative(mean, slope, slope * (gamma - 1.0) * rate, self.std)
    }

    #[inline(always)]
    fn std(self) -> f32 {
        self.std
    }

    /// With the relative distance `r` to the bound and `y = size u r^(p - 1) / R`, what would be lost of it at
    /// the present rate, the flow `r -> (r^(1 - p) - (1 - p) size u / R)^(1 / (1 - p))` is
    /// `r e^(-y ln(1 + (p - 1) y) / ((p - 1) y))`, also for `p = 1`.
    #[inline(always)]
    fn flow(self, w: f32, up: bool, u: f32, cell: CellRef) -> f32 {
        let (r, power) = (distance(w, up, cell), gamma(up, cell) - 1.0);
        let size = select(up, cell.up, cell.down);
        // Next to the bound an exponent below 1 makes it larger than any way needs.
        let y = size * u * cell.extra[INVERSE] * smaller(pow_unit(r, power), 1e15);
        let t = power * y;
        let change = expm1(-y * ratio(ln_1p(t), t));
        // An exponent below 1 reaches the bound, and backwards one above 1 all others.
        let end = select(y > 0.0, -1.0, FAR);
        let change = r * select(t > -1.0, change, end);
        (select(up, -1.0, 1.0) * (cell.max_bound - cell.min_bound)).mul_add(change, w)
    }
}

/// The fields of the exponents that both power devices have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exponents {
    pub(super) gamma: f64,
    pub(super) dtod: f64,
    pub(super) up_down: f64,
    pub(super) up_down_dtod: f64,
    pub(super) enforce_consistency: bool,
}

impl Exponents {
    /// Exponents of up and down pulses of a cell that drew `normals`.
    pub(super) fn draw(self, normals: &[f64]) -> [f64; 2] {
        let gain = 1.0 + self.dtod * normals[0];
        let asymmetry = self.up_down_dtod * normals[1];
        let up = (self.up_down.min(0.0) + gain + asymmetry) * self.gamma;
        let down = (gain - asymmetry - self.up_down.max(0.0)) * self.gamma;
        if self.enforce_consistency { [up.abs(), down.abs()] } else { [up, down] }
    }

    pub(super) fn vary(self) -> bool {
        self.gamma != 0.0 && (self.dtod != 0.0 || self.up_down_dtod != 0.0)
    }

    pub(super) fn validate(self, path: &str) -> Result<()> {
        for (field, value) in [
            ("pow_gamma", self.gamma),
            ("pow_gamma_dtod", self.dtod),
            ("pow_up_down", self.up_down),
            ("pow_up_down_dtod", self.up_down_dtod),
        ] {
            finite(path, field, value)?;
        }
        Ok(())
    }
}

impl PowStep {
    fn exponents(&self) -> Exponents {
        Exponents {
            gamma: self.pow_gamma,
            dtod: self.pow_gamma_dtod,
            up_down: self.pow_up_down,
            up_down_dtod: self.pow_up_down_dtod,
            enforce_consistency: self.pulsed.enforce_consistency,
        }
    }
}

impl PulsedDevice for PowStep {
    const NAME: &'static str = "PowStep";
    const EXTRA: &'static [&'static str] = &["gamma_up", "gamma_down"];
    const EXTRA_DRAWS: usize = 2;
    type Rule<'a> = PowRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        self.exponents().validate(path)?;
        finite(path, "write_noise_std", self.write_noise_std)
    }

    fn rule(&self) -> PowRule {
        PowRule::new(self.pulsed.dw_min_std)
    }

    fn response(&self) -> Response {
        self.rule().response()
    }

    /// The step in the middle of the range.
    fn granularity(&self) -> f64 {
        self.pulsed.dw_min * 0.5f64.powf(self.pow_gamma)
    }

    fn write_noise(&self) -> Option<WriteNoise> {
        write_noise(self.write_noise_std, self.apply_write_noise_on_set, &self.pulsed)
    }

    fn extra(&self, _cell: &mut Cell, normals: &[f64]) -> [f64; MAX_EXTRA] {
        let [up, down] = self.exponents().draw(normals);
        [up, down, 0.0, 0.0]
    }

    fn extra_varies(&self) -> bool {
        self.exponents().vary()
    }
}
