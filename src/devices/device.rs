//! The devices of one tile: configuration, sizes and the draw of their variations.

use super::common::{Cell, CellDraws, PulsedParameters};
use super::planes::{Plane, PlaneRef};
use super::rule::{MAX_EXTRA, PulsedDevice, WriteNoise};
use super::{DeviceConfig, Ideal, Visitor};
use crate::config::{PulseType, UpdateParameters};
use crate::error::{Error, Result};
use crate::rng::{Draw, Key, Stream, to_uniform};

/// Names of the hidden parameters that all pulsed devices have, in order.
pub(super) const BASE: [&str; 8] = [
    "max_bound",
    "min_bound",
    "dwmin_up",
    "dwmin_down",
    "decay_scales",
    "diffusion_rates",
    "reset_bias",
    "drift_nu",
];
/// Positions in [`BASE`].
pub(crate) mod position {
    pub(crate) const MAX_BOUND: usize = 0;
    pub(crate) const MIN_BOUND: usize = 1;
    pub(crate) const UP: usize = 2;
    pub(crate) const DOWN: usize = 3;
    pub(crate) const DECAY: usize = 4;
    pub(crate) const DIFFUSION: usize = 5;
    pub(crate) const RESET: usize = 6;
}
/// Name of the weights under the write noise.
pub(super) const PERSISTENT: &str = "persistent_weights";

/// The devices of one tile. Immutable; the values that differ between cells are planes that the
/// tile owns.
#[derive(Debug, Clone)]
pub struct Device {
    config: DeviceConfig,
    update: UpdateParameters,
    d_size: usize,
    x_size: usize,
    analog_bias: bool,
    write_noise: Option<WriteNoise>,
    granularity: f64,
    names: Vec<&'static str>,
}

impl Device {
    /// Devices of a tile with `d_size` rows and `x_size` columns, the last of which belongs to the
    /// bias when `analog_bias` is set. `PulseType::None` replaces the device by [`Ideal`].
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field.
    pub fn new(
        config: &DeviceConfig,
        update: &UpdateParameters,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
    ) -> Result<Self> {
        config.validate("device")?;
        update.validate("update")?;
        let config = match (config.pulsed(), update.pulse_type) {
            (Some(pulsed), PulseType::None) => DeviceConfig::Ideal(ideal_of(pulsed)),
            _ => config.clone(),
        };
        let traits = config.visit(Describe);
        Ok(Self {
            config,
            update: update.clone(),
            d_size,
            x_size,
            analog_bias,
            write_noise: traits.write_noise,
            granularity: traits.granularity,
            names: traits.names,
        })
    }

    /// The configuration, after the replacement by `PulseType::None`.
    #[must_use]
    pub fn config(&self) -> &DeviceConfig {
        &self.config
    }

    /// Pulse generation.
    #[must_use]
    pub fn update(&self) -> &UpdateParameters {
        &self.update
    }

