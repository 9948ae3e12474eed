//! A device on both processors.

use mho_core::config::UpdateParameters;
use mho_core::devices::{Cells, Device, DeviceConfig, Plane, PlaneRef};
use mho_core::gpu::{GpuTile, GpuUpdate, Pick};
use mho_core::pulse::{self, Update};
use mho_core::{Key, TileConfig, TileSpec};

use super::{largest_difference, values};

/// A device on both processors.
pub(super) struct Pair {
    pub(super) spec: TileSpec,
    pub(super) planes: Vec<(&'static str, Plane)>,
    pub(super) weights: Vec<f32>,
    pub(super) persistent: Option<Vec<f32>>,
    pub(super) counts: Vec<i64>,
    pub(super) tile: GpuTile,
}

pub(super) const D_SIZE: usize = 21;
pub(super) const X_SIZE: usize = 83;

impl Pair {
    pub(super) fn new(device: DeviceConfig, update: UpdateParameters, pick: &Pick) -> Self {
        let config = TileConfig::default().with(|p| {
            p.device = device;
            p.update = update;
        });
        let spec = TileSpec::new(config, D_SIZE, X_SIZE, false).unwrap();
        let planes = spec.device().construct(11).unwrap();
        let mut tile = GpuTile::new(spec.clone(), pick).unwrap();
        tile.set_planes(&refs(&planes)).unwrap();
        let weights = vec![0.0; D_SIZE * X_SIZE];
        let persistent = spec.device().write_noise().map(|_| weights.clone());
        let counts = vec![0; 2 * D_SIZE * X_SIZE];
        Self { spec, planes, weights, persistent, counts, tile }
    }

    /// The same weights on both, through the bounds.
    pub(super) fn start(&mut self) {
        let weights: Vec<_> = values(D_SIZE * X_SIZE, 3).iter().map(|w| 0.3 * w).collect();
        let key = Key::new(5, 1);
        self.weights.copy_from_slice(&weights);
        self.host(|device, cells| device.set_weights(cells, key).unwrap());
        self.tile.write_weights(&weights, key).unwrap();
    }

    pub(super) fn host(&mut self, f: impl FnOnce(&Device, Cells<'_>)) {
        let planes = refs(&self.planes);
        let persistent = self.persistent.as_deref_mut();
        f(self.spec.device(), Cells { weights: &mut self.weights, persistent, planes: &planes });
    }

    /// One update on both; adds up the pulses of the host and returns those of the other.
    pub(super) fn update(&mut self, samples: usize, bias: Option<f32>, call: u64) -> Vec<i64> {
        let x = values(samples * (X_SIZE - usize::from(bias.is_some())), 4);
        let d = values(samples * D_SIZE, 5);
        let (key, learning_rate) = (Key::new(9, call), 0.01);
        let planes = refs(&self.planes);
        pulse::update(
            Update::new(
                self.spec.device(),
                &mut self.weights,
                &planes,
                [&x, &d],
                learning_rate,
                key,
            )
            .with(|u| {
                u.persistent = self.persistent.as_deref_mut();
                u.bias = bias;
                u.counts = Some(&mut self.counts);
            }),
        )
        .unwrap();
        let mut counts = vec![0; self.counts.len()];
        let update =
            GpuUpdate { x: &x, bias, d: &d, learning_rate, key, counts: Some(&mut counts) };
        self.tile.update(update).unwrap();
        counts
    }

    /// Largest difference of the weights and of the persistent ones.
    pub(super) fn difference(&mut self) -> f32 {
        let mut weights = vec![7.0; D_SIZE * X_SIZE];
        self.tile.weights(&mut weights).unwrap();
        let mut worst = largest_difference(&weights, &self.weights);
        if let Some(persistent) = &self.persistent {
            self.tile.persistent(&mut weights).unwrap();
            worst = worst.max(largest_difference(&weights, persistent));
        }
        worst
    }
}

pub(super) fn refs<'a>(planes: &'a [(&'static str, Plane)]) -> Vec<PlaneRef<'a>> {
    planes.iter().map(|(_, plane)| plane.as_ref()).collect()
}

/// Devices by name with and without noise of the pulses, and some options of theirs.
pub(super) fn devices() -> Vec<(String, DeviceConfig)> {
    let mut all = Vec::new();
    for name in DeviceConfig::PULSED {
        for std in [0.0, 0.3] {
            let mut device = DeviceConfig::pulsed_default(name).unwrap();
            let pulsed = device.pulsed_mut().unwrap();
            (pulsed.dw_min_std, pulsed.lifetime, pulsed.diffusion) = (std, 100.0, 0.01);
            (pulsed.reset_dtod, pulsed.lifetime_dtod) = (0.01, 0.1);
            match &mut device {
                DeviceConfig::LinearStep(device) => {
                    (device.mult_noise, device.gamma_up) = (std == 0.0, 0.5);
                    device.write_noise_std = if std == 0.0 { 0.0 } else { 1.0 };
                }
                DeviceConfig::SoftBoundsReference(device) => {
                    device.reference_std = 0.05;
                    device.subtract_symmetry_point = true;
                    device.slope_up_dtod = 0.1;
                }
                DeviceConfig::ExpStep(device) => {
                    (device.dw_min_std_add, device.dw_min_std_slope) = (std * 1e-4, std * 1e-3);
                }
                DeviceConfig::PowStepReference(device) => device.reference_std = 0.05,
                DeviceConfig::PiecewiseStep(device) => {
                    device.piecewise_up = vec![1.5, 1.0, 0.7, 0.2].into();
                    device.piecewise_down = vec![0.1, 0.8, 1.0, 1.4].into();
                }
                _ => {}
            }
            all.push((format!("{name} {std}"), device));
        }
    }
    all
}
