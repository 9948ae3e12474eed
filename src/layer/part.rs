//! One tile of a layer, with its input range and mapping scales.

use std::ops::Range;

use super::range::{InputRange, Signals};
use super::raw_tile::RawTile;
use super::scales::Scales;
use crate::error::Result;
use crate::memory;
use crate::mvm::periphery::{self, Outputs};
use crate::tile::Pass;

/// A tile and its place in the matrix of the layer.
#[derive(Debug, Clone)]
pub(super) struct Part<T> {
    pub tile: T,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub scales: Scales,
    pub range: Option<InputRange>,
    /// Whether the last column of the tile is the bias.
    pub analog_bias: bool,
    seen: Seen,
    /// What the next step updates with, in the order of the backward passes.
    trace: Vec<Samples>,
}

/// What a backward pass needs of the forward pass.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Inputs, as they were given.
    given: Vec<f32>,
    /// Inputs as the array saw them.
    x: Vec<f32>,
    /// Range of the pass.
    r: f32,
    /// Which outputs were clipped; empty if none can be.
    clipped: Vec<u8>,
}

/// Inputs and errors of some samples.
#[derive(Debug, Clone, Default)]
struct Samples {
    /// What an analog bias saw.
    bias_input: f32,
    x: Vec<f32>,
    d: Vec<f32>,
}

impl<T: RawTile> Part<T> {
    pub(super) fn new(
        tile: T,
        [rows, columns]: [Range<usize>; 2],
        range: Option<InputRange>,
        analog_bias: bool,
    ) -> Self {
        let (seen, trace) = (Seen::default(), Vec::new());
        Self { tile, rows, columns, scales: Scales::none(), range, analog_bias, seen, trace }
    }

    /// Number of columns of the layer.
    fn inputs(&self) -> usize {
        self.columns.len()
    }

    /// Adds the outputs for inputs of the layer to `sum`, those of the layer.
    pub(super) fn forward(&mut self, x: Lines<'_>, sum: Sum<'_>, pass: Pass) -> Result<()> {
        let given = x.cut(&self.columns)?;
        if let (Pass::Train, Some(range)) = (pass, &mut self.range) {
            range.follow(&given);
        }
        let r = self.range.as_ref().map_or(1.0, InputRange::value);
        let seen = self.seen_by_array(&given, r)?;
        if self.analog_bias {
            self.tile.set_bias_input(bias_input(r))?;
        }
        let rows = self.rows.len();
        let mut out = memory::filled(0.0, x.samples() * rows)?;
        let wants_mask = pass == Pass::Train && self.tile.clips_outputs();
        let mut clipped = memory::filled(0, if wants_mask { out.len() } else { 0 })?;
        let mask = wants_mask.then_some(&mut clipped[..]);
        self.tile.forward(&seen, &mut out, mask, pass)?;
        let (range, scales) = ([r], self.scales.values());
        let factors: &[&[f32]] = match (self.range.is_some(), scales.is_empty()) {
            (true, true) => &[&range],
            (true, false) => &[&range, scales],
            (false, true) => &[],
            (false, false) => &[scales],
        };
        Outputs { factors, offset: &[] }.apply(&mut out, rows)?;
        sum.add(&self.rows, &out);
        if pass == Pass::Train {
            self.seen = Seen { given, x: seen, r, clipped };
        }
        Ok(())
    }

    /// Inputs clipped and divided.
    fn seen_by_array(&self, given: &[f32], r: f32) -> Result<Vec<f32>> {
        let mut seen = memory::copied(given)?;
        if self.range.is_some() {
            periphery::enter(given, r, &mut seen)?;
        }
        Ok(seen)
    }

