//! One pulse of each device in double precision, as its documentation has it.

use mho_core::devices::{Device, DeviceConfig, PlaneRef};

/// Constants of one cell.
pub struct Cell {
    pub upper: f64,
    pub lower: f64,
    pub up: f64,
    pub down: f64,
    extra: Vec<f64>,
}

impl Cell {
    pub fn new(device: &Device, planes: &[PlaneRef<'_>], at: usize) -> Self {
        let values: Vec<_> = device
            .hidden_names()
            .into_iter()
            .zip(planes)
            .filter(|(name, _)| *name != "persistent_weights")
            .map(|(_, plane)| f64::from(plane.at(at)))
            .collect();
        let [upper, lower, up, down] = [values[0], values[1], values[2], values[3]];
        Self { upper, lower, up, down, extra: values[8..].to_vec() }
    }

    /// Weight of the reference device that is subtracted.
    pub fn reference(&self, config: &DeviceConfig) -> f64 {
        match config {
            DeviceConfig::SoftBoundsReference(_) => self.extra[0],
            DeviceConfig::PowStepReference(_) => self.extra[2],
            _ => 0.0,
        }
    }

    /// Weight after one pulse that drew the normal `xi`.
    pub fn pulse(&self, config: &DeviceConfig, w: f64, up: bool, xi: f64) -> f64 {
        let reference = self.reference(config);
        let v = w + reference;
        let (mean, noise) = self.step(config, v, up);
        let sign = if up { 1.0 } else { -1.0 };
        (v + sign * (mean + noise * xi)).max(self.lower).min(self.upper) - reference
    }

    /// Size of one pulse and the deviation of that size, both for the raw weight `v`.
    fn step(&self, config: &DeviceConfig, v: f64, up: bool) -> (f64, f64) {
        let size = if up { self.up } else { self.down };
        let std = config.pulsed().unwrap().dw_min_std;
        let range = self.upper - self.lower;
        let either = |a: f64, b: f64| if up { a } else { b };
        match config {
            DeviceConfig::FloatingPoint(_) | DeviceConfig::Ideal(_) => panic!("no pulses"),
            DeviceConfig::ConstantStep(_) => (size, std * size),
            DeviceConfig::LinearStep(device) => {
                let mean = size + either(self.extra[0], self.extra[1]) * v;
                (mean, std * if device.mult_noise { mean } else { size })
            }
            DeviceConfig::SoftBounds(device) => {
                let mean = size + either(self.extra[0], self.extra[1]) * v;
                (mean, std * if device.mult_noise { mean } else { size })
            }
            DeviceConfig::SoftBoundsReference(device) => {
                let mean = size * (1.0 - v / either(self.upper, self.lower));
                (mean, std * if device.mult_noise { mean } else { size })
            }
            DeviceConfig::ExpStep(device) => {
                let z = 2.0 * device.a * v / range + device.b;
                let decrease = either(
                    device.A_up * (device.gamma_up * z).exp(),
                    device.A_down * (-device.gamma_down * z).exp(),
                );
                let mean = size * (1.0 - decrease).max(0.0);
                let rest = device.dw_min_std_add + device.dw_min_std_slope * v.abs();
                (mean, std * (mean + rest))
            }
            DeviceConfig::PowStep(_) | DeviceConfig::PowStepReference(_) => {
                let distance = either(self.upper - v, v - self.lower) / range;
                let mean =
                    size * distance.clamp(0.0, 1.0).powf(either(self.extra[0], self.extra[1]));
                (mean, std * mean)
            }
            DeviceConfig::PiecewiseStep(device) => {
                let nodes = if up { &device.piecewise_up } else { &device.piecewise_down };
                let mean = size * interpolate(nodes.values(), (v - self.lower) / range);
                (mean, std * mean)
            }
        }
    }
}

/// Linear interpolation of values that divide 0..=1 evenly.
fn interpolate(values: &[f64], position: f64) -> f64 {
    let last = values.len() - 1;
    if last == 0 {
        return values[0];
    }
    let at = position.clamp(0.0, 1.0) * last as f64;
    let left = (at.floor() as usize).min(last - 1);
    values[left] + (at - left as f64) * (values[left + 1] - values[left])
}
