//! Devices of other crates: the kernels for their rules.
//!
//! Kernels are generic over the rule, so those of a device of another crate are compiled there, where
//! [`DeviceConfig::custom`] is called, with the optimization of that crate. A call finds them by a
//! pointer, once for some samples; the loops are those of the built-in devices.

use std::any::Any;
use std::sync::Arc;

use super::apply::{Apply, Kernels};
use crate::devices::{CustomDevice, DeviceConfig, PulsedDevice};
use crate::error::{Error, Result};

impl DeviceConfig {
    /// A device of one's own, see [`PulsedDevice`]: it can stand wherever a built-in one can, in a
    /// [`Tile`](crate::Tile) as well as in a cell of several devices.
    ///
    /// Its parameters are checked where a tile is built.
    #[must_use]
    pub fn custom<D: PulsedDevice>(device: D) -> Self {
        let kernels: Kernels = launch::<D>;
        Self::Custom(CustomDevice::with_kernels(Arc::new(device), Arc::new(kernels)))
    }
}

fn launch<D: PulsedDevice>(device: &dyn Any, apply: Apply<'_, '_>) -> Result<()> {
    match device.downcast_ref::<D>() {
        Some(device) => apply.with(device),
        None => Err(Error::Panic(format!("the kernels are those of {}", D::NAME))),
    }
}
