//! A pulsed device of any type behind a pointer: all that is asked of it but its rule.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::common::{Cell, PulsedParameters};
use super::response::Response;
use super::rule::{Kernel, MAX_EXTRA, PulsedDevice, WriteNoise};
use crate::config::require;
use crate::error::{Result, shown};

/// What does not depend on the cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties {
    pub(crate) write_noise: Option<WriteNoise>,
    pub(crate) granularity: f64,
    pub(crate) kernel: Option<Kernel>,
    /// Names of the hidden parameters that the device adds.
    pub(crate) extra: &'static [&'static str],
    /// Which of them is the weight of a reference device.
    pub(crate) reference: Option<usize>,
    /// Normal draws of a cell for them.
    pub(crate) extra_draws: usize,
    pub(crate) extra_varies: bool,
    pub(crate) adjusts_bounds: bool,
    /// Time to draw a cell.
    pub(crate) construction_ns: f64,
}

/// The methods of [`PulsedDevice`] that need no type. Every pulsed device has them.
pub(crate) trait AnyDevice: Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn properties(&self) -> Properties;
    fn parameters(&self) -> &PulsedParameters;
    fn parameters_mut(&mut self) -> &mut PulsedParameters;
    fn check(&self, path: &str) -> Result<()>;
    fn response(&self) -> Response;

    /// [`PulsedDevice::extra`] of some cells.
    fn add(
        &self,
        cells: &mut [Cell],
        normals: &[[f64; MAX_EXTRA]],
        extras: &mut [[f64; MAX_EXTRA]],
    );

    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn AnyDevice) -> bool;
    fn copied(&self) -> Arc<dyn AnyDevice>;
}

impl<D: PulsedDevice> AnyDevice for D {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn properties(&self) -> Properties {
        Properties {
            write_noise: self.write_noise(),
            granularity: self.granularity(),
            kernel: Some(Kernel::of::<D::Rule<'_>>()),
            extra: D::EXTRA,
            reference: D::REFERENCE,
            extra_draws: D::EXTRA_DRAWS,
            extra_varies: self.extra_varies(),
            adjusts_bounds: self.adjusts_bounds(),
            construction_ns: self.construction_ns(),
        }
    }

    fn parameters(&self) -> &PulsedParameters {
        self.pulsed()
    }

    fn parameters_mut(&mut self) -> &mut PulsedParameters {
        self.pulsed_mut()
    }

    fn check(&self, path: &str) -> Result<()> {
        self.validate(path)
    }

    fn response(&self) -> Response {
        PulsedDevice::response(self)
    }

    fn add(
        &self,
        cells: &mut [Cell],
        normals: &[[f64; MAX_EXTRA]],
        extras: &mut [[f64; MAX_EXTRA]],
    ) {
        const { assert!(D::EXTRA_DRAWS <= MAX_EXTRA && D::EXTRA.len() <= MAX_EXTRA) };
        for ((cell, normals), extra) in cells.iter_mut().zip(normals).zip(extras) {
            *extra = self.extra(cell, &normals[..D::EXTRA_DRAWS]);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn AnyDevice) -> bool {
        other.as_any().downcast_ref::<D>() == Some(self)
    }

    fn copied(&self) -> Arc<dyn AnyDevice> {
        Arc::new(self.clone())
    }
}

/// Checks that write noise which has become absolute is one that was meant so: that of measured devices is many
/// steps.
pub(super) fn check_write_noise(device: &dyn AnyDevice, path: &str) -> Result<()> {
    let pulsed = device.parameters();
    let range = (pulsed.w_max - pulsed.w_min) as f32;
    let std = device.properties().write_noise.map_or(0.0, |noise| noise.std);
    let fits = !pulsed.flows() || range == 0.0 || std <= range;
    let why = format!(
        "with dw_min = 0 it is in units of the weight, and {} exceeds their range; multiply it by the \
         former dw_min",
        shown(std)
    );
    require(fits, path, "write_noise_std", why)
}
