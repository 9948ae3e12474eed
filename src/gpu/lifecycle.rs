//! Operations on the weights other than products and pulses.

use super::devices::Devices;
use super::job::Job;
use super::kernels::LIFECYCLE;
use super::shaders::{Constant, compose, flags};
use super::state::{Numbers, Window};
use super::tile::GpuTile;
use crate::config::check_factor;
use crate::devices::{
    DeviceConfig, PlaneRef, SMALL_LOSS, WeightClip, exact_limit, exact_loss, position,
};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::Key;

/// Numbers of the operations in `lifecycle.wgsl`.
#[derive(Debug, Clone, Copy)]
enum Operation {
    ExactDecay = 0,
    Decay = 1,
    Diffuse = 2,
    Reset = 3,
    Clip = 4,
    Set = 5,
}

/// Every composition of the kernel, for checks.
pub(super) fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for operation in 0..6 {
        for bits in 0..16 {
            let mut constants = flags(&["BOUNDED", "WRITES", "PERSISTENT", "CHOSEN"], bits);
            constants.push(Constant::Word("OPERATION", operation));
            constants.push(Constant::Word("STORED", 0b0101_0101));
            let source = compose(&LIFECYCLE, &constants, &[]);
            all.push((format!("lifecycle {constants:?}"), source));
        }
    }
    all
}

/// A draw is an integer over this.
const DRAWS: f64 = 16_777_216.0;

