//! What the passes of hardware-aware training see instead of the weights: a copy with the errors that
//! the weights will have on the chip.
//!
//! Training steps change the weights themselves; the copy is drawn anew after each of them. An element is
//! changed in this order: formula of the kind, then `pdrop`, then the last column is put back. Every draw
//! is a function of key, row and column.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `cells` | what formulas see of the weights, and where their draws are |
//! | `formula` | what becomes of a weight, by kind |
//! | `normals` | normal draws |
//! | `pcm` | phase-change memory |

mod cells;
mod formula;
mod normals;
mod pcm;

use std::sync::atomic::{AtomicU32, Ordering};

use self::cells::{Cells, DROP};
use self::formula::Formula;
use self::normals::BLOCK;
use crate::config::{ModifierParameters, ModifierType};
use crate::error::{Error, Result};
use crate::par::Par;
use crate::rng::{Draw, Key, Stream};
use crate::simd::{self, Work, larger};

/// A checked modifier of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Modifier {
    parameters: ModifierParameters,
    coeffs: Vec<f32>,
}

/// Cells of one task, about: some microseconds of work.
const CELLS: usize = 1 << 13;
/// Nanoseconds per cell and draw, per cell without, and per cell for the largest one.
const DRAW_NS: f64 = 0.7;
const CELL_NS: f64 = 0.3;
const READ_NS: f64 = 0.1;
/// Partial maxima that are kept beside each other.
const LANES: usize = 16;

impl Modifier {
    /// A modifier.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn new(parameters: &ModifierParameters) -> Result<Self> {
        parameters.validate("modifier")?;
        let coeffs = parameters.coeffs.iter().map(|value| *value as f32).collect();
        Ok(Self { parameters: parameters.clone(), coeffs })
    }

    /// Its parameters.
    #[must_use]
    pub fn parameters(&self) -> &ModifierParameters {
        &self.parameters
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn acts(&self) -> bool {
        let p = &self.parameters;
        p.kind != ModifierType::None && (p.pdrop > 0.0 || self.changes())
    }

    /// Whether the formula changes anything.
    fn changes(&self) -> bool {
        let p = &self.parameters;
        match p.kind {
            ModifierType::None | ModifierType::DropConnect | ModifierType::Copy => false,
            ModifierType::Discretize | ModifierType::Dorefa => p.res > 0.0,
            ModifierType::MultNormal | ModifierType::AddNormal => p.std_dev > 0.0,
            ModifierType::DiscretizeAddNormal => p.res > 0.0 || p.std_dev > 0.0,
            ModifierType::Poly | ModifierType::ProgNoise => {
                p.std_dev > 0.0 && !self.coeffs.is_empty()
            }
            ModifierType::PcmNoise => true,
        }
    }

    /// Writes what becomes of `weights`, rows of `columns`, to `modified`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn modify(
        &self,
        weights: &[f32],
        modified: &mut [f32],
        columns: usize,
        key: Key,
    ) -> Result<()> {
        let columns = columns.max(1);
        let rows = weights.len() / columns;
        Error::check_len("weights", weights.len(), rows * columns)?;
        Error::check_len("modified", modified.len(), weights.len())?;
        if !self.acts() {
            modified.copy_from_slice(weights);
            return Ok(());
        }
        let formula = match self.changes() {
            true => Formula::new(&self.parameters, &self.coeffs, self.wmax(weights, columns)?),
            false => Formula::Keep,
        };
        let p = &self.parameters;
        let draws = formula.draws() + f64::from(u8::from(p.pdrop > 0.0));
        let par = Par::of((CELL_NS + DRAW_NS * draws) * weights.len() as f64);
        let height = height(par, rows, columns);
        let (formula, draw) = (&formula, key.stream(Stream::Modifier));
        let pieces = weights.chunks(height * columns).zip(modified.chunks_mut(height * columns));
        par.for_each(pieces.enumerate(), |(at, (weights, modified))| {
            let (first, pdrop, keeps_last) = (at * height, p.pdrop as f32, p.copy_last_column);
            simd::run(Rows { formula, draw, pdrop, keeps_last, columns, first, weights, modified });
            Ok(())
        })
    }

    /// Largest absolute weight: that of the weights, 1 if they are zero, or the assumed one.
    fn wmax(&self, weights: &[f32], columns: usize) -> Result<f32> {
        let p = &self.parameters;
        if !p.rel_to_actual_wmax {
            return Ok((p.assumed_wmax as f32).max(f32::MIN_POSITIVE));
        }
        let used = columns - usize::from(p.copy_last_column);
        let par = Par::of(READ_NS * weights.len() as f64);
        let height = height(par, weights.len() / columns, columns);
        let largest = AtomicU32::new(0);
        par.for_each(weights.chunks(height * columns), |weights| {
            simd::run(Largest { weights, columns, used, found: &largest });
            Ok(())
        })?;
        let largest = f32::from_bits(largest.into_inner());
        Ok(if largest == 0.0 { 1.0 } else { largest })
    }
}

/// Rows of one task.
fn height(par: Par, rows: usize, columns: usize) -> usize {
    if par.threads() == 1 { rows.max(1) } else { CELLS.div_ceil(columns) }
}

