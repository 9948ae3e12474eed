//! How a property of devices depends on their conductance.

use super::draws::BLOCK;
use crate::devices::math::{exp2, log2};
use crate::simd::{clip, larger, select, smaller};

/// Smallest relative conductance that a logarithm is taken of.
const ZERO: f32 = 1e-7;

/// A function of a conductance.
#[derive(Debug, Clone)]
pub(super) enum Curve {
    /// The same for all.
    Constant(f32),
    /// `slope ln rho + offset` within limits below a relative conductance, a polynomial from there on.
    Fit {
        threshold: f32,
        slope: f32,
        offset: f32,
        low: f32,
        high: f32,
        /// Constant term first.
        coefficients: &'static [f32],
    },
    /// `factor / max(rho^power, 1e-3)`, at most `high`.
    Inverse { factor: f32, power: f32, high: f32 },
    /// Linear between values at ascending conductances in µS, constant beyond the ends.
    Table { nodes: Vec<f32>, values: Vec<f32> },
}

impl Curve {
    /// A logarithm within limits.
    pub(super) const fn logarithm(slope: f32, offset: f32, [low, high]: [f32; 2]) -> Self {
        let threshold = f32::INFINITY;
        Self::Fit { threshold, slope, offset, low, high, coefficients: &[] }
    }

    /// A table.
    pub(super) fn table(nodes: &[f64], values: &[f64]) -> Self {
        let narrow = |list: &[f64]| list.iter().map(|value| *value as f32).collect();
        Self::Table { nodes: narrow(nodes), values: narrow(values) }
    }

    /// The values at conductances in µS, relative to `g_max`.
    #[inline(always)]
    pub(super) fn at(&self, g: &[f32; BLOCK], g_max: f32) -> [f32; BLOCK] {
        let mut out = [0.0f32; BLOCK];
        match self {
            Self::Constant(value) => out.fill(*value),
            Self::Fit { threshold, slope, offset, low, high, coefficients } => {
                // Loops over the block inside of those over coefficients are vectorised.
                let (mut rho, mut polynomial) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
                for at in 0..BLOCK {
                    rho[at] = (g[at] / g_max).abs();
                }
                for coefficient in coefficients.iter().rev() {
                    for at in 0..BLOCK {
                        polynomial[at] = polynomial[at].mul_add(rho[at], *coefficient);
                    }
                }
                for at in 0..BLOCK {
                    let log = log2(larger(rho[at], ZERO)) * std::f32::consts::LN_2;
                    let logarithm = clip(slope.mul_add(log, *offset), *low, *high);
                    out[at] = select(rho[at] < *threshold, logarithm, polynomial[at]);
                }
            }
            Self::Inverse { factor, power, high } => {
                for at in 0..BLOCK {
                    let rho = larger((g[at] / g_max).abs(), f32::MIN_POSITIVE);
                    let root = exp2(power * log2(rho));
                    out[at] = smaller(factor / larger(root, 1e-3), *high);
                }
            }
            Self::Table { nodes, values } => {
                out.fill(values.first().copied().unwrap_or(0.0));
                // As a sum over pieces, each of which is climbed as far as the conductance reaches.
                for (ends, heights) in nodes.windows(2).zip(values.windows(2)) {
                    let width = ends[1] - ends[0];
                    let slope = (heights[1] - heights[0]) / width;
                    for at in 0..BLOCK {
                        out[at] = slope.mul_add(clip(g[at] - ends[0], 0.0, width), out[at]);
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_go_through_their_points_and_end_flat() {
        let curve = Curve::table(&[0.0, 10.0, 25.0], &[0.1, 0.06, 0.05]);
        let mut g = [0.0; BLOCK];
        g[..6].copy_from_slice(&[-1.0, 0.0, 5.0, 10.0, 25.0, 30.0]);
        let found = curve.at(&g, 25.0);
        for (value, expected) in found.iter().zip([0.1, 0.1, 0.08, 0.06, 0.05, 0.05]) {
            // Three roundings of numbers of this size.
            assert!((value - expected).abs() < 2e-8, "{found:?}");
        }
    }

    #[test]
    fn nothing_at_zero_is_infinite() {
        let g = [0.0; BLOCK];
        let logarithm = Curve::logarithm(-0.0155, 0.0244, [0.049, 0.1]);
        assert_eq!(logarithm.at(&g, 25.0)[0], 0.1);
        let inverse = Curve::Inverse { factor: 0.0088, power: 0.65, high: 0.2 };
        assert_eq!(inverse.at(&g, 25.0)[0], 0.2);
    }
}
