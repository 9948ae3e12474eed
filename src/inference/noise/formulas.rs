//! Formulas for noisy conductances that models of several technologies share.

use super::curve::Curve;
use super::draws::{BLOCK, RowDraws};
use crate::config::{finite, require};
use crate::devices::math::exp2;
use crate::error::{Error, Result, shown};
use crate::simd::{self, Work, larger};

/// Conversions round: a thousandth of a microsiemens is less than any device can be set to.
const LOWEST_TARGET: f32 = -1e-3;

/// A normal error of programming, whose deviation is a polynomial of the conductance.
pub(super) struct Spread<'a> {
    /// Deviation in µS over `g / unit`, constant term first.
    pub(super) coefficients: &'a [f64],
    /// Factor on the deviation.
    pub(super) scale: f64,
    /// Conductance in µS that the polynomial has for 1.
    pub(super) unit: f64,
    /// Whether conductances below zero become zero, and such targets are refused.
    pub(super) is_positive: bool,
}

impl Spread<'_> {
    /// Writes what programming arrives at.
    pub(super) fn program(&self, target: &[f32], out: &mut [f32], draws: RowDraws) -> Result<()> {
        if self.is_positive {
            check_targets(target)?;
        }
        let narrow = |value: &f64| (value * self.scale) as f32;
        let coefficients: Vec<f32> = self.coefficients.iter().map(narrow).collect();
        let lowest = if self.is_positive { 0.0 } else { f32::NEG_INFINITY };
        let (coefficients, unit) = (&coefficients[..], self.unit as f32);
        simd::run(Programming { coefficients, unit, lowest, target, out, draws });
        Ok(())
    }
}

/// Refuses negative targets, which programming would make zero.
fn check_targets(g_target: &[f32]) -> Result<()> {
    let lowest = g_target.iter().fold(0.0f32, |lowest, g| lowest.min(*g));
    if lowest >= LOWEST_TARGET {
        return Ok(());
    }
    let found = shown(lowest);
    let why = format!(
        "conductances cannot be negative, found {found}; a conversion has to give devices of both \
         signs, or an offset, to weights"
    );
    Err(Error::Argument { argument: "g_target", why })
}

struct Programming<'a> {
    coefficients: &'a [f32],
    unit: f32,
    lowest: f32,
    target: &'a [f32],
    out: &'a mut [f32],
    draws: RowDraws,
}

impl Work for Programming<'_> {
    type Home = Spread<'static>;

    #[inline(always)]
    fn run(self) {
        let blocks = self.target.chunks(BLOCK).zip(self.out.chunks_mut(BLOCK));
        for (number, (target, out)) in blocks.enumerate() {
            let g = block(target);
            let mut normals = [0.0f32; BLOCK];
            self.draws.fill_block(0, number * BLOCK, &mut normals[..target.len()]);
            let mut sigma = [0.0f32; BLOCK];
            for coefficient in self.coefficients.iter().rev() {
                for at in 0..BLOCK {
                    sigma[at] = sigma[at].mul_add(g[at] / self.unit, *coefficient);
                }
            }
            for at in 0..BLOCK {
                normals[at] = larger(sigma[at].mul_add(normals[at], g[at]), self.lowest);
            }
            out.copy_from_slice(&normals[..out.len()]);
        }
    }
}

/// Drift exponents `|mean + spread xi| scale`.
pub(super) struct Exponents {
    pub(super) mean: Curve,
    pub(super) spread: Curve,
    pub(super) scale: f64,
    /// Conductance in µS that relative ones refer to.
    pub(super) g_max: f64,
}

impl Exponents {
    /// Writes the exponents of devices with these targets.
    pub(super) fn draw(&self, target: &[f32], out: &mut [f32], draws: RowDraws) {
        simd::run(Drawing { exponents: self, target, out, draws });
    }
}

struct Drawing<'a> {
    exponents: &'a Exponents,
    target: &'a [f32],
    out: &'a mut [f32],
    draws: RowDraws,
}

impl Work for Drawing<'_> {
    type Home = Exponents;

    #[inline(always)]
    fn run(self) {
        let Exponents { mean, spread, scale, g_max } = self.exponents;
        let (scale, g_max) = (*scale as f32, *g_max as f32);
        let blocks = self.target.chunks(BLOCK).zip(self.out.chunks_mut(BLOCK));
        for (number, (target, out)) in blocks.enumerate() {
            let g = block(target);
            let mut normals = [0.0f32; BLOCK];
            self.draws.fill_block(0, number * BLOCK, &mut normals[..target.len()]);
            let (mean, spread) = (mean.at(&g, g_max), spread.at(&g, g_max));
            for at in 0..BLOCK {
                normals[at] = spread[at].mul_add(normals[at], mean[at]).abs() * scale;
            }
            out.copy_from_slice(&normals[..out.len()]);
        }
    }
}

