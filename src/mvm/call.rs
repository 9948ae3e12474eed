//! What the stages of one call share.

use super::direction::Direction;
use super::inputs::Inputs;
use super::lines::Lines;
use super::management::Sample;
use super::matrix::Matrix;
use super::request::Sizes;
use super::spec::Mvm;
use crate::par::Par;
use crate::rng::{Draw, Key, Stream};

/// What all passes of one call share.
pub(super) struct Call<'a> {
    pub mvm: &'a Mvm,
    pub sizes: Sizes,
    pub weights: Matrix<'a>,
    pub lines: Lines<'a>,
    pub x: Inputs<'a>,
    pub bias: Option<f32>,
    pub key: Key,
    /// Scales by the running average, one per sample, where that is used.
    pub averages: &'a [f32],
    /// Whether the samples are shared among threads by the caller: each call is in one of them.
    pub is_shared: bool,
}

impl Mvm {
    /// Rough time of one pass over `rows` rows on one core, which only decides on threads.
    pub(super) fn estimate_ns(&self, sizes: &Sizes, rows: usize) -> f64 {
        const PRODUCT_NS: f64 = 0.011;
        const LINE_NS: f64 = 1.0;
        let (n_in, n_out) = (sizes.n_in as f64, sizes.n_out as f64);
        rows as f64 * (n_in * n_out * PRODUCT_NS + (n_in + n_out) * LINE_NS)
    }
}

impl Call<'_> {
    /// The threads for one pass over `rows` rows.
    pub fn par(&self, rows: usize) -> Par {
        if self.is_shared {
            return Par::alone();
        }
        Par::of(self.mvm.estimate_ns(&self.sizes, rows))
    }

    /// Draws of one stream in the direction of this call.
    pub fn draw(&self, stream: Stream) -> Draw {
        match self.mvm.direction {
            Direction::Forward => self.key.stream(stream),
            Direction::Backward => self.key.backward(stream),
        }
    }

    /// The scale of one sample in pass number `pass`.
    #[inline(always)]
    pub fn scale(&self, number: usize, sample: &Sample<'_>, pass: u32) -> f32 {
        if self.mvm.repeats.worst_case(pass) {
            return self.mvm.scale.worst_case(sample);
        }
        self.mvm.scale.of(sample, self.averages.get(number).copied().unwrap_or(0.0))
    }
}
