//! What a digital buffer makes of a transferred value: pulses, and what is kept.

use super::config::BufferedTransferCompound;
use crate::config::{finite, require};
use crate::error::{Error, Result};

/// Refuses values of a buffer, or pulses that it gives, which `f32` does not hold.
///
/// # Errors
/// [`Error::Argument`] naming the learning rate, which makes them so large.
pub(super) fn check_buffer(values: &[f32]) -> Result<()> {
    // Without an early end the test vectorises.
    if !values.iter().fold(false, |bad, value| bad | !value.is_finite()) {
        return Ok(());
    }
    let why = "makes a digital buffer of the cell go beyond float32; lower it, or the rates and the \
               granularity of the transfer";
    Err(Error::Argument { argument: "learning_rate", why: why.to_owned() })
}

/// What is kept of a buffer that gave pulses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) momentum: f32,
    forgets: bool,
}

impl Memory {
    /// Checks `momentum`; `path` is where the cell stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub(super) fn new(path: &str, momentum: f64, forget_buffer: bool) -> Result<Self> {
        finite(path, "momentum", momentum)?;
        Ok(Self { momentum: momentum as f32, forgets: forget_buffer })
    }

    /// Whether the whole buffer shrinks.
    pub(super) fn forgets(&self) -> bool {
        self.forgets
    }

    /// How much of what was written is taken away, if not the whole buffer shrinks.
    #[inline(always)]
    pub(super) fn taken(&self) -> f32 {
        1.0 - self.momentum.clamp(0.0, 1.0)
    }

    /// What is left of `omega` after pulses worth `written`.
    #[inline(always)]
    pub(super) fn after(&self, omega: f32, written: f32) -> f32 {
        if self.forgets { self.momentum * omega } else { omega - self.taken() * written }
    }
}

/// The rule of [`BufferedTransferCompound`], whose buffers are in units of the weight.
#[derive(Debug, Clone)]
pub(super) struct Buffer {
    /// Threshold in steps of the target.
    thres_scale: f64,
    /// Size of a write in steps of the target.
    pub(super) step: f64,
    pub(super) memory: Memory,
}

impl Buffer {
    /// The rule; `path` is where the cell stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub(super) fn new(config: &BufferedTransferCompound, path: &str) -> Result<Self> {
        finite(path, "thres_scale", config.thres_scale)?;
        finite(path, "step", config.step)?;
        let why =
            "must not be 0, for nothing would be written; use transfer_every = 0 for no transfer";
        require(config.step != 0.0, path, "step", why)?;
        require(config.thres_scale > 0.0, path, "thres_scale", "must be positive")?;
        let memory = Memory::new(path, config.momentum, config.forget_buffer)?;
        Ok(Self { thres_scale: config.thres_scale, step: config.step, memory })
    }

    /// Threshold for a target with steps of `granularity`.
    pub(super) fn threshold(&self, granularity: f64) -> f32 {
        (self.thres_scale * granularity) as f32
    }

    /// Adds a transferred value to its buffer and takes whole pulses out, at most `most`; their number,
    /// of the sign of the buffer.
    #[inline(always)]
    pub(super) fn digest(&self, h: &mut f32, value: f32, threshold: f32, most: f32) -> f32 {
        let omega = *h + value;
        let pulses = (omega / threshold).trunc().clamp(-most, most);
        *h = if pulses == 0.0 { omega } else { self.memory.after(omega, pulses * threshold) };
        pulses
    }
}
