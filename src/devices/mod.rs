//! Devices at the crosspoints: parameters, generation of their variations and weight operations.
//!
//! A pulsed device is one file and two lines here: its `mod` line and its entry in `devices!`.

mod any_device;
mod any_rule;
mod clip;
mod common;
mod constant_step;
mod construct;
mod custom;
mod device;
mod drift;
mod exp_step;
mod ideal;
mod lifecycle;
mod linear;
mod linear_step;
pub(crate) mod math;
mod nodes;
mod piecewise_step;
mod planes;
mod pow_step;
mod pow_step_reference;
#[cfg(test)]
pub(crate) mod random;
mod response;
mod rows;
mod rule;
mod soft_bounds;
mod soft_bounds_reference;

use serde::{Deserialize, Serialize};

pub(crate) use any_device::AnyDevice;
use any_device::check_write_noise;
pub(crate) use any_rule::AnyRule;
pub use clip::WeightClip;
#[cfg(feature = "wgpu")]
pub(crate) use clip::exact_limit;
pub use common::{Cell, CellDraws, PulsedParameters};
pub use constant_step::ConstantStep;
pub use custom::CustomDevice;
pub(crate) use device::position;
pub use device::{Bounds, Device};
pub use drift::DriftState;
pub use exp_step::{ExpStep, ExpStepRule};
pub use ideal::{FloatingPoint, Ideal};
#[cfg(feature = "wgpu")]
pub(crate) use lifecycle::{SMALL_LOSS, exact_loss};
pub use linear::LinearRule;
pub use linear_step::LinearStep;
pub use nodes::{MAX_NODES, Nodes};
pub use piecewise_step::{PiecewiseRule, PiecewiseStep};
pub use planes::{Plane, PlaneRef};
pub use pow_step::{PowRule, PowStep};
pub use pow_step_reference::PowStepReference;
pub use response::{MAX_CONSTANTS, Response};
pub use rows::Cells;
pub(crate) use rule::Shape;
pub use rule::{Branch, CellRef, Kernel, MAX_EXTRA, PulsedDevice, Reach, Rule, WriteNoise};
pub use soft_bounds::SoftBounds;
pub use soft_bounds_reference::SoftBoundsReference;

pub use crate::config::{DriftParameters, SimpleDriftParameters};
use crate::error::Result;

/// A computation that needs the concrete type of the device.
pub(crate) trait Visitor {
    /// What it gives.
    type Output;
    /// For a device that moves by pulses.
    fn pulsed<D: PulsedDevice>(self, device: &D) -> Self::Output;
    /// For one of another crate, whose type is not known here.
    fn custom(self, device: &CustomDevice) -> Self::Output;
    /// For a device with exact updates.
    fn exact(self) -> Self::Output;
}

macro_rules! devices {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Configuration of the device at each crosspoint.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "params", deny_unknown_fields)]
        #[non_exhaustive]
        pub enum DeviceConfig {
            /// Weights of a floating-point tile.
            FloatingPoint(FloatingPoint),
            /// Exact updates between analog passes.
            Ideal(Ideal),
            $($(#[$doc])* $name($name),)*
            /// A device of another crate, made by [`DeviceConfig::custom`].
            Custom(CustomDevice),
        }

        impl DeviceConfig {
            /// Tags of all pulsed devices.
            pub const PULSED: &'static [&'static str] = &[$($name::NAME),*];

            /// The tag of this device.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    Self::FloatingPoint(_) => "FloatingPoint",
                    Self::Ideal(_) => "Ideal",
                    $(Self::$name(_) => $name::NAME,)*
                    Self::Custom(device) => device.device().name(),
                }
            }

            /// Default configuration of the pulsed device with tag `name`.
            #[must_use]
            pub fn pulsed_default(name: &str) -> Option<Self> {
                match name {
                    $($name::NAME => Some(Self::$name($name::default())),)*
                    _ => None,
                }
            }

            /// Checks every value; `path` is where the device stands, for example `device`.
            ///
            /// # Errors
            /// [`Error::Config`](crate::Error::Config) or
            /// [`Error::Unsupported`](crate::Error::Unsupported) naming the field.
            pub fn validate(&self, path: &str) -> Result<()> {
                match self {
                    Self::FloatingPoint(device) => device.validate(path),
                    Self::Ideal(device) => device.validate(path),
                    $(Self::$name(device) => check(device, path),)*
                    Self::Custom(device) => check(device.device(), path),
                }
            }

            pub(crate) fn visit<V: Visitor>(&self, visitor: V) -> V::Output {
                match self {
                    Self::FloatingPoint(_) | Self::Ideal(_) => visitor.exact(),
                    $(Self::$name(device) => visitor.pulsed(device),)*
                    Self::Custom(device) => visitor.custom(device),
                }
            }

            /// The device, of any type; `None` for those with exact updates.
            pub(crate) fn any(&self) -> Option<&dyn AnyDevice> {
                match self {
                    Self::FloatingPoint(_) | Self::Ideal(_) => None,
                    $(Self::$name(device) => Some(device),)*
                    Self::Custom(device) => Some(device.device()),
                }
            }

            /// The shared parameters, to change them.
            #[must_use]
            pub fn pulsed_mut(&mut self) -> Option<&mut PulsedParameters> {
                match self {
                    Self::FloatingPoint(_) | Self::Ideal(_) => None,
                    $(Self::$name(device) => Some(&mut device.pulsed),)*
                    Self::Custom(device) => device.pulsed_mut(),
                }
            }
        }
    };
}

devices! {
    /// Steps that do not depend on the weight.
    ConstantStep,
    /// Steps that depend linearly on the weight.
    LinearStep,
    /// Steps that shrink linearly towards the bound.
    SoftBounds,
    /// Soft bounds with the weight of a reference device subtracted.
    SoftBoundsReference,
    /// Steps that fall exponentially with the weight.
    ExpStep,
    /// Steps that are a power of the distance to the bound.
    PowStep,
    /// Power steps with the weight of a reference device subtracted.
    PowStepReference,
    /// Steps interpolated between given values.
    PiecewiseStep,
}

/// Checks the parameters of a device, those that all have in common as well.
fn check(device: &dyn AnyDevice, path: &str) -> Result<()> {
    device.check(path)?;
    check_write_noise(device, path)
}

impl DeviceConfig {
    /// The parameters that all pulsed devices share.
    #[must_use]
    pub fn pulsed(&self) -> Option<&PulsedParameters> {
        self.any().map(AnyDevice::parameters)
    }

    /// The response on graphics processors; `None` for devices with exact updates.
    #[must_use]
    pub fn response(&self) -> Option<Response> {
        self.any().map(AnyDevice::response)
    }

    /// Tags of all devices.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        [&["FloatingPoint", "Ideal"], Self::PULSED].concat()
    }

    /// Default configuration of the device with tag `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "FloatingPoint" => Some(Self::FloatingPoint(FloatingPoint::default())),
            "Ideal" => Some(Self::Ideal(Ideal::default())),
            _ => Self::pulsed_default(name),
        }
    }
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self::ConstantStep(ConstantStep::default())
    }
}
