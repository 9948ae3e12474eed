//! The pulsed update against its formulas.
//!
//! Statistical limits are five standard errors unless said otherwise; seeds are fixed, so a test
//! passes or fails always. "Clean" devices have no variation and bounds far away.

use mho_core::config::PulseType;
use mho_core::devices::{Device, DeviceConfig, Plane, PlaneRef, PulsedParameters, SoftBounds};
use mho_core::pulse::counts::{Sample, counts};
use mho_core::pulse::scale::scaling;
use mho_core::pulse::{self, Update};
use mho_core::rng::{Key, Stream};
use mho_core::{Error, UpdateParameters, par};

use crate::statistics::moments;

/// Devices with their hidden parameters and one set of weights.
struct Rig {
    device: Device,
    planes: Vec<(&'static str, Plane)>,
    start: Vec<f32>,
}

fn clean() -> PulsedParameters {
    PulsedParameters::default().with(|p| {
        p.dw_min_dtod = 0.0;
        p.dw_min_std = 0.0;
        p.up_down_dtod = 0.0;
        p.w_max_dtod = 0.0;
        p.w_min_dtod = 0.0;
        p.w_max = 1e3;
        p.w_min = -1e3;
    })
}

fn constant(pulsed: PulsedParameters) -> DeviceConfig {
    let mut config = DeviceConfig::default();
    *config.pulsed_mut().unwrap() = pulsed;
    config
}

fn soft(pulsed: PulsedParameters) -> DeviceConfig {
    DeviceConfig::SoftBounds(SoftBounds::default().with(|p| p.pulsed = pulsed))
}

impl Rig {
    fn new(config: &DeviceConfig, update: &UpdateParameters, d_size: usize, x_size: usize) -> Self {
        let device = Device::new(config, update, d_size, x_size, false).unwrap();
        let planes = device.construct(11).unwrap();
        Self { device, planes, start: vec![0.0; d_size * x_size] }
    }

    fn planes(&self) -> Vec<PlaneRef<'_>> {
        self.planes.iter().map(|(_, plane)| plane.as_ref()).collect()
    }

    /// Weights and counts after one update from the start.
    fn run(&self, x: &[f32], d: &[f32], learning_rate: f64, call: u64) -> (Vec<f32>, Vec<i64>) {
        let mut weights = self.start.clone();
        let mut counts = vec![0; 2 * weights.len()];
        self.update(&mut weights, x, d, learning_rate, call, Some(&mut counts)).unwrap();
        (weights, counts)
    }

    fn update(
        &self,
        weights: &mut [f32],
        x: &[f32],
        d: &[f32],
        learning_rate: f64,
        call: u64,
        counts: Option<&mut [i64]>,
    ) -> Result<(), Error> {
        pulse::update(
            Update::new(
                &self.device,
                weights,
                &self.planes(),
                [x, d],
                learning_rate,
                Key::new(5, call),
            )
            .with(|u| u.counts = counts),
        )
    }
}

fn normals(len: usize, block: u32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(99, 0).stream(Stream::Read).fill_normal(0, block, &mut out);
    out
}

#[test]
#[allow(clippy::approx_constant, reason = "the six decimals of the table")]
fn scaling_has_the_golden_values() {
    let base = UpdateParameters::default();
    let no_bl = base.clone().with(|p| p.update_bl_management = false);
    let none = no_bl.clone().with(|p| p.update_management = false);
    let half = base.clone().with(|p| p.um_grad_scale = 0.5);
    let free = none.clone().with(|p| p.fixed_bl = false);
    let free_managed = no_bl.clone().with(|p| p.fixed_bl = false);
    // Parameters, learning rate, x_max, slots, scale of d, scale of x; d_max = 0.5, step 0.001.
    let table = [
        (&base, 0.001, 1.0, 1, 1.414214, 0.707107),
        (&base, 0.005, 1.0, 3, 1.825742, 0.912871),
        (&base, 0.02, 0.8, 8, 2.0, 1.25),
        (&base, 0.1, 1.0, 31, 3.225806, 1.0),
        (&half, 0.01, 1.0, 3, 3.651484, 0.912871),
        (&no_bl, 0.01, 1.0, 31, 0.803219, 0.401610),
        (&none, 0.01, 1.0, 31, 0.567962, 0.567962),
        (&free, 0.0405, 1.0, 41, 1.0, 1.0),
        (&free_managed, 0.0405, 1.0, 41, 1.414214, 0.707107),
    ];
    for (update, rate, x_max, slots, d, x) in table {
        let result = scaling(update, 0.001, rate, x_max, 0.5).unwrap();
        assert_eq!(result.slots, slots, "lr {rate}");
        // The table has six decimals.
        assert!((result.d - d).abs() < 1e-6, "{} {d}", result.d);
        assert!((result.x - x).abs() < 1e-6, "{} {x}", result.x);
    }
    for (rate, x_max, d_max) in [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)] {
        assert!(scaling(&base, 0.001, rate, x_max, d_max).is_none());
    }
}

