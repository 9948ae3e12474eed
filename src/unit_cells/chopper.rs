//! Signs that flip from time to time, and buffers that take this into account.

use super::buffer::Memory;
use super::config::{ChoppedTransferCompound, DynamicTransferCompound};
use crate::config::{UpdateParameters, finite, require};
use crate::error::{Error, Result, shown};

/// When the signs of lines flip, how updates of the fast device are scaled, and how its values are
/// added up: the rule of [`ChoppedTransferCompound`] and, with a `reference`, that of
/// [`DynamicTransferCompound`]. Buffers are in units of pulses.
#[derive(Debug, Clone)]
pub(super) struct Chopper {
    in_prob: f64,
    in_random: bool,
    out_prob: f64,
    buffer_granularity: f64,
    auto_granularity: f64,
    /// Size of a write in steps of the slow device.
    pub(super) step: f64,
    pub(super) memory: Memory,
    no_buffer: bool,
    pub(super) auto_scale: bool,
    auto_momentum: f64,
    correct_magnitudes: bool,
    pub(super) reference: Option<Reference>,
    /// Steps of the fast and of the slow device.
    granularity: [f64; 2],
}

/// What [`DynamicTransferCompound`] adds.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    /// Weight of the newest read in the running mean.
    beta: f32,
    /// Limit of a kept buffer in multiples of the most pulses; 0 is none.
    cap: f32,
    correct_accumulation: bool,
}

/// Fields that both cells have.
struct Fields<'a> {
    path: &'a str,
    in_chop_prob: f64,
    in_chop_random: bool,
    out_chop_prob: f64,
    buffer_granularity: f64,
    auto_granularity: f64,
    step: f64,
    momentum: f64,
    forget_buffer: bool,
    no_buffer: bool,
    auto_scale: bool,
    auto_momentum: f64,
    correct_gradient_magnitudes: bool,
}

macro_rules! fields {
    ($config:expr, $path:expr) => {
        Fields {
            path: $path,
            in_chop_prob: $config.in_chop_prob,
            in_chop_random: $config.in_chop_random,
            out_chop_prob: $config.out_chop_prob,
            buffer_granularity: $config.buffer_granularity,
            auto_granularity: $config.auto_granularity,
            step: $config.step,
            momentum: $config.momentum,
            forget_buffer: $config.forget_buffer,
            no_buffer: $config.no_buffer,
            auto_scale: $config.auto_scale,
            auto_momentum: $config.auto_momentum,
            correct_gradient_magnitudes: $config.correct_gradient_magnitudes,
        }
    };
}

impl Fields<'_> {
    fn check(&self) -> Result<()> {
        let Self { path, .. } = *self;
        for (field, value) in [
            ("in_chop_prob", self.in_chop_prob),
            ("out_chop_prob", self.out_chop_prob),
            ("auto_momentum", self.auto_momentum),
        ] {
            let why = format!("must be between 0 and 1, got {}", shown(value));
            require((0.0..=1.0).contains(&value), path, field, why)?;
        }
        for (field, value) in [
            ("buffer_granularity", self.buffer_granularity),
            ("auto_granularity", self.auto_granularity),
            ("step", self.step),
        ] {
            finite(path, field, value)?;
        }
        let why =
            "must not be 0, for nothing would be written; use transfer_every = 0 for no transfer";
        require(self.step != 0.0, path, "step", why)
    }

    fn chopper(self, reference: Option<Reference>, granularity: [f64; 2]) -> Result<Chopper> {
        self.check()?;
        Ok(Chopper {
            in_prob: self.in_chop_prob,
            in_random: self.in_chop_random,
            out_prob: self.out_chop_prob,
            buffer_granularity: self.buffer_granularity,
            auto_granularity: self.auto_granularity,
            step: self.step,
            memory: Memory::new(self.path, self.momentum, self.forget_buffer)?,
            no_buffer: self.no_buffer,
            auto_scale: self.auto_scale,
            auto_momentum: self.auto_momentum,
            correct_magnitudes: self.correct_gradient_magnitudes,
            reference,
            granularity,
        })
    }
}

/// What happens to the signs after a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flips {
    /// Whether that of the transferred line flips.
    pub(super) input: bool,
    /// Whether each of the others may flip.
    pub(super) outputs: bool,
}