/// Some rows of which the largest absolute weight is looked for.
struct Largest<'a> {
    weights: &'a [f32],
    columns: usize,
    /// Columns that count.
    used: usize,
    /// Bits of the largest one so far: those of numbers that are not negative have their order.
    found: &'a AtomicU32,
}

impl Work for Largest<'_> {
    type Home = Modifier;

    #[inline(always)]
    fn run(self) {
        let mut lanes = [0.0f32; LANES];
        for row in self.weights.chunks_exact(self.columns) {
            let (whole, rest) = row[..self.used].as_chunks::<LANES>();
            for part in whole {
                for lane in 0..LANES {
                    lanes[lane] = larger(part[lane].abs(), lanes[lane]);
                }
            }
            for (lane, w) in lanes.iter_mut().zip(rest) {
                *lane = larger(w.abs(), *lane);
            }
        }
        let largest = lanes.iter().fold(0.0, |largest, lane| larger(*lane, largest));
        self.found.fetch_max(largest.to_bits(), Ordering::Relaxed);
    }
}

/// Some rows that are modified.
struct Rows<'a> {
    formula: &'a Formula<'a>,
    draw: Draw,
    pdrop: f32,
    keeps_last: bool,
    columns: usize,
    /// Number of the first one.
    first: usize,
    weights: &'a [f32],
    modified: &'a mut [f32],
}

impl Work for Rows<'_> {
    type Home = Modifier;

    #[inline(always)]
    fn run(self) {
        let columns = self.columns;
        let rows = self.weights.chunks_exact(columns).zip(self.modified.chunks_exact_mut(columns));
        for (local, (row, out)) in rows.enumerate() {
            let number = (self.first + local) as u32;
            for (chunk, (weights, out)) in row.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).enumerate()
            {
                let first = chunk * BLOCK;
                let cells = Cells { row: number, first, weights, modified: &mut *out };
                self.formula.apply(&self.draw, cells);
                if self.pdrop > 0.0 {
                    let mut uniforms = [0.0; BLOCK];
                    let uniforms = &mut uniforms[..out.len()];
                    self.draw.fill_uniform_from(first, number, DROP, uniforms);
                    for (w, u) in out.iter_mut().zip(&*uniforms) {
                        *w = if *u < self.pdrop { 0.0 } else { *w };
                    }
                }
            }
            if let (true, Some(out), Some(w)) = (self.keeps_last, out.last_mut(), row.last()) {
                *out = *w;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modifier(kind: ModifierType) -> ModifierParameters {
        ModifierParameters { kind, ..ModifierParameters::default() }
    }

    fn acts(parameters: &ModifierParameters) -> bool {
        Modifier::new(parameters).is_ok_and(|modifier| modifier.acts())
    }

    #[test]
    fn what_does_nothing() {
        for kind in [ModifierType::MultNormal, ModifierType::AddNormal] {
            assert!(!acts(&modifier(kind)));
            assert!(!acts(&ModifierParameters { std_dev: -0.1, res: 0.1, ..modifier(kind) }));
            assert!(acts(&ModifierParameters { std_dev: 0.1, ..modifier(kind) }));
        }
        for kind in [ModifierType::Discretize, ModifierType::Dorefa] {
            assert!(!acts(&ModifierParameters { std_dev: 0.1, res: -1.0, ..modifier(kind) }));
            assert!(acts(&ModifierParameters { res: 0.1, ..modifier(kind) }));
        }
        let both = modifier(ModifierType::DiscretizeAddNormal);
        assert!(!acts(&both));
        assert!(acts(&ModifierParameters { res: 0.1, ..both.clone() }));
        assert!(acts(&ModifierParameters { std_dev: 0.1, ..both }));
        for kind in [ModifierType::Poly, ModifierType::ProgNoise] {
            assert!(!acts(&modifier(kind)));
            let strong = ModifierParameters { std_dev: 0.1, ..modifier(kind) };
            assert!(acts(&strong));
            assert!(!acts(&ModifierParameters { coeffs: Vec::new(), ..strong }));
        }
        for kind in [ModifierType::Copy, ModifierType::DropConnect] {
            assert!(!acts(&modifier(kind)));
            assert!(acts(&ModifierParameters { pdrop: 0.1, ..modifier(kind) }));
        }
        assert!(acts(&modifier(ModifierType::PcmNoise)));
        let none = modifier(ModifierType::None);
        assert!(!acts(&ModifierParameters { pdrop: 0.1, std_dev: 0.1, res: 0.1, ..none }));
    }

    #[test]
    fn weights_that_are_not_finite_stay_so() -> Result<()> {
        let weights = [f32::NAN, 1.0, f32::INFINITY, -0.5];
        for kind in [ModifierType::AddNormal, ModifierType::PcmNoise, ModifierType::Dorefa] {
            let parameters = ModifierParameters { std_dev: 0.1, res: 0.1, ..modifier(kind) };
            let mut out = [0.0; 4];
            Modifier::new(&parameters)?.modify(&weights, &mut out, 2, Key::new(1, 1))?;
            assert!(out[0].is_nan(), "{kind:?}: {out:?}");
        }
        Ok(())
    }
}