/// Drift by a power law, and read noise in proportion to what drift has left.
pub(super) struct PowerLaw {
    /// Time between programming and the first moment with drift, in seconds.
    pub(super) t_0: f64,
    /// Duration of a read, in seconds.
    pub(super) t_read: f64,
    /// Read noise per conductance at `read_noise_growth` 1, over the programmed conductance.
    pub(super) strength: Curve,
    /// Factor on the read noise.
    pub(super) read_noise_scale: f64,
    /// Conductance in µS that relative ones refer to.
    pub(super) g_max: f64,
}

impl PowerLaw {
    /// Writes conductances as they are read `t_inference` seconds after the first moment with drift.
    pub(super) fn read(
        &self,
        programmed: &[f32],
        exponents: Option<&[f32]>,
        t_inference: f64,
        out: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        if let Some(exponents) = exponents {
            Error::check_len("drift_noise_param", exponents.len(), programmed.len())?;
        }
        let t = t_inference + self.t_0;
        let drifts = t > self.t_0;
        simd::run(Reading {
            log2_ratio: (t / self.t_0).log2() as f32,
            noise: (self.read_noise_scale * read_noise_growth(t, self.t_read)) as f32,
            strength: &self.strength,
            g_max: self.g_max as f32,
            exponents: exponents.filter(|_| drifts),
            programmed,
            out,
            draws,
        });
        Ok(())
    }
}

struct Reading<'a> {
    /// Base-2 logarithm of the time in units of `t_0`.
    log2_ratio: f32,
    noise: f32,
    strength: &'a Curve,
    g_max: f32,
    exponents: Option<&'a [f32]>,
    programmed: &'a [f32],
    out: &'a mut [f32],
    draws: RowDraws,
}

impl Work for Reading<'_> {
    type Home = PowerLaw;

    #[inline(always)]
    fn run(self) {
        let blocks = self.programmed.chunks(BLOCK).zip(self.out.chunks_mut(BLOCK));
        for (number, (programmed, out)) in blocks.enumerate() {
            let (first, mut g) = (number * BLOCK, block(programmed));
            let sigma = self.strength.at(&g, self.g_max);
            if let Some(exponents) = self.exponents {
                let nu = block(&exponents[first..first + programmed.len()]);
                for at in 0..BLOCK {
                    g[at] *= exp2(-nu[at] * self.log2_ratio);
                }
            }
            if self.noise != 0.0 {
                let mut normals = [0.0f32; BLOCK];
                self.draws.fill_block(0, first, &mut normals[..programmed.len()]);
                for at in 0..BLOCK {
                    g[at] = (g[at].abs() * sigma[at] * self.noise).mul_add(normals[at], g[at]);
                }
            }
            for (out, g) in out.iter_mut().zip(&g) {
                *out = larger(*g, 0.0);
            }
        }
    }
}

/// How read noise grows with time, zero below `t_read`: of 1/f noise it is
/// `sqrt(ln((t + t_read) / (2 t_read)))`, times in seconds.
#[must_use]
pub fn read_noise_growth(t: f64, t_read: f64) -> f64 {
    ((t + t_read) / (2.0 * t_read)).ln().max(0.0).sqrt()
}

/// Some values, and zeros behind them: loops over whole blocks are vectorised.
#[inline(always)]
pub(super) fn block(values: &[f32]) -> [f32; BLOCK] {
    let mut block = [0.0f32; BLOCK];
    block[..values.len()].copy_from_slice(values);
    block
}

/// Checks that fields are finite.
pub(super) fn check_finite(path: &str, fields: &[(&str, f64)]) -> Result<()> {
    fields.iter().try_for_each(|(field, value)| finite(path, field, *value))
}

/// Checks that fields are positive.
pub(super) fn check_positive(path: &str, fields: &[(&str, f64)]) -> Result<()> {
    fields.iter().try_for_each(|(field, value)| {
        finite(path, field, *value)?;
        require(*value > 0.0, path, field, format!("must be positive, got {}", shown(*value)))
    })
}

/// Checks that a model refers to the largest conductance that its devices have.
pub(super) fn check_g_max(path: &str, g_max: f64, own: f64) -> Result<()> {
    check_positive(path, &[("g_max", g_max)])?;
    let [found, expected] = [g_max, own].map(shown);
    let why = format!(
        "is {found}, but that of g_converter {expected}; build the model anew with its converter, whose \
         g_max it takes over"
    );
    require(g_max == own, path, "g_max", why)
}