impl Chopper {
    /// The rule for devices with these steps; `path` is where the cell stands.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub(super) fn chopped(
        config: &ChoppedTransferCompound,
        path: &str,
        granularity: [f64; 2],
    ) -> Result<Self> {
        fields!(config, path).chopper(None, granularity)
    }

    /// The same with a reference on the fly.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub(super) fn dynamic(
        config: &DynamicTransferCompound,
        path: &str,
        granularity: [f64; 2],
    ) -> Result<Self> {
        finite(path, "tail_weightening", config.tail_weightening)?;
        finite(path, "buffer_cap", config.buffer_cap)?;
        require(config.tail_weightening >= 0.0, path, "tail_weightening", "must not be negative")?;
        if config.in_chop_prob <= 0.0 {
            let why = "must be positive: the reference is the mean of a chopper period";
            return Err(Error::config(format!("{path}.in_chop_prob"), why));
        }
        let period = period(config.in_chop_prob) as f64;
        let reference = Reference {
            beta: (config.tail_weightening / period).min(1.0) as f32,
            cap: config.buffer_cap as f32,
            correct_accumulation: config.experimental_correct_accumulation,
        };
        fields!(config, path).chopper(Some(reference), granularity)
    }

    /// A running average of the largest value `m`, and the same after one more vector of a call with
    /// `batch` of them.
    pub(super) fn averaged(&self, m: f64, largest: f64, batch: usize) -> f64 {
        let q = (1.0 - self.auto_momentum) / batch as f64;
        match (m <= 0.0, largest > 0.0) {
            (true, _) => largest,
            (false, true) => (1.0 - q) * m + q * largest,
            (false, false) => m,
        }
    }

    /// Learning rate of the fast device from the running averages of inputs and errors.
    pub(super) fn scaled_rate(
        &self,
        fast_lr: f64,
        update: &UpdateParameters,
        averages: [f64; 2],
    ) -> f64 {
        let rate = fast_lr * update.desired_bl as f64 * self.granularity[0];
        let [x, d] = averages;
        if x > 0.0 && d > 0.0 { rate / (x * d) } else { rate }
    }

    /// What a value is multiplied by before it is added to its buffer, for transfers at the rate `rate`
    /// from one of `slices` lines, every `every` as configured. `count_lr` is the last learning rate of
    /// the fast device, `sweeps` the number of times that all lines were transferred.
    pub(super) fn scale(
        &self,
        rate: f64,
        count_lr: f64,
        slices: usize,
        every: f64,
        sweeps: i64,
    ) -> f32 {
        let [fast, slow] = self.granularity;
        let buffer = if self.buffer_granularity > 0.0 { self.buffer_granularity } else { 1.0 };
        let mut granularity = buffer * fast;
        if self.auto_granularity > 0.0 {
            granularity *= self.auto_granularity / (slices as f64 * every.abs());
        }
        let mut scale = rate.abs() / granularity;
        if self.correct_magnitudes {
            scale = rate.abs() / (count_lr * granularity * slow / fast);
        }
        if self.reference.as_ref().is_some_and(|reference| reference.correct_accumulation) {
            scale /= (self.place(sweeps) as f64).min(1.0 / fast);
        }
        scale as f32
    }

    /// Position of a sweep within its chopper period, from 1 on.
    fn place(&self, sweeps: i64) -> i64 {
        sweeps % period(self.in_prob) + 1
    }

    /// Whether pulses are written after so many sweeps: not before there is a reference.
    pub(super) fn writes(&self, sweeps: i64) -> bool {
        self.reference.is_none() || sweeps > period(self.in_prob)
    }

    /// Which signs flip after a transfer of a line, the last one of its sweep if `is_last`. `uniform` is
    /// a draw for this transfer.
    pub(super) fn flips(&self, sweeps: i64, is_last: bool, uniform: f32) -> Flips {
        let by_chance = self.in_random && f64::from(uniform) < self.in_prob;
        let is_end = self.in_prob > 0.0 && self.place(sweeps) == period(self.in_prob);
        match self.reference {
            Some(_) => Flips { input: is_end || by_chance, outputs: false },
            None => Flips {
                input: if self.in_random { by_chance } else { is_end },
                outputs: is_last && self.out_prob > 0.0,
            },
        }
    }

    /// Whether the sign of an output flips for this draw.
    pub(super) fn flips_output(&self, uniform: f32) -> bool {
        f64::from(uniform) < self.out_prob
    }

    /// Whether a buffer forgets before each transfer.
    #[inline(always)]
    pub(super) fn starts_anew(&self) -> bool {
        self.no_buffer && self.reference.is_none()
    }

    /// Limit of what a buffer keeps, for so many pulses at most.
    #[inline(always)]
    pub(super) fn limit(&self, most: f32) -> Option<f32> {
        let reference = self.reference.as_ref()?;
        (reference.cap > 0.0 && !self.memory.forgets()).then_some(most * reference.cap)
    }

    /// Adds a value to its buffer and takes whole pulses out, at most `most`; their number, of the sign of
    /// the buffer.
    #[inline(always)]
    pub(super) fn digest(&self, h: &mut f32, value: f32, most: f32) -> f32 {
        let kept = if self.starts_anew() { 0.0 } else { *h };
        let omega = kept + value;
        if omega.abs() < 1.0 {
            *h = omega;
            return 0.0;
        }
        let pulses = omega.trunc().clamp(-most, most);
        let mut left = self.memory.after(omega, pulses);
        if let Some(limit) = self.limit(most) {
            left = left.clamp(-limit, limit);
        }
        *h = left;
        pulses
    }
}

impl Reference {
    /// Weight of the newest read in the running mean.
    #[cfg(feature = "wgpu")]
    pub(super) fn beta(&self) -> f32 {
        self.beta
    }

    /// The running mean after one more read.
    #[inline(always)]
    pub(super) fn averaged(&self, mean: f32, value: f32) -> f32 {
        (1.0 - self.beta) * mean + self.beta * value
    }
}

/// Sweeps of a chopper period for regular flips; any number if they never flip.
fn period(in_prob: f64) -> i64 {
    let period = (1.0 / in_prob).ceil();
    // A frequency close to 0 has a period that never ends.
    if period.is_finite() { (period as i64).max(2) } else { i64::MAX }
}