    /// Tag of the device.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.config.name()
    }

    /// Whether the device moves by pulses.
    #[must_use]
    pub fn is_pulsed(&self) -> bool {
        self.config.pulsed().is_some()
    }

    /// Mean step of one pulse in weight units; that of an exact device is 0.
    #[must_use]
    pub fn granularity(&self) -> f64 {
        self.granularity
    }

    /// Number of rows (outputs).
    #[must_use]
    pub fn d_size(&self) -> usize {
        self.d_size
    }

    /// Number of columns, including that of an analog bias.
    #[must_use]
    pub fn x_size(&self) -> usize {
        self.x_size
    }

    /// Noise of the visible weight.
    #[must_use]
    pub fn write_noise(&self) -> Option<WriteNoise> {
        self.write_noise
    }

    /// Names of the hidden parameters, in order; none for exact devices.
    #[must_use]
    pub fn hidden_names(&self) -> Vec<&'static str> {
        self.names.clone()
    }

    /// Value of a hidden parameter that the configuration makes equal in all cells, so that it is
    /// not stored; `None` when it differs between cells or is unknown.
    #[must_use]
    pub fn hidden_constant(&self, name: &str) -> Option<f32> {
        let at = self.names.iter().position(|known| *known == name)?;
        if self.varies(name) {
            return None;
        }
        let (cell, extra) = self.config.visit(Mean)?;
        Some(self.column(at, &cell, &extra) as f32)
    }

    /// Draws the hidden parameters from `seed`, or from a `construction_seed` that is not 0. The
    /// persistent weights are 0.
    #[must_use]
    pub fn construct(&self, seed: u64) -> Vec<(&'static str, Plane)> {
        self.config.visit(Construct { device: self, seed })
    }

    /// Checks that `planes` are the hidden parameters of this device: one for each name in
    /// [`Device::hidden_names`], with one finite value per cell and `min_bound <= max_bound`.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Argument`].
    pub fn check_planes(&self, planes: &[PlaneRef<'_>]) -> Result<()> {
        self.check_plane_shapes(planes)?;
        for (name, plane) in self.names.iter().copied().zip(planes) {
            match plane {
                PlaneRef::Constant(value) => Error::check_finite(name, &[*value])?,
                PlaneRef::Values(values) => Error::check_finite(name, values)?,
            }
        }
        if self.names.is_empty() {
            return Ok(());
        }
        let (upper, lower) = (planes[position::MAX_BOUND], planes[position::MIN_BOUND]);
        let crossed = (0..self.d_size * self.x_size).find(|at| lower.at(*at) > upper.at(*at));
        crossed.map_or(Ok(()), |at| {
            let why = format!("element {at} exceeds max_bound; exchange the two");
            Err(Error::Argument { argument: "min_bound", why })
        })
    }

    /// Checks the number and the sizes of `planes`. The slot of the persistent weights is free, for
    /// those are borrowed mutably beside the planes.
    pub(crate) fn check_plane_shapes(&self, planes: &[PlaneRef<'_>]) -> Result<()> {
        Error::check_len("planes", planes.len(), self.names.len())?;
        for (name, plane) in self.names.iter().copied().zip(planes) {
            if let PlaneRef::Values(values) = plane
                && (name != PERSISTENT || !values.is_empty())
            {
                Error::check_len(name, values.len(), self.d_size * self.x_size)?;
            }
        }
        Ok(())
    }

    /// Position of the first plane that the device itself adds.
    pub(crate) fn first_extra(&self) -> usize {
        BASE.len() + usize::from(self.write_noise.is_some())
    }

    fn varies(&self, name: &str) -> bool {
        let Some(pulsed) = self.config.pulsed() else { return false };
        let exceptions = pulsed.has_exceptions(self.analog_bias);
        let [max_bound, min_bound] = pulsed.bounds_vary();
        // Consistency may exchange the two bounds.
        let bounds = [max_bound, min_bound].map(|varies| varies || exceptions);
        match name {
            "max_bound" => bounds[0],
            "min_bound" => bounds[1],
            "dwmin_up" | "dwmin_down" => pulsed.steps_vary() || exceptions,
            "decay_scales" => pulsed.lifetime > 0.0 && pulsed.lifetime_dtod != 0.0,
            "diffusion_rates" => pulsed.diffusion > 0.0 && pulsed.diffusion_dtod != 0.0,
            "reset_bias" => pulsed.reset_dtod > 0.0,
            "drift_nu" => false,
            PERSISTENT => true,
            _ => exceptions || max_bound || min_bound || pulsed.steps_vary(),
        }
    }

    /// Value of the plane at position `at` for one cell.
    fn column(&self, at: usize, cell: &Cell, extra: &[f64; MAX_EXTRA]) -> f64 {
        match at {
            position::MAX_BOUND => cell.max_bound,
            position::MIN_BOUND => cell.min_bound,
            position::UP => cell.up,
            position::DOWN => cell.down,
            position::DECAY => cell.decay_scale,
            position::DIFFUSION => cell.diffusion_rate,
            position::RESET => cell.reset_bias,
            at if at >= self.first_extra() => extra[at - self.first_extra()],
            _ => 0.0,
        }
    }
}

fn ideal_of(pulsed: &PulsedParameters) -> Ideal {
    Ideal {
        construction_seed: pulsed.construction_seed,
        diffusion: pulsed.diffusion,
        lifetime: pulsed.lifetime,
        reset_std: pulsed.reset_std,
    }
}

/// What does not depend on the cell.
struct Traits {
    write_noise: Option<WriteNoise>,
    granularity: f64,
    names: Vec<&'static str>,
}

struct Describe;

impl Visitor for Describe {
    type Output = Traits;

    fn pulsed<D: PulsedDevice>(self, device: &D) -> Traits {
        let write_noise = device.write_noise();
        let mut names = BASE.to_vec();
        names.extend(write_noise.map(|_| PERSISTENT));
        names.extend(D::EXTRA);
        Traits { write_noise, granularity: device.granularity(), names }
    }

    fn exact(self) -> Traits {
        Traits { write_noise: None, granularity: 0.0, names: Vec::new() }
    }
}

/// The cell without variation.
struct Mean;

impl Visitor for Mean {
    type Output = Option<(Cell, [f64; MAX_EXTRA])>;

    fn pulsed<D: PulsedDevice>(self, device: &D) -> Self::Output {
        let mut cell = device.pulsed().cell(&CellDraws::default());
        let extra = device.extra(&mut cell, &vec![0.0; D::EXTRA_DRAWS]);
        Some((cell, extra))
    }

    fn exact(self) -> Self::Output {
        None
    }
}

/// Draws of the construction stream, one block each. Append only.
mod block {
    pub(super) const MAX_BOUND: u32 = 0;
    pub(super) const MIN_BOUND: u32 = 1;
    pub(super) const GAIN: u32 = 2;
    pub(super) const ASYMMETRY: u32 = 3;
    pub(super) const CORRUPT: u32 = 4;
    pub(super) const CORRUPT_POSITION: u32 = 5;
    pub(super) const DIFFUSION: u32 = 6;
    pub(super) const RESET: u32 = 7;
    pub(super) const LIFETIME: u32 = 8;
    pub(super) const EXTRA: u32 = 16;
}

struct Construct<'a> {
    device: &'a Device,
    seed: u64,
}

