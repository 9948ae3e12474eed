//! A device of another crate.

use std::any::Any;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::any_device::AnyDevice;
use super::common::PulsedParameters;

/// A device that another crate defines, as a device of a configuration. It takes part in everything that
/// built-in devices do, at their speed: the kernels for its rule are compiled where it is made, which is
/// [`DeviceConfig::custom`](super::DeviceConfig::custom).
///
/// A configuration with such a device has no JSON text, for a text names no code.
#[derive(Debug, Clone)]
pub struct CustomDevice {
    device: Arc<dyn AnyDevice>,
    /// What was compiled for its type, of a type that only kernels know.
    kernels: Arc<dyn Any + Send + Sync>,
}

impl CustomDevice {
    pub(crate) fn with_kernels(
        device: Arc<dyn AnyDevice>,
        kernels: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { device, kernels }
    }

    pub(crate) fn kernels(&self) -> &(dyn Any + Send + Sync) {
        &*self.kernels
    }

    pub(crate) fn device(&self) -> &dyn AnyDevice {
        &*self.device
    }

    /// The device, if it is of this type.
    #[must_use]
    pub fn downcast_ref<D: 'static>(&self) -> Option<&D> {
        self.device.as_any().downcast_ref()
    }

    /// The shared parameters, to change them; other owners of the device keep theirs.
    pub(super) fn pulsed_mut(&mut self) -> Option<&mut PulsedParameters> {
        if Arc::get_mut(&mut self.device).is_none() {
            self.device = self.device.copied();
        }
        Arc::get_mut(&mut self.device).map(AnyDevice::parameters_mut)
    }
}

impl PartialEq for CustomDevice {
    fn eq(&self, other: &Self) -> bool {
        self.device.equals(&*other.device)
    }
}

impl Serialize for CustomDevice {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.device.name();
        Err(ser::Error::custom(format!(
            "{name} is a device of another crate, which has no text; keep its parameters yourself"
        )))
    }
}

impl<'de> Deserialize<'de> for CustomDevice {
    fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(
            "a device of another crate has no text; set it by DeviceConfig::custom",
        ))
    }
}