fn count_statistics(pulse_type: PulseType, rate: f64, std: f64) {
    let (x, d) = ([0.8f32, -0.4, 0.1], [0.5f32, -0.25]);
    let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
    let rig = Rig::new(&constant(clean().with(|p| p.dw_min_std = std)), &update, 2, 3);
    let scale = scaling(&update, 0.001, rate, f64::from(0.8f32), 0.5).unwrap();
    let slots = f64::from(scale.slots);
    let p = x.map(|x| (scale.x * f64::from(x.abs())).min(1.0));
    let q = d.map(|d| (scale.d * f64::from(d.abs())).min(1.0));
    let runs = 4000;
    let mut samples = vec![Vec::new(); 6];
    for run in 0..runs {
        let (weights, counts) = rig.run(&x, &d, rate, run);
        for cell in 0..6 {
            // Steps, as the weight says; without noise they are the counts.
            let steps = f64::from(weights[cell]) / 0.001;
            let signed = counts[cell + 6] - counts[cell];
            assert!(std > 0.0 || (steps - signed as f64).abs() < 1e-2);
            assert_eq!(counts[cell] * counts[cell + 6], 0, "one direction per sample");
            samples[cell].push(steps);
        }
    }
    let sign = |i: usize, j: usize| -f64::from(x[j].signum() * d[i].signum());
    let variance = |i: usize, j: usize| {
        slots * p[j] * q[i] * (1.0 - p[j] * q[i]) + std * std * slots * p[j] * q[i]
    };
    let n = runs as f64;
    for i in 0..2 {
        for j in 0..3 {
            let (mean, measured) = moments(&samples[3 * i + j]);
            let expected = sign(i, j) * slots * p[j] * q[i];
            let error = 5.0 * (variance(i, j) / n).sqrt() + 1e-4;
            assert!((mean - expected).abs() < error, "{i} {j}: {mean} {expected} {error}");
            if slots * p[j] * q[i] >= 1.0 && variance(i, j) > 1e-9 {
                assert!((measured / variance(i, j) - 1.0).abs() < 0.15);
            }
            for (k, l) in [(i, (j + 1) % 3), (1 - i, j), (1 - i, (j + 1) % 3)] {
                let covariance = match (i == k, j == l) {
                    (true, _) => slots * q[i] * p[j] * p[l] * (1.0 - q[i]),
                    (_, true) => slots * p[j] * q[i] * q[k] * (1.0 - p[j]),
                    _ => 0.0,
                } * sign(i, j)
                    * sign(k, l);
                let other = moments(&samples[3 * k + l]).0;
                let pairs = samples[3 * i + j].iter().zip(&samples[3 * k + l]);
                let products: f64 = pairs.map(|(a, b)| (a - mean) * (b - other)).sum();
                let limit = 5.0 * (variance(i, j) * variance(k, l) / n).sqrt() + 1e-4;
                assert!((products / n - covariance).abs() < limit, "{i}{j} {k}{l}");
            }
        }
    }
}

#[test]
fn counts_are_binomial() {
    for pulse_type in [PulseType::StochasticCompressed, PulseType::Stochastic] {
        for rate in [0.0005, 0.02, 0.2] {
            for std in [0.0, 0.3] {
                count_statistics(pulse_type, rate, std);
            }
        }
    }
}