impl GpuTile {
    /// Writes the hidden parameters, in the order of [`Device::hidden_names`](crate::devices::Device::hidden_names); the slot of the
    /// persistent weights is not read.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit, [`Error::Backend`].
    pub fn set_planes(&mut self, planes: &[PlaneRef<'_>]) -> Result<()> {
        let Self { context, spec, state, .. } = self;
        state.set(context, spec.device(), planes)
    }

    /// Writes `weights` as [`Device::set_weights`](crate::devices::Device::set_weights) does: within the bounds of the cells, with write
    /// noise where the device has it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`] for values that are not finite, [`Error::State`] without
    /// hidden parameters, [`Error::Backend`].
    pub fn write_weights(&mut self, weights: &[f32], key: Key) -> Result<()> {
        let device = self.spec.device();
        Error::check_len("weights", weights.len(), device.d_size() * device.x_size())?;
        Error::check_finite("weights", weights)?;
        // Refuses before anything changes.
        self.state.parameters(device, key, &Numbers::default())?;
        self.restoring(|devices| devices.set_weights(weights, key))
    }

    /// Decay by `alpha` calls, see [`Device::decay`](crate::devices::Device::decay).
    ///
    /// # Errors
    /// [`Error::Argument`] for an `alpha` that is negative or beyond f32, [`Error::Backend`].
    pub fn decay(&mut self, alpha: f64, key: Key) -> Result<()> {
        self.devices().decay(alpha, key)
    }

    /// One step of a random walk, see [`Device::diffuse`](crate::devices::Device::diffuse).
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn diffuse(&mut self, key: Key) -> Result<()> {
        self.devices().diffuse(key)
    }

    /// Reset of columns, see [`Device::reset_columns`](crate::devices::Device::reset_columns).
    ///
    /// # Errors
    /// As there, and [`Error::Backend`].
    pub fn reset_columns(&mut self, start: usize, count: i64, prob: f64, key: Key) -> Result<()> {
        self.devices().reset_columns(start, count, prob, key)
    }

    /// Clips the weights symmetrically, see [`Device::clip_weights`](crate::devices::Device::clip_weights).
    ///
    /// # Errors
    /// As there, and [`Error::Backend`].
    pub fn clip_weights(&mut self, clip: WeightClip, key: Key) -> Result<()> {
        self.devices().clip_weights(clip, key)
    }
}

impl Devices<'_> {
    /// Writes weights within the bounds of the cells, with write noise where the device has it.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub(crate) fn set_weights(&mut self, weights: &[f32], key: Key) -> Result<()> {
        self.guarded("writing weights", |devices| {
            devices.context.write(devices.state.pair()[0], 0, weights);
            Ok(())
        })?;
        let writes = self.device.write_noise().is_some_and(|noise| noise.on_set);
        self.run_operation(Operation::Set, key, &Numbers::default(), writes)
    }

    /// Decay by `alpha` calls, see [`Device::decay`](crate::devices::Device::decay).
    ///
    /// # Errors
    /// [`Error::Argument`] for an `alpha` that is negative or beyond f32, [`Error::Backend`].
    pub(crate) fn decay(&mut self, alpha: f64, key: Key) -> Result<()> {
        check_factor("alpha", alpha)?;
        let device = self.device;
        if let Some(lifetime) = device.exact_lifetime() {
            let value = exact_loss(lifetime, alpha) as f32;
            let numbers = Numbers { value, ..Numbers::default() };
            return self.operate(Operation::ExactDecay, key, &numbers);
        }
        let planes = [position::DECAY, position::RESET];
        let scale = device.hidden_constant("decay_scales");
        let equal = scale.and_then(|scale| device.equal_loss(PlaneRef::Constant(scale), alpha));
        let equal = equal.filter(|loss| *loss < SMALL_LOSS);
        // A scale of 0 leaves the loss as it is.
        let numbers = Numbers {
            planes: &planes,
            value: equal.unwrap_or(alpha as f32),
            constant: equal.map(|_| 0.0),
            ..Numbers::default()
        };
        self.operate(Operation::Decay, key, &numbers)
    }

    /// One step of a random walk, see [`Device::diffuse`](crate::devices::Device::diffuse).
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub(crate) fn diffuse(&mut self, key: Key) -> Result<()> {
        let constant = match self.device.config() {
            DeviceConfig::FloatingPoint(device) => Some(device.diffusion),
            DeviceConfig::Ideal(device) => Some(device.diffusion),
            _ => None,
        };
        let constant = constant.map(|rate| rate.max(0.0) as f32);
        let still = self.device.hidden_constant("diffusion_rates") == Some(0.0);
        if still || constant == Some(0.0) {
            return Ok(());
        }
        let planes = [position::DIFFUSION];
        self.operate(
            Operation::Diffuse,
            key,
            &Numbers { planes: &planes, constant, ..Numbers::default() },
        )
    }

    /// Reset of columns, see [`Device::reset_columns`](crate::devices::Device::reset_columns).
    ///
    /// # Errors
    /// As there, and [`Error::Backend`].
    pub(crate) fn reset_columns(
        &mut self,
        start: usize,
        count: i64,
        prob: f64,
        key: Key,
    ) -> Result<()> {
        let device = self.device;
        device.check_reset(start, prob)?;
        let std = match device.config() {
            DeviceConfig::Ideal(device) => device.reset_std,
            config => config.pulsed().map_or(0.0, |pulsed| pulsed.reset_std),
        };
        let count = usize::try_from(count).unwrap_or(device.x_size()).min(device.x_size());
        if count == 0 || prob == 0.0 {
            return Ok(());
        }
        let planes = [position::DECAY, position::RESET];
        let numbers = Numbers {
            planes: &planes,
            value: std.max(0.0) as f32,
            columns: [start, count],
            probability: (prob * DRAWS).ceil() as u32,
            ..Numbers::default()
        };
        self.operate(Operation::Reset, key, &numbers)
    }

    /// Clips the weights symmetrically, see [`Device::clip_weights`](crate::devices::Device::clip_weights).
    ///
    /// # Errors
    /// As there, and [`Error::Backend`].
    pub(crate) fn clip_weights(&mut self, clip: WeightClip, key: Key) -> Result<()> {
        clip.check()?;
        let device = self.device;
        let limit = match (clip, device.is_pulsed()) {
            (WeightClip::None, _) => return Ok(()),
            (WeightClip::FixedValue(limit), true) => {
                if limit < 0.0 {
                    f32::MAX
                } else {
                    limit
                }
            }
            (_, true) => {
                let why = "pulsed devices clip only with WeightClipType.FIXED_VALUE";
                return Err(Error::unsupported("clip.type", why));
            }
            (_, false) => match self.limit(clip)? {
                Some(limit) => limit,
                None => return Ok(()),
            },
        };
        self.operate(Operation::Clip, key, &Numbers { value: limit, ..Numbers::default() })
    }

    /// Limit of the weights of an exact device, from all of them.
    fn limit(&mut self, clip: WeightClip) -> Result<Option<f32>> {
        let device = self.device;
        let keeps_zero = matches!(device.config(), DeviceConfig::FloatingPoint(_));
        let (cells, columns) = (device.d_size() * device.x_size(), device.x_size());
        let mut weights = memory::filled(0.0, cells)?;
        let buffer = self.state.weights.clone();
        self.read(&buffer, &mut weights)?;
        Ok(exact_limit(&weights, columns, clip, keeps_zero))
    }

    /// Resets the cells of one column, those of the rows in `chosen` if it is given.
    pub(crate) fn reset_column(
        &self,
        job: &mut Job,
        column: usize,
        chosen: Option<&wgpu::Buffer>,
        key: Key,
    ) -> Result<()> {
        let numbers = Numbers {
            planes: &[position::DECAY, position::RESET],
            value: self.device.reset_std(),
            columns: [column, 1],
            probability: DRAWS as u32,
            window: Some(Window { columns: [column, 1], rows: [0, self.device.d_size()] }),
            ..Numbers::default()
        };
        let writes = self.device.write_noise().is_some();
        self.add_operation(job, Operation::Reset, key, &numbers, writes, chosen)
    }

    fn operate(&mut self, operation: Operation, key: Key, numbers: &Numbers<'_>) -> Result<()> {
        let writes = self.device.write_noise().is_some();
        self.run_operation(operation, key, numbers, writes)
    }

    fn run_operation(
        &mut self,
        operation: Operation,
        key: Key,
        numbers: &Numbers<'_>,
        writes: bool,
    ) -> Result<()> {
        self.run("changing weights", 1, |devices, job| {
            devices.add_operation(job, operation, key, numbers, writes, None)
        })
    }

    fn add_operation(
        &self,
        job: &mut Job,
        operation: Operation,
        key: Key,
        numbers: &Numbers<'_>,
        writes: bool,
        chosen: Option<&wgpu::Buffer>,
    ) -> Result<()> {
        let Self { context, state, device, .. } = self;
        let (words, stored) = state.parameters(device, key, numbers)?;
        let constants = [
            Constant::Flag("BOUNDED", device.is_pulsed()),
            Constant::Flag("WRITES", writes),
            Constant::Flag("PERSISTENT", state.persistent.is_some()),
            Constant::Flag("CHOSEN", chosen.is_some()),
            Constant::Word("OPERATION", operation as u32),
            stored,
        ];
        let pipeline = context.pipeline(&LIFECYCLE, &constants, &[])?;
        let [weights, visible] = state.pair();
        let buffers = [&state.planes, weights, visible, chosen.unwrap_or(&state.planes)];
        let grid = numbers.window.unwrap_or(Window::whole(device)).grid();
        job.add(context, pipeline, &words.0, &buffers, grid);
        Ok(())
    }
}
