//! The devices of one tile: configuration, sizes and hidden parameters.

use super::any_device::Properties;
use super::common::{Cell, CellDraws, PulsedParameters};
use super::planes::PlaneRef;
use super::rule::{Kernel, MAX_EXTRA, WriteNoise};
use super::{AnyDevice, DeviceConfig, Ideal};
use crate::config::{PulseType, UpdateParameters, check_sizes};
use crate::error::{Error, Result};

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
    pub(crate) const DRIFT_NU: usize = 7;
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
    pub(super) analog_bias: bool,
    traits: Properties,
    /// Names of the hidden parameters, in order.
    names: Vec<&'static str>,
}

/// Range of the weight of each cell: the bounds, with the weight of a reference device subtracted
/// where there is one.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    upper: PlaneRef<'a>,
    lower: PlaneRef<'a>,
    reference: PlaneRef<'a>,
}

impl<'a> Bounds<'a> {
    /// The planes that they are made of: upper and lower bound, and what is subtracted from both.
    pub(super) fn planes(&self) -> [PlaneRef<'a>; 3] {
        [self.upper, self.lower, self.reference]
    }

    /// Lower and upper bound of the cell at flat position `at`.
    #[must_use]
    #[inline(always)]
    pub fn at(&self, at: usize) -> [f32; 2] {
        let reference = self.reference.at(at);
        [self.lower.at(at) - reference, self.upper.at(at) - reference]
    }
}