/// Trains of one slot, of a few and of many, which are drawn in different ways.
#[test]
fn samples_have_trains_of_their_own() {
    const SIZE: usize = 16;
    const SAMPLES: usize = 6;
    let rig = Rig::new(&constant(clean()), &UpdateParameters::default(), SIZE, SIZE);
    let lines = [1.0; SIZE * SAMPLES];
    for wanted in [0.5, 2.5, 11.5] {
        let mut products = vec![Vec::new(); SAMPLES * SAMPLES];
        for call in 0..400 {
            let pulses: Vec<Vec<f64>> = (0..SAMPLES)
                .map(|at| {
                    let mut out = vec![0; SIZE * SIZE];
                    let sample = Sample {
                        device: &rig.device,
                        x: &lines,
                        bias: None,
                        d: &lines,
                        learning_rate: wanted * rig.device.granularity(),
                        key: Key::new(3, call),
                        at,
                    };
                    counts(&sample, &mut out).unwrap();
                    out.iter().map(|n| n.abs() as f64 - wanted).collect()
                })
                .collect();
            for (a, b) in (0..SAMPLES * SAMPLES).map(|pair| (pair / SAMPLES, pair % SAMPLES)) {
                let sum: f64 = pulses[a].iter().zip(&pulses[b]).map(|(a, b)| a * b).sum();
                products[a * SAMPLES + b].push(sum);
            }
        }
        for (pair, products) in products.iter().enumerate() {
            let (mean, variance) = moments(products);
            let independent = mean.abs() < 5.0 * (variance / 400.0).sqrt();
            let (a, b) = (pair / SAMPLES, pair % SAMPLES);
            assert_eq!(independent, a != b, "{wanted} pulses, samples {a} and {b}: {mean}");
        }
    }
}

/// k = 8 at the largest crosspoint: all eight slots fire on both lines.
#[test]
fn certain_coincidences_are_certain() {
    let rig = Rig::new(&constant(clean()), &UpdateParameters::default(), 2, 3);
    for call in 0..500 {
        let (_, counts) = rig.run(&[0.8, -0.4, 0.1], &[0.5, -0.25], 0.02, call);
        assert_eq!((counts[0], counts[6]), (8, 0));
    }
}

#[test]
fn saturation_and_gradient_scale() {
    let mean = |update: &UpdateParameters, rate: f64| {
        let rig = Rig::new(&constant(clean()), update, 2, 2);
        let mut sums = [0.0; 4];
        for call in 0..4000 {
            let (_, counts) = rig.run(&[1.0, -0.5], &[0.5, 0.2], rate, call);
            (0..4).for_each(|at| sums[at] += (counts[at] + counts[at + 4]) as f64 / 4000.0);
        }
        sums
    };
    let close = |got: [f64; 4], want: [f64; 4], slots: f64| {
        for (got, want) in got.into_iter().zip(want) {
            let error = 5.0 * (want * (1.0 - want / slots) / 4000.0).sqrt() + 1e-4;
            assert!((got - want).abs() < error, "{got} {want}");
        }
    };
    close(mean(&UpdateParameters::default(), 0.1), [31.0, 15.5, 20.0, 10.0], 31.0);
    let half = UpdateParameters::default().with(|p| p.um_grad_scale = 0.5);
    close(mean(&half, 0.01), [2.738_613, 1.369_306, 2.0, 1.0], 3.0);
}

#[test]
fn a_batch_is_unbiased() {
    let (d_size, x_size, batch, runs) = (16, 16, 32, 500);
    let (x, d) = (normals(batch * x_size, 1), normals(batch * d_size, 2));
    let rate = 0.002;
    let config = constant(clean().with(|p| p.dw_min_std = 0.3));
    let rig = Rig::new(&config, &UpdateParameters::default(), d_size, x_size);
    let mut sums = vec![0.0; d_size * x_size];
    for call in 0..runs {
        let (weights, _) = rig.run(&x, &d, rate, call);
        sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += f64::from(w) / runs as f64);
    }
    let (mut product, mut square) = (0.0, 0.0);
    for i in 0..d_size {
        for j in 0..x_size {
            let (mut expected, mut variance) = (0.0, 0.0);
            for s in 0..batch {
                let change = f64::from(d[s * d_size + i]) * f64::from(x[s * x_size + j]) * rate;
                expected -= change;
                // Binomial variance is at most the mean; the noise adds std^2 times the mean.
                variance += change.abs() * 0.001 * (1.0 + 0.09);
            }
            let limit = 5.0 * (variance / runs as f64).sqrt();
            let got = sums[i * x_size + j];
            assert!((got - expected).abs() < limit, "{i} {j}: {got} {expected}");
            product += got * expected;
            square += expected * expected;
        }
    }
    assert!((product / square - 1.0).abs() < 0.01, "slope {}", product / square);
}

