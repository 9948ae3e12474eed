//! Pulses.

use mho_core::config::{PulseType, UpdateMode, UpdateParameters};
use mho_core::devices::DeviceConfig;

use super::adapter;
use super::pair::{D_SIZE, Pair, X_SIZE, devices};

/// How far weights may be apart after `pulses` pulses without noise. One after another, each rounds a
/// weight below 1 a few times, and the steps of exponentials and powers carry a relative error of
/// 1e-6. Stochastic pulses the processor adds up with an error below a thousandth of the way, whose
/// steps are at most about twice `dw_min`.
fn tolerance(pulse_type: PulseType, pulses: i64) -> f32 {
    let way = 1e-3 * 2.0 * 0.001 * pulses as f32;
    let rounding = 2.0 * f32::EPSILON * (40.0 + pulses as f32);
    match pulse_type {
        PulseType::Stochastic | PulseType::StochasticCompressed => way + rounding,
        _ => rounding,
    }
}

fn most(counts: &[i64]) -> i64 {
    let (down, up) = counts.split_at(counts.len() / 2);
    down.iter().zip(up).map(|(down, up)| down + up).max().unwrap_or(0)
}

#[test]
fn every_device_moves_as_on_the_processor() {
    let Some(pick) = adapter() else { return };
    for (name, device) in devices() {
        for pulse_type in [PulseType::StochasticCompressed, PulseType::MeanCount] {
            let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
            let mut pair = Pair::new(device.clone(), update, &pick);
            pair.start();
            let set = pair.difference();
            assert!(set < f32::EPSILON, "{name}: weights that are set are {set} apart");
            let counts = pair.update(150, None, 2);
            assert_eq!(counts, pair.counts, "{name}: pulses");
            let (pulses, difference) = (most(&counts), pair.difference());
            println!("{name} {pulse_type:?}: {pulses} pulses at most, {difference:.2e} apart");
            if name.ends_with(" 0") {
                let tolerance = tolerance(pulse_type, pulses);
                assert!(difference < tolerance, "{name}: {difference} apart, not {tolerance}");
            }
        }
    }
}

/// Infinitely fine steps, in closed form and by one step for each sample. Each of them rounds the weight and
/// its change a few times, and the next ones carry that on.
#[test]
fn infinitely_fine_steps_lead_as_far_as_on_the_processor() {
    let Some(pick) = adapter() else { return };
    for (name, mut device) in devices() {
        device.pulsed_mut().unwrap().dw_min = 0.0;
        for update_mode in [UpdateMode::Flow, UpdateMode::Euler] {
            let update = UpdateParameters::default().with(|p| p.update_mode = update_mode);
            let mut pair = Pair::new(device.clone(), update, &pick);
            pair.start();
            let before = pair.weights.clone();
            let counts = pair.update(300, Some(0.5), 2);
            assert!(counts.iter().all(|count| *count == 0) && pair.weights != before, "{name}");
            let difference = pair.difference();
            println!("{name} {update_mode:?}: {difference:.2e} apart");
            let tolerance = 300.0 * 2.0 * f32::EPSILON;
            assert!(difference < tolerance, "{name}: {difference} apart, not {tolerance}");
        }
    }
}

/// Noise of the pulses has other draws on both: the weights differ by two independent deviations
/// from the path without noise. Their sizes are compared over all cells; of `n` independent cells
/// the ratio of two standard deviations has an error of `1 / sqrt(n)`, and the mean of the
/// differences one of the deviation over `sqrt(n)`. Five of them are allowed.
#[test]
fn noise_of_pulses_has_the_size_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let cells = (D_SIZE * X_SIZE) as f64;
    for name in DeviceConfig::PULSED {
        let run = |std: f64| {
            let mut device = DeviceConfig::pulsed_default(name).unwrap();
            let pulsed = device.pulsed_mut().unwrap();
            pulsed.dw_min_std = std;
            let mut pair = Pair::new(device, UpdateParameters::default(), &pick);
            pair.start();
            for call in 0..2 {
                pair.update(50, None, call);
            }
            let mut gpu = vec![0.0; D_SIZE * X_SIZE];
            pair.tile.weights(&mut gpu).unwrap();
            [pair.weights, gpu]
        };
        let ([base, _], [host, gpu]) = (run(0.0), run(1.0));
        let moments = |a: &[f32], b: &[f32]| {
            let difference = a.iter().zip(b).map(|(a, b)| f64::from(a - b));
            let sums = difference.fold([0.0; 2], |sum, d| [sum[0] + d, sum[1] + d * d]);
            [sums[0] / cells, (sums[1] / cells - (sums[0] / cells).powi(2)).sqrt()]
        };
        let ([_, host_std], [_, gpu_std]) = (moments(&host, &base), moments(&gpu, &base));
        let [mean, std] = moments(&host, &gpu);
        let error = cells.sqrt().recip();
        println!("{name}: {host_std:.3e} and {gpu_std:.3e}, {:.1} errors", mean / std / error);
        assert!((gpu_std / host_std - 1.0).abs() < 5.0 * error, "{name}: {gpu_std} {host_std}");
        assert!(mean.abs() < 5.0 * std * error, "{name}: {mean} {std}");
    }
}

#[test]
fn every_pulse_type_has_the_pulses_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let update = UpdateParameters::default;
    for (name, update, bias) in [
        ("bias", update(), Some(0.7)),
        (
            "long",
            update().with(|p| {
                p.desired_bl = 100;
                p.update_bl_management = false;
                p.update_management = false;
            }),
            None,
        ),
        (
            "res",
            update().with(|p| {
                p.res = 0.02;
                p.sto_round = true;
            }),
            None,
        ),
        ("stochastic", update().with(|p| p.pulse_type = PulseType::Stochastic), None),
        ("mean", update().with(|p| p.pulse_type = PulseType::MeanCount), Some(0.2)),
        (
            "implicit",
            update().with(|p| {
                p.pulse_type = PulseType::DeterministicImplicit;
                p.x_res_implicit = 0.05;
            }),
            None,
        ),
        ("with device", update().with(|p| p.pulse_type = PulseType::NoneWithDevice), Some(0.5)),
        ("none", update().with(|p| p.pulse_type = PulseType::None), None),
    ] {
        for device in ["SoftBounds", "LinearStep"] {
            let mut device = DeviceConfig::pulsed_default(device).unwrap();
            device.pulsed_mut().unwrap().dw_min_std = 0.0;
            if let DeviceConfig::LinearStep(device) = &mut device {
                device.write_noise_std = 0.5;
            }
            let mut pair = Pair::new(device, update.clone(), &pick);
            pair.start();
            let counts = pair.update(40, bias, 3);
            assert_eq!(counts, pair.counts, "{name}: pulses");
            let (difference, pulses) = (pair.difference(), most(&counts));
            println!("{name}: {pulses} pulses at most, {difference:.2e} apart");
            assert!(difference < tolerance(update.pulse_type, pulses), "{name}: {difference}");
        }
    }
}
