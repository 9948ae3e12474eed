//! State of the cells on the graphics processor, and the operations on weights other than products
//! and pulses.

use std::sync::Arc;

use super::buffers::{PARAMETER_BYTES, Step};
use super::context::Context;
use super::kernels::LIFECYCLE;
use super::parameters::Words;
use super::responses::{MAX_CONSTANTS, Response, response};
use super::shaders::Constant;
use super::tile::GpuTile;
use crate::devices::{Device, DeviceConfig, PlaneRef, WeightClip, exact_limit, position};
use crate::error::{Error, Result};
use crate::rng::Key;

/// Mark of a plane that is constant.
const NO_PLANE: u32 = u32::MAX;

/// Weights, hidden parameters and the response of the devices.
#[derive(Debug)]
pub(super) struct State {
    pub weights: wgpu::Buffer,
    /// Weights under the write noise, which the pulses act on.
    pub persistent: Option<wgpu::Buffer>,
    /// All planes that are not constant, then the table of the device.
    pub planes: wgpu::Buffer,
    /// Start and constant value of each plane, in the order of the hidden names.
    places: Vec<(u32, f32)>,
    table: u32,
    pub response: Option<Response>,
    /// Whether the planes are there.
    known: bool,
    /// Stands in for a buffer that a kernel does not use.
    pub unused: wgpu::Buffer,
}

impl State {
    pub fn new(context: &Context, device: &Device) -> Result<Self> {
        let cells = device.d_size() * device.x_size();
        let persistent = device
            .write_noise()
            .map(|_| context.storage("persistent weights", cells))
            .transpose()?;
        Ok(Self {
            weights: context.storage("weights", cells)?,
            persistent,
            planes: context.storage("hidden parameters", 4)?,
            places: Vec::new(),
            table: 0,
            response: response(device.config()),
            known: !device.is_pulsed(),
            unused: context.storage("unused", 4)?,
        })
    }

    /// What pulses act on, and what is drawn around it.
    pub fn pair(&self) -> [&wgpu::Buffer; 2] {
        match &self.persistent {
            Some(persistent) => [persistent, &self.weights],
            None => [&self.weights, &self.unused],
        }
    }

    fn write_planes(
        &mut self,
        context: &Context,
        planes: &[PlaneRef<'_>],
        cells: usize,
    ) -> Result<()> {
        let table = self.response.as_ref().map_or(&[][..], |response| &response.table);
        let stored =
            planes.iter().filter(|plane| matches!(plane, PlaneRef::Values(v) if !v.is_empty()));
        let words = stored.count() * cells + table.len();
        if (self.planes.size() as usize) < 4 * words {
            self.planes = context.storage("hidden parameters", words)?;
        }
        self.places.clear();
        let mut next = 0;
        for plane in planes {
            self.places.push(match plane {
                PlaneRef::Constant(value) => (NO_PLANE, *value),
                // The slot of the persistent weights, which have a buffer of their own.
                PlaneRef::Values([]) => (NO_PLANE, 0.0),
                PlaneRef::Values(values) => {
                    context.write(&self.planes, next, values);
                    next += cells;
                    ((next - cells) as u32, 0.0)
                }
            });
        }
        context.write(&self.planes, next, table);
        self.table = next as u32;
        self.known = true;
        Ok(())
    }

    /// Parameters of a kernel over the cells: planes 4 to 7 are those at `positions`, the reference
    /// is looked up among all eight. The constant says which of them are stored.
    pub fn parameters(
        &self,
        device: &Device,
        key: Key,
        numbers: &Numbers<'_>,
    ) -> Result<(Words, Constant)> {
        if !self.known {
            let why = "the hidden parameters of the devices are not written".to_owned();
            return Err(Error::State { why });
        }
        let base = [position::MAX_BOUND, position::MIN_BOUND, position::UP, position::DOWN];
        let positions: Vec<_> = base.into_iter().chain(numbers.planes.iter().copied()).collect();
        let mut places: Vec<_> = positions
            .iter()
            .map(|at| self.places.get(*at).copied().unwrap_or((NO_PLANE, 0.0)))
            .collect();
        places.resize(8, (NO_PLANE, 0.0));
        if let Some(constant) = numbers.constant {
            places[4] = (NO_PLANE, constant);
        }
        let mut reference = NO_PLANE;
        if let Some(at) = device.reference() {
            reference = 7;
            if let Some(found) = positions.iter().position(|position| *position == at) {
                reference = found as u32;
            } else {
                places[7] = self.places.get(at).copied().unwrap_or((NO_PLANE, 0.0));
            }
        }
        let stored =
            places.iter().enumerate().map(|(at, (start, _))| u32::from(*start != NO_PLANE) << at);
        let stored = Constant::Word("STORED", stored.sum());
        let mut words = Words::default();
        words.key(key);
        for (start, _) in &places {
            words.word(*start);
        }
        for (_, value) in &places {
            words.float(*value);
        }
        let constants = self.response.as_ref().map_or(&[][..], |response| &response.constants);
        for at in 0..MAX_CONSTANTS {
            words.float(constants.get(at).copied().unwrap_or(0.0));
        }
        words.word(device.d_size() as u32).word(device.x_size() as u32).word(reference);
        words.float(device.write_noise().map_or(0.0, |noise| noise.std));
        words.word(numbers.count as u32).word(numbers.lines as u32).flag(numbers.is_d);
        words.word(self.table).float(numbers.value);
        words.word(numbers.columns[0] as u32).word(numbers.columns[1] as u32);
        words.word(numbers.probability);
        words.0.resize(PARAMETER_BYTES / 4, 0);
        Ok((words, stored))
    }
}

/// What of the parameters depends on the kernel.
#[derive(Debug, Default)]
pub(super) struct Numbers<'a> {
    /// Positions of planes 4 and up.
    pub planes: &'a [usize],
    /// Value in place of plane 4.
    pub constant: Option<f32>,
    pub count: usize,
    pub lines: usize,
    pub is_d: bool,
    pub value: f32,
    pub columns: [usize; 2],
    pub probability: u32,
}

