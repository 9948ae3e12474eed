//! Parameters of the pulsed update.

use serde::{Deserialize, Serialize};

use super::{finite, params, require};
use crate::error::Result;

/// How the outer product of an update is turned into pulses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PulseType {
    /// Exact floating-point update of an ideal device that replaces the configured one.
    None,
    /// Stochastic pulse trains, coincidences in any order within a slot.
    StochasticCompressed,
    /// Stochastic pulse trains; in distribution equal to `StochasticCompressed`.
    Stochastic,
    /// Exact rank-one updates of the configured device, clipped to its bounds.
    NoneWithDevice,
    /// Mean number of coincidences.
    MeanCount,
    /// Deterministic trains with implicit pulses.
    DeterministicImplicit,
}

impl PulseType {
    /// Whether updates consist of pulses, which come from trains; else they are exact.
    #[must_use]
    pub fn has_trains(self) -> bool {
        !matches!(self, Self::None | Self::NoneWithDevice)
    }
}

/// How weights follow an update where steps are infinitely fine (`dw_min = 0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UpdateMode {
    /// Along the response of the device: the limit of many small pulses.
    Flow,
    /// One step of the size that the response has at the old weight.
    Euler,
}

params! {
    /// Pulse generation and its management.
    pub struct UpdateParameters {
        /// Number of pulse slots, the largest one with `update_bl_management`.
        desired_bl: i64 = 31;
        /// Whether `desired_bl` is always used (only without `update_bl_management`).
        fixed_bl: bool = true;
        /// How the outer product is turned into pulses.
        pulse_type: PulseType = PulseType::StochasticCompressed;
        /// Bin width of the pulse probability, or number of bins if above 1; 0 is continuous.
        res: real = 0.0;
        /// Bin width for the inputs of `DeterministicImplicit`.
        x_res_implicit: real = 0.0;
        /// Bin width for the errors of `DeterministicImplicit`.
        d_res_implicit: real = 0.0;
        /// Whether compounds record the sparsity of the errors.
        d_sparsity: bool = false;
        /// Stochastic rounding of the pulse probability.
        sto_round: bool = false;
        /// Number of slots per sample as needed.
        update_bl_management: bool = true;
        /// Balance the probabilities between inputs and errors.
        update_management: bool = true;
        /// Factor on the largest error inside the management.
        um_grad_scale: real = 1.0;
        /// Simulate every pulse of stochastic trains by itself instead of adding up those that may be.
        exact_pulses: bool = false;
        /// How weights follow an update where steps are infinitely fine (`dw_min = 0`).
        update_mode: UpdateMode = UpdateMode::Flow;
    }
}

impl UpdateParameters {
    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        for (field, value) in [
            ("res", self.res),
            ("x_res_implicit", self.x_res_implicit),
            ("d_res_implicit", self.d_res_implicit),
            ("um_grad_scale", self.um_grad_scale),
        ] {
            finite(path, field, value)?;
        }
        let slots = (1..=MAX_SLOTS).contains(&self.desired_bl);
        require(
            slots,
            path,
            "desired_bl",
            format!("must be in 1..={MAX_SLOTS}, got {}", self.desired_bl),
        )?;
        require(self.um_grad_scale > 0.0, path, "um_grad_scale", "must be positive")
    }

    /// Checks that devices with infinitely fine steps can take it: their updates have no probabilities that
    /// could be rounded. `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub(crate) fn check_flow(&self, path: &str) -> Result<()> {
        let why = "rounds the probabilities of pulses, which dw_min = 0 has not; set it to";
        let pulses = self.pulse_type.has_trains();
        require(!pulses || self.res <= 0.0, path, "res", format!("{why} 0"))?;
        require(!pulses || !self.sto_round, path, "sto_round", format!("{why} false"))
    }
}

/// Most slots that one pulse train may have: products of two such numbers fit 32 bits, and the draws
/// of so many pulses of a cell the positions that they have.
pub(crate) const MAX_SLOTS: i64 = (1 << 16) - 1;