impl Device {
    /// Devices of a tile with `d_size` rows and `x_size` columns, the last of which belongs to the
    /// bias when `analog_bias` is set. `PulseType::None` replaces the device by [`Ideal`].
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field, [`Error::Argument`] for sizes.
    pub fn new(
        config: &DeviceConfig,
        update: &UpdateParameters,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
    ) -> Result<Self> {
        check_sizes(d_size, x_size)?;
        config.validate("device")?;
        update.validate("update")?;
        let config = match (config.pulsed(), update.pulse_type) {
            (Some(pulsed), PulseType::None) => DeviceConfig::Ideal(ideal_of(pulsed)),
            _ => config.clone(),
        };
        if config.pulsed().is_some_and(PulsedParameters::flows) {
            update.check_flow("update")?;
        }
        let traits = config.any().map(AnyDevice::properties).unwrap_or_default();
        let names = config.any().map_or_else(Vec::new, |_| names_of(&traits));
        Ok(Self { config, update: update.clone(), d_size, x_size, analog_bias, traits, names })
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

    /// Whether steps are infinitely fine: the steps of the cells are factors then, and nothing counts pulses.
    #[must_use]
    pub fn flows(&self) -> bool {
        self.config.pulsed().is_some_and(PulsedParameters::flows)
    }

    /// Mean step of one pulse in weight units; 0 if steps are infinitely fine, or the device exact.
    #[must_use]
    pub fn granularity(&self) -> f64 {
        self.traits.granularity
    }

    /// The kernel that applies trains of pulses; `None` for an exact device.
    #[must_use]
    pub fn kernel(&self) -> Option<Kernel> {
        self.traits.kernel
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
        self.traits.write_noise
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
        let device = self.config.any()?;
        // The cell without variation.
        let (mut cell, mut extra) =
            (device.parameters().cell(&CellDraws::default()), [0.0; MAX_EXTRA]);
        let own = std::slice::from_mut(&mut cell);
        device.add(own, &[[0.0; MAX_EXTRA]], std::slice::from_mut(&mut extra));
        Some(self.column(at, &cell, &extra) as f32)
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
        BASE.len() + usize::from(self.traits.write_noise.is_some())
    }

    /// Position of the slot of the persistent weights.
    #[must_use]
    pub fn persistent_position(&self) -> Option<usize> {
        self.traits.write_noise.map(|_| BASE.len())
    }

    /// Position of the plane with the weights of reference devices.
    pub(crate) fn reference(&self) -> Option<usize> {
        self.traits.reference.map(|at| self.first_extra() + at)
    }

    /// Range of the weights; `None` for an exact device, which has none, and without all planes. `planes` are in the order
    /// of [`Device::hidden_names`].
    #[must_use]
    pub fn bounds<'a>(&self, planes: &[PlaneRef<'a>]) -> Option<Bounds<'a>> {
        let reference = match self.reference() {
            Some(at) => *planes.get(at)?,
            None => PlaneRef::Constant(0.0),
        };
        let (upper, lower) = (*planes.get(position::MAX_BOUND)?, *planes.get(position::MIN_BOUND)?);
        self.is_pulsed().then_some(Bounds { upper, lower, reference })
    }

    /// `dw_min` that the steps in `planes` show, if the configuration says another one; `None` if
    /// it does not, or if there are no steps, or infinitely fine ones, whose factors may be any. Asymmetric and
    /// stuck devices lower the mean step.
    #[must_use]
    pub fn unexpected_dw_min(&self, planes: &[PlaneRef<'_>]) -> Option<f64> {
        let pulsed = self.config().pulsed().filter(|pulsed| !pulsed.flows())?;
        self.check_plane_shapes(planes).ok()?;
        let count = self.d_size() * self.x_size();
        let step = |plane: usize, at: usize| f64::from(planes[plane].at(at).abs());
        let sum: f64 = (0..count).map(|at| step(position::UP, at) + step(position::DOWN, at)).sum();
        let mean = sum / (2 * count) as f64;
        let share = (1.0 - 0.5 * pulsed.up_down.abs()) * (1.0 - pulsed.corrupt_devices_prob);
        let deviation = (mean / pulsed.dw_min - share).abs();
        // Steps in f32 and few cells must not look like another configuration.
        let is_expected = deviation <= (2.0 * pulsed.dw_min_dtod).max(1e-3);
        (!is_expected && share > 0.0 && mean > 0.0).then(|| mean / share)
    }

    fn varies(&self, name: &str) -> bool {
        let Some(pulsed) = self.config.pulsed() else { return false };
        let exceptions = pulsed.has_exceptions(self.analog_bias) || self.traits.adjusts_bounds;
        let [max_bound, min_bound] = pulsed.bounds_vary();
        let bounds = [max_bound, min_bound].map(|varies| varies || exceptions);
        match name {
            "max_bound" => bounds[0],
            "min_bound" => bounds[1],
            "dwmin_up" | "dwmin_down" => pulsed.steps_vary() || exceptions,
            "decay_scales" => pulsed.lifetime > 0.0 && pulsed.lifetime_dtod != 0.0,
            "diffusion_rates" => pulsed.diffusion > 0.0 && pulsed.diffusion_dtod != 0.0,
            "reset_bias" => pulsed.reset_dtod > 0.0,
            "drift_nu" => pulsed.drift.nu > 0.0 && pulsed.drift.nu_dtod != 0.0,
            PERSISTENT => true,
            _ => {
                let cells = max_bound || min_bound || pulsed.steps_vary();
                exceptions || cells || self.traits.extra_varies
            }
        }
    }

    /// Value of the plane at position `at` for one cell.
    #[inline(always)]
    pub(super) fn column(&self, at: usize, cell: &Cell, extra: &[f64; MAX_EXTRA]) -> f64 {
        match at {
            position::MAX_BOUND => cell.max_bound,
            position::MIN_BOUND => cell.min_bound,
            position::UP => cell.up,
            position::DOWN => cell.down,
            position::DECAY => cell.decay_scale,
            position::DIFFUSION => cell.diffusion_rate,
            position::RESET => cell.reset_bias,
            position::DRIFT_NU => cell.drift_nu,
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

/// Names of the hidden parameters of a pulsed device.
fn names_of(device: &Properties) -> Vec<&'static str> {
    let mut names = BASE.to_vec();
    names.extend(device.write_noise.map(|_| PERSISTENT));
    names.extend(device.extra);
    names
}
