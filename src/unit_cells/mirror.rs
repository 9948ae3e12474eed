//! A device that is the mirror image of another one: what it does at a weight is what the other does, in
//! the other direction, at minus that weight.

use crate::devices::{Device, DeviceConfig};
use crate::error::{Error, Result};

/// The mirror image of a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mirror {
    /// The number of that leaf.
    pub(super) of: usize,
}

/// Hidden parameters, that of the other device which each comes from, and its sign. All others are equal.
const IMAGES: [(&str, &str, f32); 7] = [
    ("max_bound", "min_bound", -1.0),
    ("min_bound", "max_bound", -1.0),
    ("dwmin_up", "dwmin_down", 1.0),
    ("dwmin_down", "dwmin_up", 1.0),
    ("reset_bias", "reset_bias", -1.0),
    ("slope_up", "slope_down", -1.0),
    ("slope_down", "slope_up", -1.0),
];

impl Mirror {
    /// The image of leaf number `of`.
    pub(super) fn of(of: usize) -> Self {
        Self { of }
    }

    /// Checks that a device has an image: its rule must follow from hidden parameters alone.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub(super) fn check(device: &DeviceConfig, path: &str) -> Result<()> {
        match device {
            DeviceConfig::ConstantStep(_)
            | DeviceConfig::LinearStep(_)
            | DeviceConfig::SoftBounds(_) => Ok(()),
            other => {
                let why = format!(
                    "{} has no mirror image among its parameters; only ConstantStep, LinearStep and \
                     SoftBounds have",
                    other.name()
                );
                Err(Error::config(format!("{path}.copy_inverted"), why))
            }
        }
    }

    /// Number of the hidden parameter of the other device, of the same kind as `device`, that parameter
    /// `number` comes from, and its sign.
    pub(super) fn source(device: &Device, number: usize) -> (usize, f32) {
        let names = device.hidden_names();
        let image = names.get(number).and_then(|name| IMAGES.iter().find(|image| image.0 == *name));
        let Some((_, from, sign)) = image else { return (number, 1.0) };
        (names.iter().position(|name| name == from).unwrap_or(number), *sign)
    }
}
