//! The response of a device to pulses as graphics processors compute it.

/// Numbers that the response of one device may read, the noise of a pulse among them. All parameters
/// of a dispatch share the 256 bytes that every adapter lets a kernel find at an offset of its own.
pub const MAX_CONSTANTS: usize = 16;

/// The twin of a [`Rule`](super::Rule) in WGSL: functions `prepare`, `mean_step` and `step_noise` that do the same
/// as those of the rule, and the numbers that they read.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub(crate) parts: &'static [&'static str],
    /// Whether they have a function `flow`.
    has_flow: bool,
    pub(crate) constants: Vec<f32>,
    pub(crate) table: Vec<f32>,
}

impl Response {
    /// The texts `parts` one after another. Of the numbers in `params.rule` the first is `std`, that
    /// of the rule; `constants`, at most [`MAX_CONSTANTS`] less one, follow.
    #[must_use]
    pub fn new(parts: &'static [&'static str], std: f32, constants: &[f32]) -> Self {
        let constants = [&[std], constants].concat();
        Self { parts, has_flow: false, constants, table: Vec::new() }
    }

    /// With a function `flow` among the parts that does the same as that of the rule; without, the weights follow
    /// infinitely fine steps numerically.
    #[must_use]
    pub fn with_flow(self) -> Self {
        Self { has_flow: true, ..self }
    }

    /// The parts, with a function `flow`.
    #[cfg(feature = "wgpu")]
    pub(crate) fn flow_parts(&self) -> Vec<&'static str> {
        let numeric = (!self.has_flow).then_some(include_str!("numeric_flow.wgsl"));
        self.parts.iter().copied().chain(numeric).collect()
    }

    /// With a table of any length behind the hidden parameters, from `params.table` on.
    #[must_use]
    pub fn with_table(self, table: Vec<f32>) -> Self {
        Self { table, ..self }
    }
}
