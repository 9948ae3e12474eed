//! Many pulses of every device against one after another.
//!
//! What a single pulse does is compared with the formula of each device in NumPy, see
//! `tests/python/pulsed.py`; here the sums of pulses are compared with single ones of the crate.

use mho_core::config::TileConfig;
use mho_core::devices::{Device, DeviceConfig, Plane, PlaneRef};
use mho_core::pulse::{self, Update};
use mho_core::rng::Key;
use mho_core::{Tile, UpdateParameters};

use crate::reference::without_spread;
use crate::statistics::{moments, smirnov, variance_error};

/// Settings beside the defaults, in which every branch of the rules is taken.
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
        Self::with(config, &UpdateParameters::default(), d_size, x_size)
    }

    fn with(
        config: &DeviceConfig,
        update: &UpdateParameters,
        d_size: usize,
        x_size: usize,
    ) -> Self {
        let device = Device::new(config, update, d_size, x_size, false).unwrap();
        let planes = device.construct(11).unwrap();
        Self { device, planes }
    }

    fn planes(&self) -> Vec<PlaneRef<'_>> {
        self.planes.iter().map(|(_, plane)| plane.as_ref()).collect()
    }

    fn update(&self, weights: &mut [f32], x: &[f32], d: &[f32], pulses: f64, call: u64) {
        pulse::update(Update::new(
            &self.device,
            weights,
            &self.planes(),
            [x, d],
            pulses * self.device.granularity(),
            Key::new(5, call),
        ))
        .unwrap();
    }
}

#[test]
fn settings_survive_json() {
    for (what, device) in variants(r#""dw_min": 0.002, "drift": {"nu": 0.1}"#) {
        let config = TileConfig::default().with(|p| p.device = device);
        let text = config.to_json().unwrap();
        assert_eq!(TileConfig::from_json(&text).unwrap(), config, "{what}");
        assert!(text.contains("0.002"), "{what}");
    }
}

/// Samples of 31 pulses at each crosspoint, in changing directions.
const SIGNS: [f32; 8] = [-1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0];

/// Weights after the pulses of all [`SIGNS`], many times from the same start: in one update, and with
/// an update for every pulse.
fn many_pulses(rig: &Rig, start: f32) -> [Vec<f64>; 2] {
    let [mut summed, mut single] = [vec![start; 2500], vec![start; 2500]];
    let x: Vec<f32> = SIGNS.iter().flat_map(|sign| [*sign; 100]).collect();
    rig.update(&mut summed, &x, &[1.0; 25 * SIGNS.len()], 31.0, 1);
    for (call, sign) in SIGNS.iter().flat_map(|sign| [*sign; 31]).enumerate() {
        rig.update(&mut single, &[sign; 100], &[1.0; 25], 1.0, 2 + call as u64);
    }
    [summed, single].map(|weights| weights.into_iter().map(f64::from).collect())
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

#[test]
fn sums_match_single_pulses() {
    for step in [0.001, 0.01] {
        for (what, config) in variants(&format!(r#""dw_min": {step}"#)) {
            let rig = Rig::new(&without_spread(&config), 25, 100);
            let [lower, upper] = rig.device.bounds(&rig.planes()).unwrap().at(0);
            // In the middle, and so close to the bound that it is reached.
            for place in [0.58, 0.02] {
                let [got, want] = many_pulses(&rig, lower + place * (upper - lower));
                assert_equal(got, want, &format!("{what}, steps of {step} from {place}"));
            }
        }
    }
}

/// Without noise every operation is one that a lone pulse has as well, so even bits are equal.
#[test]
fn exact_pulses_are_single_pulses() {
    for (what, config) in variants(r#""dw_min": 0.003, "dw_min_std": 0.0"#) {
        let mut config = config;
        if let DeviceConfig::ExpStep(device) = &mut config {
            (device.dw_min_std_add, device.dw_min_std_slope) = (0.0, 0.0);
        }
        let update = UpdateParameters::default().with(|p| p.exact_pulses = true);
        let exact = Rig::with(&config, &update, 25, 100);
        let [lower, upper] = exact.device.bounds(&exact.planes()).unwrap().at(0);
        let start = lower + 0.4 * (upper - lower);
        let [all, single] = many_pulses(&exact, start);
        assert!(all == single, "{what}");
        let [added_up, _] = many_pulses(&Rig::new(&config, 25, 100), start);
        assert!(all != added_up, "{what}: nothing is added up");
    }
}

/// Cells whose range lies to one side take the exponent far beyond that of even ones, to where the
/// decrease of a step is beyond f32: they do not move up there.
#[test]
fn steps_that_vanish_do_not_jump() {
    let device = r#""A_up": 10.0, "gamma_up": 160.0, "a": 0.25, "b": 0.25, "pulsed":
        {"dw_min_std": 0.0, "w_max": 1.0, "w_min": -1.0, "w_max_dtod": 0.0, "w_min_dtod": 1.0}"#;
    let json = format!(r#"{{"device": {{"type": "ExpStep", "params": {{{device}}}}}}}"#);
    let config = TileConfig::from_json(&json).unwrap();
    for samples in [1, 50] {
        // Single pulses and trains of them.
        for learning_rate in [0.0005, 0.03] {
            let mut tile = Tile::new(20, 20, &config, 3).unwrap();
            tile.set_weights(&[0.99; 400]).unwrap();
            let before = tile.weights().to_vec();
            let (x, d) = (vec![1.0; 20 * samples], vec![-1.0; 20 * samples]);
            tile.update(&x, &d, learning_rate).unwrap();
            for (after, before) in tile.weights().iter().zip(&before) {
                assert!(after >= before, "{before} becomes {after} by pulses up");
            }
        }
    }
}

#[test]
fn exponents_are_limited_by_the_range_of_the_weights() {
    let device = |w_min: f64| {
        let json = format!(
            r#"{{"device": {{"type": "ExpStep", "params": {{"gamma_up": 160.0, "a": 0.25, "b": 0.25,
            "pulsed": {{"w_max": 1.0, "w_min": {w_min}}}}}}}}}"#
        );
        TileConfig::from_json(&json).and_then(|config| Tile::new(1, 1, &config, 1))
    };
    assert!(device(-1.0).is_ok());
    let error = device(-0.01).unwrap_err();
    assert!(error.to_string().contains("gamma_up"), "{error}");
}
