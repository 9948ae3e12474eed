//! A device like another one, until it panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::devices::{
    Branch, Cell, CellRef, MAX_EXTRA, PulsedDevice, PulsedParameters, Reach, Response, Rule,
    WriteNoise,
};
use crate::error::Result;

/// `device`, whose rule panics when `countdown` has come from a number to 0 by preparing cells.
#[derive(Debug, Clone, Default)]
pub(super) struct Faulty<D> {
    device: D,
    countdown: Arc<AtomicUsize>,
}

impl<D: PulsedDevice> Faulty<D> {
    pub(super) fn new(device: &D, countdown: &Arc<AtomicUsize>) -> Self {
        Self { device: device.clone(), countdown: Arc::clone(countdown) }
    }
}

impl<D: PartialEq> PartialEq for Faulty<D> {
    fn eq(&self, other: &Self) -> bool {
        self.device == other.device
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FaultyRule<'a, R> {
    rule: R,
    countdown: &'a AtomicUsize,
}

impl<R: Rule> Rule for FaultyRule<'_, R> {
    const LINEAR: bool = R::LINEAR;
    const CONSTANT: bool = R::CONSTANT;
    const SMOOTH: bool = R::SMOOTH;
    const LOCAL: bool = R::LOCAL;

    #[allow(clippy::panic, reason = "what it is for")]
    fn prepare(self, cell: CellRef) -> CellRef {
        let strikes = self.countdown.load(Ordering::Relaxed) > 0
            && self
                .countdown
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                == Ok(1);
        if strikes {
            panic!("a fault that was asked for");
        }
        self.rule.prepare(cell)
    }

    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        self.rule.mean(w, up, cell)
    }

    fn noise(self, mean: f32, w: f32, up: bool, cell: CellRef) -> f32 {
        self.rule.noise(mean, w, up, cell)
    }

    fn place(self, w: f32, cell: CellRef) -> u32 {
        self.rule.place(w, cell)
    }

    fn look_up(self, place: u32) -> [f32; 4] {
        self.rule.look_up(place)
    }

    fn localize(self, w: f32, cell: CellRef, found: [f32; 4]) -> CellRef {
        self.rule.localize(w, cell, found)
    }

    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        self.rule.branch(w, up, cell)
    }

    fn smooth(self, w: f32, cell: CellRef) -> [f32; 2] {
        self.rule.smooth(w, cell)
    }

    fn std(self) -> f32 {
        self.rule.std()
    }

    fn flow(self, w: f32, up: bool, u: f32, cell: CellRef) -> f32 {
        self.rule.flow(w, up, u, cell)
    }

    fn advance(self, from: Reach, up: bool, cell: CellRef, found: [f32; 4]) -> Reach {
        self.rule.advance(from, up, cell, found)
    }

    fn step(self, w: f32, up: bool, cell: CellRef, xi: f32) -> f32 {
        self.rule.step(w, up, cell, xi)
    }
}

impl<D: PulsedDevice> PulsedDevice for Faulty<D> {
    const NAME: &'static str = D::NAME;
    const EXTRA: &'static [&'static str] = D::EXTRA;
    const EXTRA_DRAWS: usize = D::EXTRA_DRAWS;
    const REFERENCE: Option<usize> = D::REFERENCE;
    type Rule<'a> = FaultyRule<'a, D::Rule<'a>>;

    fn pulsed(&self) -> &PulsedParameters {
        self.device.pulsed()
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        self.device.pulsed_mut()
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.device.validate(path)
    }

    fn rule(&self) -> Self::Rule<'_> {
        FaultyRule { rule: self.device.rule(), countdown: &self.countdown }
    }

    fn response(&self) -> Response {
        self.device.response()
    }

    fn granularity(&self) -> f64 {
        self.device.granularity()
    }

    fn write_noise(&self) -> Option<WriteNoise> {
        self.device.write_noise()
    }

    fn extra(&self, cell: &mut Cell, normals: &[f64]) -> [f64; MAX_EXTRA] {
        self.device.extra(cell, normals)
    }

    fn extra_varies(&self) -> bool {
        self.device.extra_varies()
    }

    fn adjusts_bounds(&self) -> bool {
        self.device.adjusts_bounds()
    }

    fn construction_ns(&self) -> f64 {
        self.device.construction_ns()
    }
}
