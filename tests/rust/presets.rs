//! The pulses of all presets, and of devices with more noise than those, against one after another
//! in double precision.
//!
//! All cells of a tile are equal and get the same pulses, or pulses from trains of their own, so their
//! weights are a sample of the distribution that one cell has. It is compared by mean, deviation,
//! skewness and the distance of Kolmogorov and Smirnov with a sample of the reference.

use mho_core::config::{TileConfig, UpdateParameters};
use mho_core::devices::{DeviceConfig, Plane, PlaneRef};
use mho_core::pulse::{self, Update};
use mho_core::{Key, TileSpec};
use serde_json::Value;

use crate::reference::{Reference, without_spread};
use crate::statistics::{moments, skewness, smirnov, variance_error};

/// The presets as Python has them; a test of the package compares them.
const PRESETS: &str = include_str!("presets.json");

/// Devices whose noise, bends and kinks are at least those of the presets.
const STRONG: [(&str, &str); 6] = [
    ("SoftBounds", r#""pulsed": {"dw_min": 0.002, "dw_min_std": 5.0}"#),
    ("PowStep", r#""pow_gamma": 2.5, "pulsed": {"dw_min": 0.002, "dw_min_std": 5.0}"#),
    ("PowStepReference", r#""reference_mean": 0.1, "pulsed": {"dw_min": 0.01, "dw_min_std": 1.0}"#),
    ("ExpStep", r#""pulsed": {"dw_min": 0.002, "dw_min_std": 3.0}"#),
    ("LinearStep", r#""gamma_up": 0.7, "gamma_down": 1.3, "pulsed": {"dw_min": 0.005}"#),
    (
        "PiecewiseStep",
        r#""piecewise_up": [1.5, 0.2, 1.0, 0.3], "piecewise_down": [0.1, 1.0, 0.4, 2.0],
        "pulsed": {"dw_min": 0.002, "dw_min_std": 3.0}"#,
    ),
];

/// All presets and the devices above, with equal cells.
fn devices() -> Vec<(String, DeviceConfig)> {
    let presets: Value = serde_json::from_str(PRESETS).unwrap();
    let presets = presets.as_object().unwrap().iter();
    let presets = presets.map(|(name, value)| (name.clone(), value.to_string()));
    let strong = STRONG.iter().map(|(name, own)| {
        (format!("{name} {own}"), format!(r#"{{"type": "{name}", "params": {{{own}}}}}"#))
    });
    presets
        .chain(strong)
        .map(|(name, text)| {
            let config = TileConfig::from_json(&format!(r#"{{"device": {text}}}"#)).unwrap();
            (name, without_spread(&config.device))
        })
        .collect()
}

/// Samples of equal length, all of which have pulses of one direction, and the probability of a pulse
/// in each of their slots.
struct Pulses {
    name: &'static str,
    slots: usize,
    /// Whether the pulses of a sample go up.
    directions: Vec<bool>,
    probability: f64,
}

impl Pulses {
    fn certain(name: &'static str, slots: usize, directions: Vec<bool>) -> Self {
        Self { name, slots, directions, probability: 1.0 }
    }
}

/// Bits of a number, as directions without order.
fn bits(number: u64, count: usize) -> Vec<bool> {
    (0..count).map(|at| number >> at & 1 == 1).collect()
}

/// Few and many, of one direction or both, well mixed or in the order in which steps that depend on
/// the weight matter most: all up before all down, within a segment of the kernel and beyond.
fn few_pulses() -> Vec<Pulses> {
    let [up, down] = [true, false].map(|up| vec![up; 4]);
    vec![
        Pulses::certain("one sample", 31, vec![true]),
        Pulses::certain("up, then down", 16, [up, down].concat()),
        Pulses {
            name: "mixed trains",
            slots: 31,
            directions: bits(0b0110_1001_1101, 12),
            probability: 0.25,
        },
    ]
}

fn many_pulses() -> Vec<Pulses> {
    let mut all = few_pulses();
    let half = |up| vec![up; 8];
    all.extend([
        Pulses::certain("one long sample", 100, vec![false]),
        Pulses::certain("far up, then down", 16, [half(true), half(false)].concat()),
        Pulses::certain("far down, then up", 16, [half(false), half(true)].concat()),
        Pulses::certain("to and fro", 1, bits(0x5555_5555_5555_5555, 64)),
        Pulses::certain("couples", 2, bits(0x3333_3333_3333, 48)),
        Pulses::certain("mixed", 7, bits(0x9d2c_5680, 32)),
        Pulses {
            name: "sparse trains",
            slots: 31,
            directions: bits(0x6a09_e667_f3bc_c908, 32),
            probability: 0.04,
        },
    ]);
    all
}

/// One update of a tile with equal cells, from equal weights.
pub struct Case {
    pub spec: TileSpec,
    pub planes: Vec<(&'static str, Plane)>,
    /// Weights before the update, the persistent ones as well.
    pub weights: Vec<f32>,
    pub x: Vec<f32>,
    pub d: Vec<f32>,
    pub learning_rate: f64,
    pub key: Key,
}

impl Case {
    fn new(device: &DeviceConfig, pulses: &Pulses, size: &Size, start: f64, call: u64) -> Self {
        let cells = size.cells;
        // Trains are independent in the cells of one row only.
        let rows = if pulses.probability < 1.0 { 1 } else { 16 };
        let columns = cells / rows;
        // Without management a line fires with the probability that its value is.
        let update = UpdateParameters::default().with(|p| {
            p.desired_bl = pulses.slots as i64;
            p.update_management = false;
            p.update_bl_management = false;
            p.exact_pulses = size.exact_pulses;
        });
        let config = TileConfig::default().with(|p| {
            p.device = device.clone();
            p.update = update;
        });
        let spec = TileSpec::new(config, rows, columns, false).unwrap();
        let planes = spec.device().construct(1).unwrap();
        let sign = |up: &bool| if *up { -1.0 } else { 1.0 };
        Self {
            planes,
            weights: vec![start as f32; cells],
            x: vec![pulses.probability as f32; columns * pulses.directions.len()],
            d: pulses.directions.iter().flat_map(|up| vec![sign(up); rows]).collect(),
            learning_rate: spec.device().granularity() * pulses.slots as f64,
            key: Key::new(17, call),
            spec,
        }
    }

    /// Weights that the pulses have moved, by the kernels of the processor.
    fn on_host(self) -> Vec<f32> {
        let device = self.spec.device();
        let planes: Vec<PlaneRef<'_>> =
            self.planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let (mut weights, mut persistent) = (self.weights.clone(), self.weights);
        let noisy = device.write_noise().is_some();
        pulse::update(
            Update::new(
                device,
                &mut weights,
                &planes,
                [&self.x, &self.d],
                self.learning_rate,
                self.key,
            )
            .with(|u| u.persistent = noisy.then_some(&mut persistent[..])),
        )
        .unwrap();
        if noisy { persistent } else { weights }
    }
}

/// How large a comparison is.
pub struct Size {
    cells: usize,
    pulses: fn() -> Vec<Pulses>,
    /// Positions between the bounds at which the cells start.
    starts: &'static [f64],
    exact_pulses: bool,
}

/// Seconds.
pub const FAST: Size =
    Size { cells: 1 << 15, pulses: few_pulses, starts: &[0.55], exact_pulses: false };
/// Seconds, without adding up.
pub const EXACT: Size = Size { exact_pulses: true, ..FAST };
/// Minutes: three starts, the last one next to a bound.
pub const LARGE: Size =
    Size { cells: 1 << 15, pulses: many_pulses, starts: &[0.55, 0.2, 0.97], exact_pulses: false };

/// Compares the weights that `update` gives with the reference, for all devices.
pub fn compare(size: &Size, mut update: impl FnMut(Case) -> Vec<f32>) {
    let (mut call, mut failures) = (0, Vec::new());
    let mut worst = [0.0f64; 4];
    for (name, device) in devices() {
        for pulses in (size.pulses)() {
            for place in size.starts {
                call += 1;
                let case = Case::new(&device, &pulses, size, 0.0, call);
                let reference = Reference::new(&device, &case.planes);
                let [lower, upper] = reference.bounds();
                let start = f64::from((lower + place * (upper - lower)) as f32);
                let found = update(Case::new(&device, &pulses, size, start, call));
                let directions: Vec<bool> =
                    pulses.directions.iter().flat_map(|up| vec![*up; pulses.slots]).collect();
                let expected =
                    reference.simulate(start, &directions, pulses.probability, size.cells, call);
                let errors = distances(
                    found.into_iter().map(f64::from).collect(),
                    // Bounds and steps are as coarse as those of the kernels.
                    expected.into_iter().map(|w| f64::from(w as f32)).collect(),
                );
                let what = format!("{name}, {}, from {place}: {errors:.2?}", pulses.name);
                if errors.iter().any(|error| error.is_nan() || *error > 1.0) {
                    failures.push(what);
                }
                for (worst, error) in worst.iter_mut().zip(errors) {
                    *worst = worst.max(error);
                }
            }
        }
    }
    println!("{call} comparisons, largest parts of the limits {worst:.2?}");
    assert!(failures.is_empty(), "mean, deviation, skewness, distance:\n{}", failures.join("\n"));
}

/// Differences of mean, variance, skewness and distribution in units of their limits. Those of the
/// first three are five standard errors of the difference, each from what the two samples themselves
/// say about the variance of the estimate: a probability of 6e-7. That of the last has one of 1e-6.
/// Fewer than 1000 comparisons make no false alarm in 400 choices of the seeds.
fn distances(mut found: Vec<f64>, mut expected: Vec<f64>) -> [f64; 4] {
    let n = found.len() as f64;
    let limit = |variances: f64| 5.0 * (variances / n).sqrt();
    let ((mean, variance), (mean_of, variance_of)) = (moments(&found), moments(&expected));
    // A weight of order 1 is rounded to 6e-8: less than that is no difference.
    let means = (mean - mean_of).abs() / (limit(variance + variance_of) + 1e-7);
    if variance_of < 1e-13 {
        // All cells are at a bound.
        return [means, variance / 1e-12, 0.0, 0.0];
    }
    let spread = variance_error(&found) + variance_error(&expected);
    let ((skew, own), (skew_of, own_of)) = (skewness(&found), skewness(&expected));
    [
        means,
        (variance - variance_of).abs() / limit(spread),
        (skew - skew_of).abs() / limit(own + own_of),
        smirnov(&mut found, &mut expected),
    ]
}

#[test]
fn presets_move_as_one_pulse_after_another() {
    compare(&FAST, Case::on_host);
}

#[test]
fn presets_move_pulse_by_pulse_where_that_is_asked_for() {
    compare(&EXACT, Case::on_host);
}

#[test]
#[ignore = "minutes"]
fn presets_move_as_one_pulse_after_another_in_all_orders() {
    compare(&LARGE, Case::on_host);
}
