//! Steps that do not depend on the weight.

use super::common::PulsedParameters;
use super::response::Response;
use super::rule::{Branch, CellRef, PulsedDevice, Rule, select};
use crate::config::params;
use crate::error::Result;

params! {
    /// Device with steps that do not depend on the weight:
    /// `w += dwmin_up (1 + dw_min_std xi)` for an up pulse,
    /// `w -= dwmin_down (1 + dw_min_std xi)` for a down pulse, within the bounds of the cell.
    pub struct ConstantStep {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
    }
}

/// One pulse of [`ConstantStep`].
#[derive(Debug, Clone, Copy)]
pub struct ConstantStepRule {
    std: f32,
}

impl Rule for ConstantStepRule {
    const LINEAR: bool = true;
    const CONSTANT: bool = true;

    #[inline(always)]
    fn mean(self, _w: f32, up: bool, cell: CellRef) -> f32 {
        select(up, cell.up, -cell.down)
    }

    #[inline(always)]
    fn noise(self, mean: f32, _w: f32, _up: bool, _cell: CellRef) -> f32 {
        self.std * mean
    }

    #[inline(always)]
    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        Branch::multiplicative(self.mean(w, up, cell), 0.0, 0.0, self.std)
    }

    #[inline(always)]
    fn std(self) -> f32 {
        self.std
    }

    #[inline(always)]
    fn flow(self, w: f32, up: bool, u: f32, cell: CellRef) -> f32 {
        self.mean(w, up, cell).mul_add(u, w)
    }
}

impl PulsedDevice for ConstantStep {
    const NAME: &'static str = "ConstantStep";
    type Rule<'a> = ConstantStepRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)
    }

    fn rule(&self) -> ConstantStepRule {
        ConstantStepRule { std: self.pulsed.dw_min_std as f32 }
    }

    fn response(&self) -> Response {
        Response::new(&[include_str!("constant_step.wgsl")], self.rule().std, &[]).with_flow()
    }
}