/// Numbers of the operations in `lifecycle.wgsl`.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Scale = 0,
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
        for bits in 0..8 {
            let mut constants = super::shaders::flags(&["BOUNDED", "WRITES", "PERSISTENT"], bits);
            constants.push(Constant::Word("OPERATION", operation));
            constants.push(Constant::Word("STORED", 0b0101_0101));
            let source = super::shaders::compose(&LIFECYCLE, &constants, &[]);
            all.push((format!("lifecycle {constants:?}"), source));
        }
    }
    all
}

/// Workgroups of 64 columns and 4 rows, each of which may take more rows.
pub(super) fn cell_grid(device: &Device) -> [u32; 3] {
    [device.x_size().div_ceil(64) as u32, device.d_size().div_ceil(4).min(65535) as u32, 1]
}

impl GpuTile {
    /// Writes the hidden parameters, in the order of [`Device::hidden_names`]; the slot of the
    /// persistent weights is not read.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit, [`Error::Backend`].
    pub fn set_planes(&mut self, planes: &[PlaneRef<'_>]) -> Result<()> {
        let device = self.spec.device();
        device.check_plane_shapes(planes)?;
        let persistent = device.persistent_position();
        let planes: Vec<_> = planes
            .iter()
            .enumerate()
            .map(|(at, plane)| if Some(at) == persistent { PlaneRef::Values(&[]) } else { *plane })
            .collect();
        let cells = device.d_size() * device.x_size();
        let context = Arc::clone(&self.context);
        context.guard("writing hidden parameters", || {
            self.state.write_planes(&context, &planes, cells)
        })
    }

    /// Writes `weights` as [`Device::set_weights`] does: within the bounds of the cells, with write
    /// noise where the device has it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Argument`] for values that are not finite, [`Error::State`] without
    /// hidden parameters, [`Error::Backend`].
    pub fn write_weights(&mut self, weights: &[f32], key: Key) -> Result<()> {
        let device = self.spec.device();
        Error::check_len("weights", weights.len(), device.d_size() * device.x_size())?;
        Error::check_finite("weights", weights)?;
        let on_set = device.write_noise().is_some_and(|noise| noise.on_set);
        let parameters = self.state.parameters(device, key, &Numbers::default())?;
        self.context.write(self.state.pair()[0], 0, weights);
        self.run(Operation::Set, &parameters, on_set)
    }

    /// Decay by `alpha` calls, see [`Device::decay`].
    ///
    /// # Errors
    /// [`Error::Argument`] for an `alpha` that is negative or not finite, [`Error::Backend`].
    pub fn decay(&mut self, alpha: f64, key: Key) -> Result<()> {
        if !(alpha.is_finite() && alpha >= 0.0) {
            let why = format!("must be finite and not negative, got {alpha}");
            return Err(Error::Argument { argument: "alpha", why });
        }
        if let Some(lifetime) = self.spec.device().exact_lifetime() {
            let scale = if lifetime > 0.0 { (1.0 - alpha / lifetime).max(0.0) } else { 1.0 };
            let numbers = Numbers { value: scale as f32, ..Numbers::default() };
            return self.operate(Operation::Scale, key, &numbers);
        }
        let planes = [position::DECAY, position::RESET];
        let numbers = Numbers { planes: &planes, value: alpha as f32, ..Numbers::default() };
        self.operate(Operation::Decay, key, &numbers)
    }

    /// One step of a random walk, see [`Device::diffuse`].
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn diffuse(&mut self, key: Key) -> Result<()> {
        let constant = match self.spec.device().config() {
            DeviceConfig::FloatingPoint(device) => Some(device.diffusion),
            DeviceConfig::Ideal(device) => Some(device.diffusion),
            _ => None,
        };
        let constant = constant.map(|rate| rate.max(0.0) as f32);
        let still = self.spec.device().hidden_constant("diffusion_rates") == Some(0.0);
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

    /// Reset of columns, see [`Device::reset_columns`].
    ///
    /// # Errors
    /// As there, and [`Error::Backend`].
    pub fn reset_columns(&mut self, start: usize, count: i64, prob: f64, key: Key) -> Result<()> {
        let device = self.spec.device();
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
            // A draw is an integer over 2^24.
            probability: (prob * 16_777_216.0).ceil() as u32,
            ..Numbers::default()
        };
        self.operate(Operation::Reset, key, &numbers)
    }

    /// Clips the weights symmetrically, see [`Device::clip_weights`].
    ///
    /// # Errors
    /// As there, and [`Error::Backend`].
    pub fn clip_weights(&mut self, clip: WeightClip, key: Key) -> Result<()> {
        clip.check()?;
        let device = self.spec.device();
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
        let device = self.spec.device();
        let keeps_zero = matches!(device.config(), DeviceConfig::FloatingPoint(_));
        let (cells, columns) = (device.d_size() * device.x_size(), device.x_size());
        let mut weights = vec![0.0; cells];
        self.weights(&mut weights)?;
        Ok(exact_limit(&weights, columns, clip, keeps_zero))
    }

    fn operate(&mut self, operation: Operation, key: Key, numbers: &Numbers<'_>) -> Result<()> {
        let device = self.spec.device();
        let parameters = self.state.parameters(device, key, numbers)?;
        self.run(operation, &parameters, device.write_noise().is_some())
    }

    fn run(
        &mut self,
        operation: Operation,
        parameters: &(Words, Constant),
        writes: bool,
    ) -> Result<()> {
        let constants = [
            Constant::Flag("BOUNDED", self.spec.device().is_pulsed()),
            Constant::Flag("WRITES", writes),
            Constant::Flag("PERSISTENT", self.state.persistent.is_some()),
            Constant::Word("OPERATION", operation as u32),
            parameters.1,
        ];
        let context = Arc::clone(&self.context);
        context.guard("changing weights", || {
            let buffer = self.scratch.parameters.parameters(&context, 1);
            context.write(&buffer, 0, &parameters.0.0);
            let pipeline = context.pipeline(&LIFECYCLE, &constants, &[])?;
            let [state, visible] = self.state.pair();
            let group = context.bind(&pipeline, &buffer, &[&self.state.planes, state, visible]);
            let grid = cell_grid(self.spec.device());
            context.submit(&[Step { pipeline, group, parameters: 0, grid }], None, &[]);
            Ok(())
        })
    }
}