    /// Adds the gradients of the inputs to `sum`, and notes errors and inputs for the next step. With
    /// `follows_gradient` they are those of a digital gradient, else those that an array gets.
    pub(super) fn backward(
        &mut self,
        d: Lines<'_>,
        sum: Sum<'_>,
        follows_gradient: bool,
    ) -> Result<()> {
        let errors = d.cut(&self.rows)?;
        let rows = self.rows.len();
        let mut scaled = memory::copied(&errors)?;
        for row in scaled.chunks_exact_mut(rows) {
            row.iter_mut().enumerate().for_each(|(at, d)| *d *= self.scales.at(at));
        }
        let clipped = &self.seen.clipped;
        let hide = |values: &mut [f32]| {
            let hidden = values.iter_mut().zip(clipped).filter(|(_, clipped)| **clipped != 0);
            hidden.for_each(|(d, _)| *d = 0.0);
        };
        hide(&mut scaled);
        let mut back = memory::filled(0.0, d.samples() * self.inputs())?;
        self.tile.backward(&scaled, &mut back, Pass::Train)?;
        if let Some(range) = &mut self.range {
            let Seen { given, r, clipped, .. } = &self.seen;
            range.add_gradient(&Signals { x: given, d: &back, r: *r, clipped });
        }
        sum.add(&self.columns, &back);
        let mut wanted = errors;
        if follows_gradient {
            hide(&mut wanted);
        }
        let factor = if follows_gradient { self.seen.r } else { 1.0 };
        for row in wanted.chunks_exact_mut(rows) {
            for (at, d) in row.iter_mut().enumerate() {
                *d = *d * factor / (f64::from(self.scales.at(at)) * self.scales.lr) as f32;
            }
        }
        let Seen { x, r, .. } = std::mem::take(&mut self.seen);
        // Without an analog bias all samples can go into one update, whatever their range was.
        let bias_input = if self.analog_bias { bias_input(r) } else { 1.0 };
        if self.trace.last().is_none_or(|last| last.bias_input != bias_input) {
            memory::push(&mut self.trace, Samples { bias_input, ..Samples::default() })?;
        }
        if let Some(last) = self.trace.last_mut() {
            memory::reserve(&mut last.x, x.len())?;
            memory::reserve(&mut last.d, wanted.len())?;
            last.x.extend_from_slice(&x);
            last.d.extend_from_slice(&wanted);
        }
        Ok(())
    }

    /// Updates weights and range with what was noted, which is forgotten in any case.
    pub(super) fn step(&mut self, learning_rate: f64) -> Result<()> {
        for Samples { bias_input, x, d } in std::mem::take(&mut self.trace) {
            if self.analog_bias {
                self.tile.set_bias_input(bias_input)?;
            }
            self.tile.update(&x, &d, learning_rate * self.scales.lr)?;
        }
        self.tile.after_step()?;
        if let Some(range) = &mut self.range {
            range.step(learning_rate);
        }
        Ok(())
    }

    /// Forgets what was noted.
    pub(super) fn forget(&mut self) {
        (self.seen, self.trace) = (Seen::default(), Vec::new());
    }
}

/// What the column of an analog bias sees: the output is multiplied by the range, the bias is not.
pub(super) fn bias_input(r: f32) -> f32 {
    1.0 / r
}

/// Samples one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'a> {
    pub values: &'a [f32],
    pub width: usize,
}

impl Lines<'_> {
    pub(super) fn samples(&self) -> usize {
        self.values.len() / self.width
    }

    /// Some columns of all samples.
    pub(super) fn cut(&self, columns: &Range<usize>) -> Result<Vec<f32>> {
        let mut cut = memory::room(self.samples() * columns.len())?;
        for row in self.values.chunks_exact(self.width) {
            cut.extend_from_slice(&row[columns.clone()]);
        }
        Ok(cut)
    }
}

/// Samples to whose columns values are added.
pub(super) struct Sum<'a> {
    pub values: &'a mut [f32],
    pub width: usize,
}

impl Sum<'_> {
    pub(super) fn add(self, columns: &Range<usize>, values: &[f32]) {
        let rows = self.values.chunks_exact_mut(self.width);
        for (row, values) in rows.zip(values.chunks_exact(columns.len())) {
            row[columns.clone()].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}