#[test]
fn dense_types_have_exact_counts() {
    let run = |pulse_type, x_res_implicit, x: &[f32], d: &[f32], rate| {
        let update = UpdateParameters::default().with(|p| {
            p.pulse_type = pulse_type;
            p.x_res_implicit = x_res_implicit;
        });
        let rig = Rig::new(&constant(clean()), &update, d.len(), x.len());
        let (weights, counts) = rig.run(x, d, rate, 1);
        let n = weights.len();
        for at in 0..n {
            let steps = (counts[at + n] - counts[at]) as f32;
            assert!((weights[at] - 0.001 * steps).abs() < 1e-6);
        }
        (0..n).map(|at| counts[at] - counts[at + n]).collect::<Vec<_>>()
    };
    for pulse_type in [PulseType::MeanCount, PulseType::DeterministicImplicit] {
        let counts = run(pulse_type, 0.0, &[1.0, -0.5, 0.1], &[0.5, -0.2], 0.01);
        assert_eq!(counts, [5, -2, 0, -2, 1, 0], "{pulse_type:?}");
        let counts = run(pulse_type, 0.0, &[-1.0, 0.5, -0.1], &[0.5, -0.2], 0.01);
        assert_eq!(counts, [-5, 2, 0, 2, -1, 0], "{pulse_type:?}");
    }
    let implicit = PulseType::DeterministicImplicit;
    assert_eq!(run(implicit, 0.3, &[1.0, 0.37], &[0.5], 0.04), [18, 6]);
}

#[test]
fn resolution_rounds_probabilities() {
    // k = 0.5: both lines fire with probability 0.707, in bins of 0.5 rounded to 0.5; more than one
    // bin is the number of bins.
    for res in [0.5, 2.0] {
        for sto_round in [false, true] {
            let update = UpdateParameters::default().with(|p| {
                p.res = res;
                p.sto_round = sto_round;
            });
            let rig = Rig::new(&constant(clean()), &update, 1, 1);
            let runs = 4000;
            let total: i64 = (0..runs).map(|call| rig.run(&[1.0], &[0.5], 0.001, call).1[0]).sum();
            let expected = if sto_round { 0.5 } else { 0.25 };
            let error = 5.0 * (0.25 / runs as f64).sqrt();
            assert!(
                (total as f64 / runs as f64 - expected).abs() < error,
                "{res} {sto_round} {total}"
            );
        }
    }
}

/// One pulse close to the bound: mean of a clipped normal.
#[test]
fn a_pulse_near_the_bound_is_clipped() {
    let pulsed = clean().with(|p| {
        p.dw_min = 0.01;
        p.dw_min_std = 0.3;
        p.w_max = 0.6;
        p.w_min = -0.6;
    });
    let mut rig = Rig::new(&constant(pulsed), &UpdateParameters::default(), 50, 50);
    rig.start.fill(0.595);
    let mut values = Vec::new();
    for call in 0..40 {
        values.extend(rig.run(&[-1.0; 50], &[1.0; 50], 0.01, call).0.iter().map(|w| f64::from(*w)));
    }
    let (mean, variance) = moments(&values);
    let error = 5.0 * (variance / values.len() as f64).sqrt() + 1e-7;
    assert!((mean - 0.599_940_5).abs() < error, "{mean} {error}");
}

#[test]
fn soft_bounds_follow_the_binomial_formula() {
    let pulsed = clean().with(|p| {
        p.dw_min = 0.01;
        p.dw_min_std = 0.3;
        p.w_max = 0.6;
        p.w_min = -0.6;
    });
    let mut rig = Rig::new(&soft(pulsed), &UpdateParameters::default(), 1, 2);
    rig.start.fill(0.2);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for call in 0..20_000 {
        let (weights, _) = rig.run(&[1.0, 0.5], &[-0.9], 0.2, call);
        first.push(f64::from(weights[0]));
        second.push(f64::from(weights[1]));
    }
    // k = 18 slots: the first column always fires, the second with probability 1/2.
    for (values, p) in [(first, 1.0), (second, 0.5)] {
        let expected = 0.6 - 0.4 * (1.0 - p * 0.01 / 0.6f64).powi(18);
        let (mean, variance) = moments(&values);
        let error = 5.0 * (variance / values.len() as f64).sqrt();
        assert!((mean - expected).abs() < error, "{mean} {expected} {error}");
    }
}