impl Visitor for Construct<'_> {
    type Output = Vec<(&'static str, Plane)>;

    fn pulsed<D: PulsedDevice>(self, config: &D) -> Self::Output {
        let device = self.device;
        let seed = match config.pulsed().construction_seed {
            0 => self.seed,
            seed => seed as u64,
        };
        let draw = Key::new(seed, 0).stream(Stream::Construct);
        let cells = device.d_size * device.x_size;
        let mut planes: Vec<_> =
            device.names.iter().map(|name| (*name, empty_plane(device, name, cells))).collect();
        let mut rows = RowDraws::new(device.x_size, D::EXTRA_DRAWS);
        for row in 0..device.d_size {
            rows.fill(&draw, row as u32, config.pulsed());
            for column in 0..device.x_size {
                let bias = device.analog_bias && column + 1 == device.x_size;
                let draws = rows.cell(column, bias && config.pulsed().perfect_bias);
                let mut cell = config.pulsed().cell(&draws);
                let extra = config.extra(&mut cell, &rows.extra_of(column));
                for (at, (name, plane)) in planes.iter_mut().enumerate() {
                    if let Plane::Values(values) = plane
                        && *name != PERSISTENT
                    {
                        values[row * device.x_size + column] =
                            device.column(at, &cell, &extra) as f32;
                    }
                }
            }
        }
        planes
    }

    fn exact(self) -> Self::Output {
        Vec::new()
    }
}

fn empty_plane(device: &Device, name: &str, cells: usize) -> Plane {
    match device.hidden_constant(name) {
        Some(value) => Plane::Constant(value),
        None => Plane::Values(vec![0.0; cells]),
    }
}

/// Draws of one row of cells.
struct RowDraws {
    normals: Vec<Vec<f32>>,
    corrupt: Option<[Vec<u32>; 2]>,
    extra: Vec<Vec<f32>>,
}

/// Normal draws of the base parameters, with the block of each.
const NORMALS: [u32; 7] = [
    block::MAX_BOUND,
    block::MIN_BOUND,
    block::GAIN,
    block::ASYMMETRY,
    block::DIFFUSION,
    block::RESET,
    block::LIFETIME,
];

impl RowDraws {
    fn new(x_size: usize, extra: usize) -> Self {
        Self {
            normals: vec![vec![0.0; x_size]; NORMALS.len()],
            corrupt: None,
            extra: vec![vec![0.0; x_size]; extra],
        }
    }

    fn fill(&mut self, draw: &Draw, row: u32, pulsed: &PulsedParameters) {
        // Draws are positional: those that nothing depends on are left out.
        let needed = [
            pulsed.w_max_dtod != 0.0,
            pulsed.w_min_dtod != 0.0,
            pulsed.dw_min_dtod != 0.0,
            pulsed.up_down_dtod != 0.0,
            pulsed.diffusion > 0.0 && pulsed.diffusion_dtod != 0.0,
            pulsed.reset_dtod > 0.0,
            pulsed.lifetime > 0.0 && pulsed.lifetime_dtod != 0.0,
        ];
        for ((block, needed), out) in NORMALS.into_iter().zip(needed).zip(&mut self.normals) {
            if needed {
                draw.fill_normal(row, block, out);
            }
        }
        for (at, out) in self.extra.iter_mut().enumerate() {
            draw.fill_normal(row, block::EXTRA + at as u32, out);
        }
        if pulsed.corrupt_devices_prob > 0.0 {
            let x_size = self.normals[0].len();
            let [is_stuck, position] =
                self.corrupt.get_or_insert_with(|| [vec![0; x_size], vec![0; x_size]]);
            draw.fill_words(row, block::CORRUPT, is_stuck);
            draw.fill_words(row, block::CORRUPT_POSITION, position);
        }
    }

    fn cell(&self, column: usize, perfect: bool) -> CellDraws {
        let normal = |at: usize| f64::from(self.normals[at][column]);
        let uniform = |words: &[u32]| f64::from(to_uniform(words[column]));
        CellDraws {
            bounds: [normal(0), normal(1)],
            gain: normal(2),
            asymmetry: normal(3),
            diffusion: normal(4),
            reset: normal(5),
            lifetime: normal(6),
            corrupt: self
                .corrupt
                .as_ref()
                .map(|[stuck, position]| [uniform(stuck), uniform(position)]),
            perfect,
        }
    }

    fn extra_of(&self, column: usize) -> Vec<f64> {
        self.extra.iter().map(|normals| f64::from(normals[column])).collect()
    }
}
