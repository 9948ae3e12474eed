//! State of the cells on the graphics processor, and the parameters of the kernels that change it.

use super::buffers::PARAMETER_BYTES;
use super::context::Context;
use super::shaders::Constant;
use super::words::Words;
use crate::devices::{Device, MAX_CONSTANTS, PlaneRef, Response, position};
use crate::error::{Error, Result};
use crate::rng::Key;

/// Mark of a plane that is constant.
const NO_PLANE: u32 = u32::MAX;

/// Weights, hidden parameters and the response of the devices.
#[derive(Debug)]
pub(crate) struct State {
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

/// Hidden parameters in a buffer, with what [`State`] has to know of it.
#[derive(Debug)]
struct Planes {
    buffer: wgpu::Buffer,
    places: Vec<(u32, f32)>,
    table: u32,
}

impl State {
    /// The state of devices with these weights.
    pub fn new(context: &Context, device: &Device, weights: wgpu::Buffer) -> Result<Self> {
        let cells = device.d_size() * device.x_size();
        let persistent = device
            .write_noise()
            .map(|_| context.storage("persistent weights", cells))
            .transpose()?;
        Ok(Self {
            weights,
            persistent,
            planes: context.storage("hidden parameters", 4)?,
            places: Vec::new(),
            table: 0,
            response: device.config().response(),
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

    /// The buffers that pulses change.
    pub fn live(&self) -> Vec<wgpu::Buffer> {
        [Some(&self.weights), self.persistent.as_ref()].into_iter().flatten().cloned().collect()
    }

    /// Uploads planes and the table behind them, into a buffer of their own: those in use stay as
    /// they are until all of it has worked.
    fn upload(&self, context: &Context, planes: &[PlaneRef<'_>], cells: usize) -> Result<Planes> {
        let table = self.response.as_ref().map_or(&[][..], |response| &response.table);
        let stored =
            planes.iter().filter(|plane| matches!(plane, PlaneRef::Values(v) if !v.is_empty()));
        let words = stored.count() * cells + table.len();
        let buffer = context.storage("hidden parameters", words)?;
        let mut places = Vec::with_capacity(planes.len());
        let mut next = 0;
        for plane in planes {
            places.push(match plane {
                PlaneRef::Constant(value) => (NO_PLANE, *value),
                // The slot of the persistent weights, which have a buffer of their own.
                PlaneRef::Values([]) => (NO_PLANE, 0.0),
                PlaneRef::Values(values) => {
                    context.write(&buffer, next, values);
                    next += cells;
                    ((next - cells) as u32, 0.0)
                }
            });
        }
        context.write(&buffer, next, table);
        Ok(Planes { buffer, places, table: next as u32 })
    }

    /// Uses planes that were uploaded.
    fn set_planes(&mut self, planes: Planes) {
        (self.planes, self.places, self.table) = (planes.buffer, planes.places, planes.table);
        self.known = true;
    }

    /// Writes the hidden parameters of `device`, in the order of [`Device::hidden_names`]; the slot of the
    /// persistent weights is not read.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit, [`Error::Backend`].
    pub fn set(
        &mut self,
        context: &Context,
        device: &Device,
        planes: &[PlaneRef<'_>],
    ) -> Result<()> {
        device.check_plane_shapes(planes)?;
        let persistent = device.persistent_position();
        let planes: Vec<_> = planes
            .iter()
            .enumerate()
            .map(|(at, plane)| if Some(at) == persistent { PlaneRef::Values(&[]) } else { *plane })
            .collect();
        let cells = device.d_size() * device.x_size();
        let planes =
            context.guard("writing hidden parameters", || self.upload(context, &planes, cells))?;
        self.set_planes(planes);
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
        let window = numbers.window.unwrap_or(Window::whole(device));
        for value in window.columns.into_iter().chain(window.rows) {
            words.word(value as u32);
        }
        words.0.resize(PARAMETER_BYTES / 4, 0);
        Ok((words, stored))
    }
}

/// What of the parameters depends on the kernel.
#[derive(Debug, Default)]
pub(crate) struct Numbers<'a> {
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
    /// The cells that are looked at, if not all.
    pub window: Option<Window>,
}

/// Neighbouring cells: the first column and how many there are, and the same of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub columns: [usize; 2],
    pub rows: [usize; 2],
}

impl Window {
    /// All cells.
    pub fn whole(device: &Device) -> Self {
        Self { columns: [0, device.x_size()], rows: [0, device.d_size()] }
    }

    /// Workgroups of 64 columns and 4 rows, each of which may take more rows.
    pub fn grid(self) -> [u32; 3] {
        [self.columns[1].div_ceil(64) as u32, self.rows[1].div_ceil(4).min(65535) as u32, 1]
    }
}