#[test]
fn alternating_pulses_converge() {
    let pulsed = clean().with(|p| {
        p.dw_min = 0.01;
        p.up_down = 0.3;
        p.w_max = 0.6;
        p.w_min = -0.6;
    });
    let rig = Rig::new(&soft(pulsed), &UpdateParameters::default(), 1, 1);
    let mut weights = vec![-0.3];
    for call in 0..4000 {
        let sign = if call % 2 == 0 { -1.0 } else { 1.0 };
        rig.update(&mut weights, &[sign], &[1.0], 0.01, call, None).unwrap();
    }
    let (a, b) = (0.01 / 0.6, 0.007 / 0.6);
    let limit = (0.01 * (1.0 - b) - 0.007) / (1.0 - (1.0 - a) * (1.0 - b));
    assert!((f64::from(weights[0]) - limit).abs() < 1e-5, "{} {limit}", weights[0]);
}

#[test]
fn weights_stay_within_bounds() {
    for name in DeviceConfig::PULSED {
        let mut config = DeviceConfig::pulsed_default(name).unwrap();
        config.pulsed_mut().unwrap().corrupt_devices_prob = 0.1;
        let mut rig = Rig::new(&config, &UpdateParameters::default(), 20, 70);
        rig.device.clip(&mut rig.start.clone(), &rig.planes()).unwrap();
        let mut weights = rig.start.clone();
        rig.device.clip(&mut weights, &rig.planes()).unwrap();
        rig.start = weights.clone();
        for call in 0..20 {
            let (x, d) = (normals(30 * 70, 3 + call), normals(30 * 20, 100 + call));
            rig.update(&mut weights, &x, &d, 0.1, u64::from(call), None).unwrap();
            let planes = rig.planes();
            let bounds = rig.device.bounds(&planes).unwrap();
            for (at, w) in weights.iter().enumerate() {
                let [lower, upper] = bounds.at(at);
                assert!(*w <= upper && *w >= lower, "{name} {at} {w}");
                let stuck = planes[2].at(at) == 0.0 && planes[3].at(at) == 0.0;
                assert!(!stuck || *w == rig.start[at], "{name}: a stuck cell moved");
            }
        }
    }
}

/// Batches of one sample, of few slots and of several chunks, which have kernels of their own.
#[test]
fn threads_do_not_change_bits() {
    const ROWS: usize = 150;
    const COLUMNS: usize = 190;
    for name in DeviceConfig::PULSED {
        let config = DeviceConfig::pulsed_default(name).unwrap();
        let mut rig = Rig::new(&config, &UpdateParameters::default(), ROWS, COLUMNS);
        let mut start = rig.start.clone();
        rig.device.clip(&mut start, &rig.planes()).unwrap();
        rig.start = start;
        for batch in [1, 4, 150] {
            let (x, d) = (normals(batch * COLUMNS, 1), normals(batch * ROWS, 2));
            par::set_num_threads(1).unwrap();
            let expected = rig.run(&x, &d, 0.05, 1);
            for threads in [2, 7] {
                par::set_num_threads(threads).unwrap();
                let same = rig.run(&x, &d, 0.05, 1) == expected;
                assert!(same, "{name}, {batch} samples, {threads} threads");
            }
        }
    }
}

