//! Parameters of power-law drift.

use super::{finite, params, require};
use crate::error::{Result, shown};

params! {
    /// Power-law drift of the weight of a pulsed device.
    pub struct DriftParameters {
        /// Drift exponent; 0 or less is off.
        nu: real = 0.0;
        /// Time between a write and the first moment with drift.
        t_0: real = 1.0;
        /// A weight that moved by more than this since the last drift restarts its clock.
        reset_tol: real = 1e-7;
        /// Spread of `nu` between devices, relative to `nu`.
        nu_dtod: real = 0.0;
        /// Variation of `nu` from call to call, relative to `nu`.
        nu_std: real = 0.0;
        /// Weight per conductance.
        wg_ratio: real = 1.0;
        /// Conductance of weight `w_offset`.
        g_offset: real = 0.0;
        /// Weight of conductance `g_offset`.
        w_offset: real = 0.0;
        /// Dependence of `nu` on the logarithm of the conductance.
        nu_k: real = 0.0;
        /// Logarithm of the conductance at which `nu_k` has no effect.
        log_g0: real = 0.0;
        /// Noise of the weight at each drift call, in weight units.
        w_noise_std: real = 0.0;
    }
}

params! {
    /// Power-law drift with one exponent for all weights.
    pub struct SimpleDriftParameters {
        /// Drift exponent; 0 or less is off.
        nu: real = 0.0;
        /// Time between a write and the first moment with drift.
        t_0: real = 1.0;
        /// A weight that moved by more than this since the last drift restarts its clock.
        reset_tol: real = 1e-7;
    }
}

impl DriftParameters {
    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        for (field, value) in [
            ("nu", self.nu),
            ("reset_tol", self.reset_tol),
            ("nu_dtod", self.nu_dtod),
            ("nu_std", self.nu_std),
            ("wg_ratio", self.wg_ratio),
            ("g_offset", self.g_offset),
            ("w_offset", self.w_offset),
            ("nu_k", self.nu_k),
            ("log_g0", self.log_g0),
            ("w_noise_std", self.w_noise_std),
        ] {
            finite(path, field, value)?;
        }
        require(self.wg_ratio != 0.0, path, "wg_ratio", "must not be 0")?;
        check_clock(path, self.t_0, self.reset_tol)
    }
}

impl SimpleDriftParameters {
    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// As [`DriftParameters::validate`].
    pub fn validate(&self, path: &str) -> Result<()> {
        finite(path, "nu", self.nu)?;
        finite(path, "reset_tol", self.reset_tol)?;
        check_clock(path, self.t_0, self.reset_tol)
    }
}

fn check_clock(path: &str, t_0: f64, reset_tol: f64) -> Result<()> {
    finite(path, "t_0", t_0)?;
    require(t_0 > 0.0, path, "t_0", format!("must be positive, got {}", shown(t_0)))?;
    require(
        reset_tol >= 0.0,
        path,
        "reset_tol",
        format!("must be 0 or more, got {}", shown(reset_tol)),
    )
}
