//! Pulses of every device against the formulas, one and many.

use mho_core::UpdateParameters;
use mho_core::config::TileConfig;
use mho_core::devices::{Device, DeviceConfig, Plane, PlaneRef};
use mho_core::pulse::{self, Update};
use mho_core::rng::{Key, Stream};

use crate::formulas::Cell;
use crate::statistics::{moments, smirnov};

/// Settings beside the defaults, in which every branch of the formulas is taken.
const SETTINGS: [(&str, &str); 11] = [
    ("LinearStep", r#""gamma_up": 0.7, "gamma_down": 1.3, "mult_noise": false"#),
    ("LinearStep", r#""gamma_up": 0.9, "allow_increasing": true, "mean_bound_reference": false"#),
    ("SoftBounds", r#""mult_noise": false"#),
    ("SoftBounds", r#""reverse_up": true, "reverse_down": true, "reverse_offset": 0.05"#),
    ("SoftBoundsReference", r#""reference_mean": 0.1, "reference_std": 0.1"#),
    ("SoftBoundsReference", r#""subtract_symmetry_point": true, "mult_noise": true"#),
    ("ExpStep", r#""dw_min_std_add": 5e-4, "dw_min_std_slope": 3e-3"#),
    ("ExpStep", r#""A_up": -1.2, "A_down": -0.1, "gamma_up": 5.0, "gamma_down": 5.0, "a": -0.5"#),
    ("PowStep", r#""pow_gamma": 2.5, "pow_up_down": 0.2, "pow_up_down_dtod": 0.1"#),
    ("PowStepReference", r#""reference_mean": -0.1, "reference_std": 0.1, "pow_gamma": 0.6"#),
    (
        "PiecewiseStep",
        r#""piecewise_up": [1.5, 0.2, 1.0, -0.3], "piecewise_down": [0.0, 1.0, 0.4, 2.0]"#,
    ),
];

/// All registered devices with their defaults and with the other settings; `pulsed` are fields that
/// all devices share.
fn variants(pulsed: &str) -> Vec<(String, DeviceConfig)> {
    let defaults = DeviceConfig::PULSED.iter().map(|name| (*name, ""));
    defaults
        .chain(SETTINGS)
        .map(|(name, own)| {
            let comma = if own.is_empty() { "" } else { ", " };
            let text = format!(
                r#"{{"device": {{"type": "{name}", "params": {{"pulsed": {{{pulsed}}}{comma}{own}}}}}}}"#
            );
            (format!("{name} {own}"), TileConfig::from_json(&text).unwrap().device)
        })
        .collect()
}

struct Rig {
    device: Device,
    planes: Vec<(&'static str, Plane)>,
}

impl Rig {
    fn new(config: &DeviceConfig, d_size: usize, x_size: usize) -> Self {
        let device =
            Device::new(config, &UpdateParameters::default(), d_size, x_size, false).unwrap();
        let planes = device.construct(11);
        Self { device, planes }
    }

    fn planes(&self) -> Vec<PlaneRef<'_>> {
        self.planes.iter().map(|(_, plane)| plane.as_ref()).collect()
    }

    fn update(&self, weights: &mut [f32], x: &[f32], d: &[f32], pulses: f64, call: u64) {
        pulse::update(Update {
            device: &self.device,
            weights,
            planes: &self.planes(),
            persistent: None,
            x,
            bias: None,
            d,
            learning_rate: pulses * self.device.granularity(),
            key: Key::new(5, call),
            counts: None,
        })
        .unwrap();
    }
}

fn normals(len: usize, block: u32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(99, 0).stream(Stream::Read).fill_normal(0, block, &mut out);
    out
}

#[test]
fn settings_survive_json() {
    for (what, device) in variants(r#""dw_min": 0.002, "drift": {"nu": 0.1}"#) {
        let config = TileConfig { device, ..TileConfig::default() };
        let text = config.to_json().unwrap();
        assert_eq!(TileConfig::from_json(&text).unwrap(), config, "{what}");
        assert!(text.contains("0.002"), "{what}");
    }
}

#[test]
fn one_pulse_follows_the_formula() {
    for (what, config) in variants(r#""dw_min_std": 0.0"#) {
        let rig = Rig::new(&config, 5, 370);
        let mut start: Vec<_> = normals(5 * 370, 0).iter().map(|w| 0.3 * w).collect();
        rig.device.clip(&mut start, &rig.planes());
        for up in [true, false] {
            let mut weights = start.clone();
            let sign = if up { -1.0 } else { 1.0 };
            rig.update(&mut weights, &[sign; 370], &[1.0; 5], 1.0, 1);
            for (at, (got, w)) in weights.iter().zip(&start).enumerate() {
                let cell = Cell::new(&rig.device, &rig.planes(), at);
                let expected = cell.pulse(&config, f64::from(*w), up, 0.0);
                // Weights have a precision of 6e-8; the rest is for steps that kernels add up.
                let error = (f64::from(*got) - expected).abs();
                assert!(error < 1e-6, "{what}: {at} from {w} up {up}: {got} {expected}");
            }
        }
    }
}

/// Samples of 31 pulses at each crosspoint, in changing directions.
const SIGNS: [f32; 8] = [-1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0];

/// Weights after the pulses of all [`SIGNS`], many times from the same start: the kernel, and pulse
/// after pulse.
fn many_pulses(config: &DeviceConfig, start: f32) -> [Vec<f64>; 2] {
    let rig = Rig::new(config, 25, 100);
    let x: Vec<f32> = SIGNS.iter().flat_map(|sign| [*sign; 100]).collect();
    let mut weights = vec![start; 2500];
    rig.update(&mut weights, &x, &[1.0; 25 * SIGNS.len()], 31.0, 1);
    let kernel = weights.iter().map(|w| f64::from(*w)).collect();
    let cell = Cell::new(&rig.device, &rig.planes(), 0);
    let mut xi = vec![0.0; 31 * SIGNS.len()];
    let single = (0..2500).map(|run| {
        Key::new(1234, 0).stream(Stream::Read).fill_normal(run, 7, &mut xi);
        let pulses = SIGNS.iter().flat_map(|sign| [*sign < 0.0; 31]);
        pulses
            .zip(&xi)
            .fold(f64::from(start), |w, (up, xi)| cell.pulse(config, w, up, f64::from(*xi)))
    });
    // Weights at the bounds are exactly there in both.
    [kernel, single.map(|w| f64::from(w as f32)).collect()]
}

/// Fails unless two samples look like those of one distribution.
fn assert_equal(mut got: Vec<f64>, mut want: Vec<f64>, what: &str) {
    let ((mean, variance), (mean_want, variance_want)) = (moments(&got), moments(&want));
    let n = got.len() as f64;
    // A weight below 1 is rounded by 3e-8 at most, 248 times.
    let error = 5.0 * ((variance + variance_want) / n).sqrt() + 2e-6;
    assert!((mean - mean_want).abs() < error, "{what}: mean {mean} {mean_want} {error}");
    let spread = variance_error(&got) + variance_error(&want);
    let error = 5.0 * (spread / n).sqrt() + 1e-11;
    assert!((variance - variance_want).abs() < error, "{what}: {variance} {variance_want} {error}");
    // Where nothing is random, values differ by their rounding.
    let distance = smirnov(&mut got, &mut want);
    assert!(variance_want < 1e-10 || distance < 1.0, "{what}: distance {distance}");
}

/// Variance of the square of the deviation from the mean.
fn variance_error(values: &[f64]) -> f64 {
    let mean = moments(values).0;
    let squares: Vec<_> = values.iter().map(|v| (v - mean).powi(2)).collect();
    moments(&squares).1
}

#[test]
fn kernels_match_single_pulses() {
    let equal = r#""dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0"#;
    for step in [0.001, 0.01] {
        for (what, mut config) in variants(&format!(r#"{equal}, "dw_min": {step}"#)) {
            without_spread(&mut config);
            let rig = Rig::new(&config, 1, 1);
            let reference = Cell::new(&rig.device, &rig.planes(), 0).reference(&config);
            for raw in [0.1, -0.58] {
                let [got, want] = many_pulses(&config, (raw - reference) as f32);
                assert_equal(got, want, &format!("{what}, steps of {step} from {raw}"));
            }
        }
    }
}

/// Makes the cells equal in what the device itself adds.
fn without_spread(config: &mut DeviceConfig) {
    match config {
        DeviceConfig::LinearStep(device) => {
            (device.gamma_up_dtod, device.gamma_down_dtod) = (0.0, 0.0);
        }
        DeviceConfig::PowStep(device) => {
            (device.pow_gamma_dtod, device.pow_up_down_dtod) = (0.0, 0.0);
        }
        DeviceConfig::PowStepReference(device) => {
            (device.pow_gamma_dtod, device.pow_up_down_dtod) = (0.0, 0.0);
            device.reference_std = 0.0;
        }
        DeviceConfig::SoftBoundsReference(device) => device.reference_std = 0.0,
        _ => {}
    }
}
