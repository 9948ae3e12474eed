//! Failures at every place where a call may fail: the state is then as before, bit for bit, and the
//! same call once more does what it would have done.
//!
//! A process of its own, for the hooks count what all threads of one do.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

#[cfg(feature = "wgpu")]
mod card;
#[cfg(feature = "wgpu")]
mod card_cells;
mod cells;
mod host;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mho_core::config::{PulseType, TileConfig, UpdateParameters};
use mho_core::devices::{DeviceConfig, Plane, PlaneRef};
use mho_core::rng::Stream;
use mho_core::{Key, TileSpec, par};

/// One test at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the `nth` check for signals from now on find one; 0 is none.
pub fn interrupt_at(nth: usize) {
    static CHECKS: AtomicUsize = AtomicUsize::new(0);
    par::set_interrupt_check(|| {
        CHECKS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) == Ok(1)
    });
    CHECKS.store(nth, Ordering::Relaxed);
}

/// Uniform values in [-1, 1), by position.
pub fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0; count];
    Key::new(seed, 0).stream(Stream::Weights).fill_uniform(0, 0, &mut out);
    out.iter_mut().for_each(|value| *value = 2.0 * *value - 1.0);
    out
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub fn refs<'a>(planes: &'a [(&'static str, Plane)]) -> Vec<PlaneRef<'a>> {
    planes.iter().map(|(_, plane)| plane.as_ref()).collect()
}

/// An update of one device.
pub struct Work {
    pub name: String,
    pub spec: TileSpec,
    pub planes: Vec<(&'static str, Plane)>,
    /// Weights before it, within the bounds.
    pub weights: Vec<f32>,
    pub x: Vec<f32>,
    pub d: Vec<f32>,
    pub learning_rate: f64,
    pub key: Key,
}

impl Work {
    /// All ways in which `device` can be updated: in several chunks, a long sample in several as well,
    /// and in one; `sizes` are rows and columns, `few` and `many` numbers of samples.
    pub fn all(device: &DeviceConfig, sizes: [usize; 2], [few, many]: [usize; 2]) -> Vec<Self> {
        let managed = UpdateParameters::default;
        let of_type = |pulse_type| managed().with(|p| p.pulse_type = pulse_type);
        // 4096 slots are one chunk.
        let long = managed().with(|p| {
            p.desired_bl = 6000;
            p.update_bl_management = false;
            p.update_management = false;
        });
        [
            ("many samples", managed(), many, 0.1),
            ("one sample", managed(), 1, 0.1),
            ("a long sample", long, 1, 0.5),
            ("counted", of_type(PulseType::MeanCount), few, 0.1),
            ("implicit", of_type(PulseType::DeterministicImplicit), few, 0.1),
            ("exact", of_type(PulseType::NoneWithDevice), few, 0.1),
        ]
        .map(|(name, update, samples, learning_rate)| {
            let config = TileConfig::default().with(|p| {
                p.device = device.clone();
                p.update = update;
            });
            let spec = TileSpec::new(config, sizes[0], sizes[1], false).unwrap();
            let planes = spec.device().construct(11).unwrap();
            let mut weights: Vec<_> =
                values(sizes[0] * sizes[1], 3).iter().map(|w| 0.3 * w).collect();
            spec.device().clip(&mut weights, &refs(&planes)).unwrap();
            Self {
                name: format!("{name}, {}", spec.device().name()),
                weights,
                x: values(samples * sizes[1], 4),
                d: values(samples * sizes[0], 5),
                learning_rate,
                key: Key::new(9, 1),
                planes,
                spec,
            }
        })
        .into()
    }
}

/// All pulsed devices, with noise of the weights where they can have it and with drift on demand.
pub fn devices(nu: f64) -> Vec<DeviceConfig> {
    let noisy = |name: &&str| {
        let mut device = DeviceConfig::pulsed_default(name).unwrap();
        device.pulsed_mut().unwrap().drift.nu = nu;
        match &mut device {
            DeviceConfig::LinearStep(device) => device.write_noise_std = 1.0,
            DeviceConfig::SoftBoundsReference(device) => {
                (device.write_noise_std, device.reference_std) = (1.0, 0.05);
            }
            DeviceConfig::ExpStep(device) => device.write_noise_std = 1.0,
            DeviceConfig::PowStep(device) => device.write_noise_std = 1.0,
            DeviceConfig::PiecewiseStep(device) => device.write_noise_std = 1.0,
            _ => {}
        }
        device
    };
    DeviceConfig::PULSED.iter().map(noisy).collect()
}