/// A write to one column leaves all others, wherever in the row and its groups of draws it is.
#[test]
fn one_column_is_written_alone() {
    const COLUMNS: usize = 300;
    let clean = clean().with(|p| p.dw_min = 0.0078125);
    for config in [constant(clean.clone()), soft(clean.clone())] {
        let rig = Rig::new(&config, &UpdateParameters::default(), 9, COLUMNS);
        for column in [0, 15, 63, 64, 130, 255, 256, 299] {
            let mut x = vec![0.0; COLUMNS];
            x[column] = -1.0;
            let (weights, counts) = rig.run(&x, &normals(9, 4), 0.5, 1);
            let mut pulses = 0;
            for (at, w) in weights.iter().enumerate() {
                let (down, up) = (counts[at], counts[9 * COLUMNS + at]);
                assert!(at % COLUMNS == column || (down == 0 && up == 0 && *w == 0.0), "{at}");
                // Bounds are so far away that soft steps differ by 31 steps in 1e3 at most.
                let expected = (up - down) as f32 * 0.0078125;
                assert!(
                    (w - expected).abs() <= expected.abs() * 31.0 * 0.0078125 / 1e3,
                    "{at} {w}"
                );
                pulses += down + up;
            }
            assert!(pulses > 9, "{column}");
        }
    }
}

#[test]
fn a_bias_is_one_more_column() {
    let rig = Rig::new(&DeviceConfig::default(), &UpdateParameters::default(), 9, 20);
    let (x, d) = (normals(10 * 19, 1), normals(10 * 9, 2));
    let full: Vec<f32> = x.chunks(19).flat_map(|row| row.iter().copied().chain([1.0])).collect();
    let (expected, _) = rig.run(&full, &d, 0.01, 3);
    let mut weights = rig.start.clone();
    pulse::update(
        Update::new(&rig.device, &mut weights, &rig.planes(), [&x, &d], 0.01, Key::new(5, 3))
            .with(|u| u.bias = Some(1.0)),
    )
    .unwrap();
    assert_eq!(weights, expected);
}

#[test]
fn exact_types_follow_the_gradient() {
    let (x, d) = (normals(20 * 12, 1), normals(20 * 6, 2));
    let exact = |limit: f32| {
        let mut w = vec![0.0f32; 6 * 12];
        for s in 0..20 {
            for (at, w) in w.iter_mut().enumerate() {
                *w = (*w - 0.1 * d[s * 6 + at / 12] * x[s * 12 + at % 12]).clamp(-limit, limit);
            }
        }
        w
    };
    let run = |pulse_type, config: &DeviceConfig| {
        let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
        Rig::new(config, &update, 6, 12).run(&x, &d, 0.1, 1).0
    };
    let bounded = constant(clean().with(|p| {
        p.w_max = 0.2;
        p.w_min = -0.2;
    }));
    let ideal = DeviceConfig::Ideal(mho_core::devices::Ideal::default());
    let close = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(run(PulseType::None, &bounded), exact(f32::INFINITY)));
    assert!(close(run(PulseType::StochasticCompressed, &ideal), exact(f32::INFINITY)));
    assert!(close(run(PulseType::NoneWithDevice, &bounded), exact(0.2)));
    assert!(!close(exact(0.2), exact(f32::INFINITY)), "the bounds must matter here");
}

#[test]
fn write_noise_touches_what_moved() {
    let config = DeviceConfig::SoftBounds(SoftBounds::default().with(|p| {
        p.pulsed = clean().with(|p| {
            p.w_max = 0.6;
            p.w_min = -0.6;
        });
        p.write_noise_std = 2.0;
    }));
    let rig = Rig::new(&config, &UpdateParameters::default(), 60, 64);
    let run = |x: &[f32], weights: &mut Vec<f32>, persistent: &mut Vec<f32>, call| {
        pulse::update(
            Update::new(
                &rig.device,
                weights,
                &rig.planes(),
                [x, &[1.0; 60]],
                0.001,
                Key::new(5, call),
            )
            .with(|u| u.persistent = Some(persistent)),
        )
        .unwrap();
    };
    let (mut weights, mut persistent) = (vec![0.1; 60 * 64], vec![0.1; 60 * 64]);
    let x: Vec<f32> = (0..64).map(|j| if j < 32 { 1.0 } else { 0.0 }).collect();
    run(&x, &mut weights, &mut persistent, 1);
    let expected = 0.1 - 0.001 * (1.0 + 0.1 / 0.6);
    let mut noise = Vec::new();
    for at in 0..weights.len() {
        if at % 64 < 32 {
            assert!((persistent[at] - expected).abs() < 1e-6);
            noise.push(f64::from(weights[at] - persistent[at]));
        } else {
            assert_eq!((weights[at], persistent[at]), (0.1, 0.1));
        }
    }
    let (mean, variance) = moments(&noise);
    let n = noise.len() as f64;
    assert!(mean.abs() < 5.0 * 0.002 / n.sqrt());
    // Standard error of a standard deviation: 1 / sqrt(2 n).
    assert!((variance.sqrt() / 0.002 - 1.0).abs() < 5.0 / (2.0 * n).sqrt());
}

