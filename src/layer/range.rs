//! The static input range of a tile.

use crate::config::InputRangeParameter;
use crate::error::{Error, Result, shown};

/// The range to which inputs are clipped and by which they are divided, with its gradient.
#[derive(Debug, Clone)]
pub struct InputRange {
    parameters: InputRangeParameter,
    value: f32,
    /// Number of batches that have set the range.
    seen: i64,
    gradient: f32,
}

/// What the gradient of a range depends on, of one batch.
pub(super) struct Signals<'a> {
    /// Inputs before they were clipped.
    pub x: &'a [f32],
    /// Gradients of the clipped inputs.
    pub d: &'a [f32],
    /// The range of the forward pass.
    pub r: f32,
    /// Non-zero where an output was clipped; empty if none could be.
    pub clipped: &'a [u8],
}

impl InputRange {
    pub(super) fn new(parameters: &InputRangeParameter) -> Option<Self> {
        let value = parameters.init_value.abs() as f32;
        parameters.enable.then(|| Self {
            parameters: parameters.clone(),
            value,
            seen: 0,
            gradient: 0.0,
        })
    }

    /// The positive number that clips and divides. An optimizer may push the range through zero; the smallest
    /// normal number keeps the division defined there.
    #[must_use]
    pub fn value(&self) -> f32 {
        self.value.abs().max(f32::MIN_POSITIVE)
    }

    /// Sets the range.
    ///
    /// # Errors
    /// [`Error::Argument`] for a range that is zero or not finite.
    pub fn set(&mut self, value: f32) -> Result<()> {
        if value == 0.0 || !value.is_finite() {
            let why = format!("expected a finite range that is not zero, got {}", shown(value));
            return Err(Error::Argument { argument: "input_range", why });
        }
        self.value = value.abs();
        Ok(())
    }

    /// Gradient since the last step.
    #[must_use]
    pub fn gradient(&self) -> f32 {
        self.gradient
    }

    /// Moves the range to the running mean of a multiple of the standard deviation of the inputs, in the first
    /// training batches whose deviation is positive.
    pub(super) fn follow(&mut self, x: &[f32]) {
        let Self { parameters, value, seen, .. } = self;
        if *seen >= parameters.init_from_data || x.len() < 2 {
            return;
        }
        let count = x.len() as f64;
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let square = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let (std, number) = (square.sqrt(), *seen as f64);
        let next = (f64::from(*value) * number + parameters.init_std_alpha * std) / (number + 1.0);
        if std > 0.0 && (next as f32).is_finite() {
            (*value, *seen) = ((next as f32).abs(), *seen + 1);
        }
    }

    /// Adds the gradient of a batch. Only gradients that ask for a larger range pass; `decay` shrinks it while
    /// few inputs are clipped, and `manage_output_clipping` enlarges it while many outputs are.
    pub(super) fn add_gradient(&mut self, batch: &Signals<'_>) {
        let (parameters, r) = (&self.parameters, f64::from(batch.r));
        if !parameters.learn_input_range || batch.x.is_empty() {
            return;
        }
        let (mut gradient, mut inside) = (0.0, 0usize);
        for (x, d) in batch.x.iter().zip(batch.d) {
            let (x, d) = (f64::from(*x), f64::from(*d));
            gradient += if x >= r { d.min(0.0) } else { 0.0 };
            gradient -= if x <= -r { d.max(0.0) } else { 0.0 };
            inside += usize::from(x.abs() < r);
        }
        gradient *= parameters.gradient_scale;
        gradient *= if parameters.gradient_relative { r } else { 1.0 };
        if parameters.manage_output_clipping && !batch.clipped.is_empty() {
            let clipped = batch.clipped.iter().filter(|clipped| **clipped != 0).count() as f64;
            let share = clipped / batch.clipped.len() as f64;
            gradient -=
                if 1.0 - share < parameters.output_min_percentage { share * r } else { 0.0 };
        }
        let share = inside as f64 / batch.x.len() as f64;
        if parameters.decay > 0.0 && share > parameters.input_min_percentage {
            gradient += parameters.decay * r;
        }
        self.gradient += gradient as f32;
    }

    /// One step along the gradient, which is zero then.
    pub(super) fn step(&mut self, learning_rate: f64) {
        let next = f64::from(self.value) - learning_rate * f64::from(self.gradient);
        if (next as f32).is_finite() {
            self.value = next as f32;
        }
        self.gradient = 0.0;
    }
}
