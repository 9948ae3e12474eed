//! Responses of the devices to pulses: the WGSL twin of each rule and the numbers that it reads.

use crate::devices::{DeviceConfig, ExpStep, PiecewiseStep};

/// Numbers that one rule may read.
pub(super) const MAX_CONSTANTS: usize = 16;

/// The response of one device.
#[derive(Debug)]
pub(super) struct Response {
    /// WGSL files.
    pub parts: &'static [&'static str],
    /// Numbers in `params.rule`; the first is the noise of a pulse.
    pub constants: Vec<f32>,
    /// Table behind the planes.
    pub table: Vec<f32>,
}

macro_rules! wgsl {
    ($name:literal) => {
        include_str!(concat!("shaders/", $name, ".wgsl"))
    };
}

const LINEAR: &str = wgsl!("devices/linear");
const MATH: &str = wgsl!("math");

/// The response of a pulsed device; `None` for exact devices.
pub(super) fn response(config: &DeviceConfig) -> Option<Response> {
    let std = config.pulsed()?.dw_min_std as f32;
    let linear = |mult_noise: bool| vec![std, f32::from(u8::from(mult_noise))];
    let (parts, constants, table): (&'static [&'static str], _, _) = match config {
        DeviceConfig::FloatingPoint(_) | DeviceConfig::Ideal(_) => return None,
        DeviceConfig::ConstantStep(_) => (&[wgsl!("devices/constant_step")], vec![std], vec![]),
        DeviceConfig::LinearStep(device) => {
            (&[LINEAR, wgsl!("devices/soft_bounds")], linear(device.mult_noise), vec![])
        }
        DeviceConfig::SoftBounds(device) => {
            (&[LINEAR, wgsl!("devices/soft_bounds")], linear(device.mult_noise), vec![])
        }
        DeviceConfig::SoftBoundsReference(device) => {
            (&[LINEAR, wgsl!("devices/soft_bounds_reference")], linear(device.mult_noise), vec![])
        }
        DeviceConfig::ExpStep(device) => {
            (&[MATH, wgsl!("devices/exp_step")], exponential(std, device), vec![])
        }
        DeviceConfig::PowStep(_) | DeviceConfig::PowStepReference(_) => {
            (&[MATH, wgsl!("devices/pow_step")], vec![std], vec![])
        }
        DeviceConfig::PiecewiseStep(device) => {
            let (constants, table) = piecewise(std, device);
            (&[wgsl!("devices/piecewise_step")], constants, table)
        }
    };
    Some(Response { parts, constants, table })
}

fn exponential(std: f32, device: &ExpStep) -> Vec<f32> {
    let complex = device.dw_min_std_add != 0.0 || device.dw_min_std_slope != 0.0;
    vec![
        std,
        device.A_up as f32,
        device.A_down as f32,
        device.gamma_up as f32,
        -device.gamma_down as f32,
        device.a as f32,
        device.b as f32,
        device.dw_min_std_add as f32,
        device.dw_min_std_slope as f32,
        f32::from(u8::from(complex)),
    ]
}

fn piecewise(std: f32, device: &PiecewiseStep) -> (Vec<f32>, Vec<f32>) {
    let (up, down) = (device.piecewise_up.values(), device.piecewise_down.values());
    let pieces = up.len().max(1) - 1;
    (vec![std, pieces as f32], up.iter().chain(down).map(|value| *value as f32).collect())
}