#[test]
fn bad_arguments_change_nothing() {
    let rig = Rig::new(&DeviceConfig::default(), &UpdateParameters::default(), 2, 3);
    let mut weights = vec![0.01; 6];
    let mut run =
        |x: &[f32], d: &[f32], rate| rig.update(&mut weights, x, d, rate, 1, None).unwrap_err();
    assert!(matches!(
        run(&[1.0; 3], &[1.0; 2], -0.1),
        Error::Argument { argument: "learning_rate", .. }
    ));
    assert!(matches!(
        run(&[1.0; 3], &[1.0; 2], f64::NAN),
        Error::Argument { argument: "learning_rate", .. }
    ));
    assert!(matches!(
        run(&[1.0, f32::NAN, 1.0], &[1.0; 2], 0.1),
        Error::Argument { argument: "x", .. }
    ));
    assert!(matches!(
        run(&[1.0; 3], &[1.0, f32::INFINITY], 0.1),
        Error::Argument { argument: "d", .. }
    ));
    assert!(matches!(run(&[1.0; 4], &[1.0; 2], 0.1), Error::Shape { argument: "x", .. }));
    assert!(matches!(run(&[1.0; 3], &[1.0; 3], 0.1), Error::Shape { argument: "d", .. }));
    assert_eq!(weights, [0.01; 6]);
}

#[test]
fn trains_without_positions_for_their_draws_are_refused() {
    let free = |pulse_type| {
        UpdateParameters::default().with(|p| {
            p.fixed_bl = false;
            p.update_bl_management = false;
            p.update_management = false;
            p.pulse_type = pulse_type;
        })
    };
    for pulse_type in [
        PulseType::StochasticCompressed,
        PulseType::Stochastic,
        PulseType::MeanCount,
        PulseType::DeterministicImplicit,
    ] {
        let config = constant(clean().with(|p| p.dw_min = 1e-3));
        let device = Device::new(&config, &free(pulse_type), 1, 1, false).unwrap();
        let planes = device.construct(1).unwrap();
        let planes: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let run = |learning_rate: f64| {
            let mut weights = [0.0];
            let result = pulse::update(Update::new(
                &device,
                &mut weights,
                &planes,
                [&[1e-3], &[1.0]],
                learning_rate,
                Key::new(1, 1),
            ));
            (result, weights)
        };
        // One train of 65535 slots is the longest.
        assert!(run(65.0).0.is_ok());
        for rate in [66.0, 263.0, 1e30] {
            let (result, weights) = run(rate);
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Argument { argument: "learning_rate", .. }), "{error}");
            assert!(error.to_string().contains("fixed_bl"), "{error}");
            assert_eq!(weights, [0.0]);
            let sample = Sample {
                device: &device,
                x: &[1e-3],
                bias: None,
                d: &[1.0],
                learning_rate: rate,
                key: Key::new(1, 1),
                at: 0,
            };
            assert_eq!(counts(&sample, &mut [0]).unwrap_err(), error);
        }
    }
    let longer = UpdateParameters::default().with(|p| p.desired_bl = 65536);
    let error = Device::new(&DeviceConfig::default(), &longer, 1, 1, false).unwrap_err();
    assert!(error.to_string().contains("desired_bl"), "{error}");
}

#[test]
fn exact_updates_of_a_bias_alone() {
    for pulse_type in [PulseType::None, PulseType::NoneWithDevice] {
        let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
        let device = Device::new(&constant(clean()), &update, 2, 1, true).unwrap();
        let planes = device.construct(1).unwrap();
        let planes: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let mut weights = [0.0, 0.0];
        pulse::update(
            Update::new(
                &device,
                &mut weights,
                &planes,
                [&[], &[1.0, -1.0, 2.0, 0.0]],
                0.25,
                Key::new(1, 1),
            )
            .with(|u| u.bias = Some(0.5)),
        )
        .unwrap();
        assert_eq!(weights, [-0.375, 0.125]);
    }
}
