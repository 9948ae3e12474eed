//! Power-law drift of the weights.

use super::DeviceConfig;
use super::device::{Device, position};
use super::planes::PlaneRef;
use super::rows::{Cells, Nothing};
use crate::config::{DriftParameters, SimpleDriftParameters};
use crate::error::{Error, Result, shown};
use crate::memory;
use crate::rng::{Draw, Key, Stream};

/// Smallest conductance whose logarithm is taken; smaller and negative ones, to which noise can bring a
/// weight, count as this one. It is what a weight of order 1 is resolved to, so the exponent changes
/// for no conductance that can be told from 0.
const SMALLEST_CONDUCTANCE: f64 = f32::EPSILON as f64;

impl DeviceConfig {
    /// Drift of the weights, or `None` without any. A pulsed device drifts if its `nu` is positive,
    /// also when its updates are exact, and a floating-point one if it is not 0.
    #[must_use]
    pub fn drift(&self) -> Option<DriftParameters> {
        if let Self::FloatingPoint(device) = self {
            let SimpleDriftParameters { nu, t_0, reset_tol } = device.drift;
            let all = DriftParameters { nu, t_0, reset_tol, ..DriftParameters::default() };
            return (nu != 0.0).then_some(all);
        }
        self.pulsed().map(|pulsed| pulsed.drift.clone()).filter(|drift| drift.nu > 0.0)
    }
}

/// What drift remembers of a tile from call to call.
#[derive(Debug)]
pub struct DriftState<'a> {
    /// Time of the last call, in units of `t_0`.
    pub clock: &'a mut f64,
    /// Time at which the clock of each cell was last restarted.
    pub start: &'a mut [f64],
    /// Weight of each cell at that time.
    pub written: &'a mut [f32],
    /// Weight of each cell after the last call.
    pub previous: &'a mut [f32],
}

impl Device {
    /// Power-law drift for `delta_t`: `w = w_0 s + offset (s - 1)` with
    /// `s = max(t / t_0, 1)^(-nu)`, `t` the time since the weight was last changed by anything else,
    /// within the bounds. Such a change is noticed, and the clock of the cell restarted, at the
    /// next call. Acts on the persistent weights where there are some.
    ///
    /// # Errors
    /// [`Error::Argument`] for a time that is negative or not finite, [`Error::Shape`].
    pub fn drift(
        &self,
        cells: Cells<'_>,
        parameters: &DriftParameters,
        state: DriftState<'_>,
        delta_t: f64,
        key: Key,
    ) -> Result<()> {
        self.check_cells(&cells)?;
        self.check_drift(&state)?;
        let now = *state.clock + passed(parameters, delta_t)?;
        let planes = cells.planes;
        let exponents = if self.is_pulsed() {
            planes[position::DRIFT_NU]
        } else {
            PlaneRef::Constant(parameters.nu as f32)
        };
        let DriftState { clock, start, written, previous } = state;
        let draw = key.stream(Stream::Drift);
        let mut nu_noise = Normals::new(draw, 0, self.x_size(), parameters.nu_std)?;
        let mut w_noise = Normals::new(draw, 1, self.x_size(), parameters.w_noise_std)?;
        let offset = offset(parameters);
        let Cells { weights, mut persistent, planes } = cells;
        let state = persistent.as_deref_mut().unwrap_or(&mut *weights);
        for (at, state) in state.iter_mut().enumerate() {
            let mut w = *state;
            let xi = f64::from(nu_noise.at(at));
            if f64::from((previous[at] - w).abs()) > parameters.reset_tol {
                (start[at], written[at]) = (now, w);
            } else {
                let nu = exponent(parameters, f64::from(exponents.at(at)), f64::from(w), xi);
                let factor = (now - start[at]).max(1.0).powf(-nu).min(f64::from(f32::MAX));
                let drifted = f64::from(written[at]) * factor + offset * (factor - 1.0);
                w = (drifted as f32).clamp(f32::MIN, f32::MAX);
            }
            w = w_noise.at(at).mul_add(parameters.w_noise_std as f32, w);
            (previous[at], *state) = (w, w);
        }
        // Half of the state has changed: these need no memory, so they do not fail.
        self.for_rows(Cells { weights, persistent, planes }, [], key, &Nothing)?;
        self.bound(previous, planes)?;
        *clock = now;
        Ok(())
    }

    fn check_drift(&self, state: &DriftState<'_>) -> Result<()> {
        let count = self.d_size() * self.x_size();
        Error::check_len("drift.t", state.start.len(), count)?;
        Error::check_len("drift.w0", state.written.len(), count)?;
        Error::check_len("drift.previous_weights", state.previous.len(), count)
    }
}

/// What is added to a weight for each unit by which its factor falls below 1: minus the weight of
/// conductance 0.
fn offset(parameters: &DriftParameters) -> f64 {
    let offset = parameters.g_offset * parameters.wg_ratio - parameters.w_offset;
    if offset.abs() < parameters.reset_tol { 0.0 } else { offset }
}

/// Exponent of a cell with weight `w` for one call.
fn exponent(parameters: &DriftParameters, nu: f64, w: f64, xi: f64) -> f64 {
    let DriftParameters { nu_std, nu_k, log_g0, wg_ratio, g_offset, w_offset, .. } = *parameters;
    let nu = if nu_std > 0.0 { nu * (1.0 + nu_std * xi) } else { nu };
    if nu_k == 0.0 {
        return nu;
    }
    let conductance = (w - w_offset) / wg_ratio + g_offset;
    nu - nu_k * (conductance.max(SMALLEST_CONDUCTANCE).ln() - log_g0)
}

/// `delta_t` in units of `t_0`.
fn passed(parameters: &DriftParameters, delta_t: f64) -> Result<f64> {
    let passed = delta_t / parameters.t_0;
    if passed.is_finite() && passed >= 0.0 {
        return Ok(passed);
    }
    let why = format!("must be finite and not negative, got {}", shown(delta_t));
    Err(Error::Argument { argument: "delta_t", why })
}

/// One normal per cell of one stream and block, for cells that come in their order.
struct Normals {
    draw: Draw,
    block: u32,
    is_drawn: bool,
    row: Vec<f32>,
}

impl Normals {
    /// Normals that are multiplied by `std`; without spread they are 0 and not drawn.
    ///
    /// # Errors
    /// [`Error::Memory`].
    fn new(draw: Draw, block: u32, columns: usize, std: f64) -> Result<Self> {
        Ok(Self { draw, block, is_drawn: std > 0.0, row: memory::filled(0.0, columns)? })
    }

    fn at(&mut self, at: usize) -> f32 {
        let (row, column) = (at / self.row.len(), at % self.row.len());
        if column == 0 && self.is_drawn {
            self.draw.fill_normal(row as u32, self.block, &mut self.row);
        }
        self.row[column]
    }
}
