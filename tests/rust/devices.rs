//! Generation of devices and operations on their weights.
//!
//! Statistical limits are five standard errors unless said otherwise; seeds are fixed.

use mho_core::config::{PulseType, TileConfig};
use mho_core::devices::{
    Cells, ConstantStep, Device, DeviceConfig, FloatingPoint, Ideal, Plane, PlaneRef,
    PulsedParameters, SoftBounds, WeightClip,
};
use mho_core::{Error, Key, UpdateParameters};

const SIZE: usize = 300;

fn constant(pulsed: PulsedParameters) -> DeviceConfig {
    DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed))
}

fn device(config: &DeviceConfig, d_size: usize, x_size: usize, bias: bool) -> Device {
    Device::new(config, &UpdateParameters::default(), d_size, x_size, bias).unwrap()
}

fn plane(planes: &[(&str, Plane)], name: &str, len: usize) -> Vec<f64> {
    let (_, plane) = planes.iter().find(|(key, _)| *key == name).unwrap();
    (0..len).map(|at| f64::from(plane.as_ref().at(at))).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (values.len() as f64 - 1.0)).sqrt())
}

/// Mean and standard deviation of a normal sample within five standard errors.
fn assert_normal(values: &[f64], mean: f64, std: f64, what: &str) {
    let n = values.len() as f64;
    let (got_mean, got_std) = moments(values);
    // Folding at zero moves mean and deviation of the default spreads by less than 1e-4 of the mean.
    let fold = 1e-4 * mean.abs();
    assert!((got_mean - mean).abs() < 5.0 * std / n.sqrt() + fold, "{what}: mean {got_mean}");
    assert!(
        (got_std - std).abs() < 5.0 * std / (2.0 * n).sqrt() + 2.0 * fold,
        "{what}: std {got_std}"
    );
}

#[test]
fn defaults_have_the_documented_spread() {
    let planes = device(&DeviceConfig::default(), SIZE, SIZE, false).construct(3).unwrap();
    let get = |name| plane(&planes, name, SIZE * SIZE);
    let (up, down) = (get("dwmin_up"), get("dwmin_down"));
    // Gain and asymmetry are independent: std^2 = 0.3^2 + 0.01^2.
    let std = 0.001 * (0.09f64 + 1e-4).sqrt();
    assert_normal(&up, 0.001, std, "up");
    assert_normal(&down, 0.001, std, "down");
    assert_normal(&get("max_bound"), 0.6, 0.18, "max_bound");
    assert_normal(&get("min_bound"), -0.6, 0.18, "min_bound");
    let differences: Vec<f64> = up.iter().zip(&down).map(|(u, d)| (u - d) / 0.001).collect();
    // Folded steps have a differing sign of the asymmetry, which leaves the spread alone.
    assert_normal(&differences, 0.0, 0.02, "asymmetry");
    let (mean_up, std_up) = moments(&up);
    let (mean_down, std_down) = moments(&down);
    let covariance: f64 =
        up.iter().zip(&down).map(|(u, d)| (u - mean_up) * (d - mean_down)).sum::<f64>() / 9e4;
    // Standard error of a correlation: (1 - rho^2) / sqrt(n) = 1.5e-5.
    assert!((covariance / (std_up * std_down) - 0.997_78).abs() < 1e-4);
}

#[test]
fn log_normal_steps_and_corrupt_cells() {
    let pulsed = PulsedParameters::default().with(|p| {
        p.dw_min_dtod_log_normal = true;
        p.up_down_dtod = 0.0;
        p.corrupt_devices_prob = 0.2;
    });
    let planes = device(&constant(pulsed), SIZE, SIZE, false).construct(4).unwrap();
    let get = |name| plane(&planes, name, SIZE * SIZE);
    let (up, upper, lower) = (get("dwmin_up"), get("max_bound"), get("min_bound"));
    let stuck: Vec<usize> = (0..up.len()).filter(|at| up[*at] == 0.0).collect();
    let n = up.len() as f64;
    assert!((stuck.len() as f64 / n - 0.2).abs() < 5.0 * (0.16 / n).sqrt());
    for at in stuck {
        assert_eq!(upper[at], lower[at]);
        assert!(upper[at].abs() <= 0.1 + 1e-7);
    }
    let live: Vec<f64> = up.into_iter().filter(|u| *u > 0.0).collect();
    let (mean, std) = moments(&live);
    assert!(
        (mean / 0.001 - (0.045f64).exp()).abs() < 5.0 * std / 0.001 / (live.len() as f64).sqrt()
    );
}

#[test]
fn consistency_orders_bounds_and_signs() {
    let wild = PulsedParameters::default().with(|p| {
        p.dw_min_dtod = 2.0;
        p.w_max_dtod = 3.0;
        p.w_min_dtod = 3.0;
    });
    let loose = wild.clone().with(|p| p.enforce_consistency = false);
    let len = 50 * 50;
    let planes = device(&constant(wild), 50, 50, false).construct(4).unwrap();
    let get = |name| plane(&planes, name, len);
    assert!(get("dwmin_up").iter().chain(&get("dwmin_down")).all(|step| *step >= 0.0));
    assert!(
        get("max_bound").iter().all(|b| *b >= 0.0) && get("min_bound").iter().all(|b| *b <= 0.0)
    );
    let planes = device(&constant(loose), 50, 50, false).construct(4).unwrap();
    let get = |name| plane(&planes, name, len);
    assert!(get("dwmin_up").iter().any(|step| *step < 0.0));
    assert!(get("max_bound").iter().zip(get("min_bound")).all(|(upper, lower)| lower <= *upper));
}

#[test]
fn rates_and_asymmetry() {
    let pulsed = PulsedParameters::default().with(|p| {
        p.diffusion = 0.01;
        p.diffusion_dtod = 0.1;
        p.reset = 0.05;
        p.reset_dtod = 0.02;
        p.lifetime = 100.0;
        p.lifetime_dtod = 0.05;
        p.up_down = 0.3;
        p.dw_min_dtod = 0.0;
        p.up_down_dtod = 0.0;
    });
    let planes = device(&constant(pulsed), SIZE, SIZE, false).construct(4).unwrap();
    let get = |name| plane(&planes, name, SIZE * SIZE);
    assert_normal(&get("diffusion_rates"), 0.01, 0.001, "diffusion");
    assert_normal(&get("reset_bias"), 0.05, 0.02, "reset");
    let times: Vec<f64> = get("decay_scales").iter().map(|s| 1.0 / (1.0 - s)).collect();
    // A scale near 0.99 in f32 knows the time to 100^2 6e-8 = 6e-4.
    assert_normal(&times, 100.0, 5.0, "lifetime");
    assert!(
        (get("dwmin_up")[0] - 0.001).abs() < 1e-9 && (get("dwmin_down")[0] - 0.0007).abs() < 1e-9
    );
}

#[test]
fn only_varying_planes_are_stored() {
    let device = device(&DeviceConfig::default(), 4, 5, false);
    let stored: Vec<_> = device
        .construct(1)
        .unwrap()
        .into_iter()
        .filter(|(_, plane)| matches!(plane, Plane::Values(_)))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(stored, ["max_bound", "min_bound", "dwmin_up", "dwmin_down"]);
    assert_eq!(device.hidden_constant("decay_scales"), Some(1.0));
    assert_eq!(device.hidden_constant("max_bound"), None);
    assert_eq!(device.hidden_constant("unknown"), None);
}

#[test]
fn a_perfect_bias_needs_an_analog_bias() {
    let pulsed = PulsedParameters::default().with(|p| p.perfect_bias = true);
    for (bias, upper) in [(true, Some(60.0)), (false, None)] {
        let planes = device(&constant(pulsed.clone()), 6, 7, bias).construct(1).unwrap();
        let bounds = plane(&planes, "max_bound", 42);
        for row in bounds.chunks(7) {
            assert!(row[..6].iter().all(|bound| *bound < 2.0));
            assert_eq!((row[6] - 60.0).abs() < 1e-4, upper.is_some());
        }
    }
}

#[test]
fn a_construction_seed_replaces_the_seed() {
    let pulsed = PulsedParameters::default().with(|p| p.construction_seed = 9);
    let seeded = device(&constant(pulsed), 3, 4, false);
    assert_eq!(seeded.construct(1), seeded.construct(2));
    let free = device(&DeviceConfig::default(), 3, 4, false);
    assert_ne!(free.construct(1), free.construct(2));
    assert_eq!(free.construct(9), seeded.construct(1));
}

#[test]
fn soft_bounds_slopes_end_at_the_bounds() {
    let config = DeviceConfig::SoftBounds(SoftBounds::default());
    let device = device(&config, 10, 10, false);
    let names = device.hidden_names();
    assert_eq!(names[names.len() - 2..], ["slope_up", "slope_down"]);
    let planes = device.construct(1).unwrap();
    let get = |name| plane(&planes, name, 100);
    let (up, down) = (get("dwmin_up"), get("dwmin_down"));
    let (upper, lower) = (get("max_bound"), get("min_bound"));
    for at in 0..100 {
        // Relative rounding of f32.
        assert!((get("slope_up")[at] * upper[at] + up[at]).abs() < 2e-7 * up[at]);
        assert!((get("slope_down")[at] * lower[at] + down[at]).abs() < 2e-7 * down[at]);
    }
}

#[test]
fn bad_values_name_their_field() {
    let refuse = |change: fn(&mut PulsedParameters)| {
        let mut pulsed = PulsedParameters::default();
        change(&mut pulsed);
        match constant(pulsed).validate("device") {
            Err(Error::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refuse(|p| p.dw_min = -1e-9), "device.dw_min");
    assert_eq!(refuse(|p| p.dw_min = 1e-40), "device.dw_min");
    assert_eq!(refuse(|p| (p.dw_min, p.count_pulses) = (0.0, true)), "device.count_pulses");
    assert_eq!(refuse(|p| p.w_max = -0.1), "device.w_max");
    assert_eq!(refuse(|p| p.w_min = 0.1), "device.w_min");
    assert_eq!(refuse(|p| p.corrupt_devices_prob = 1.5), "device.corrupt_devices_prob");
    assert_eq!(refuse(|p| p.reset = f64::NAN), "device.reset");
    assert_eq!(refuse(|p| p.drift.nu = f64::NAN), "device.drift.nu");
    let soft = SoftBounds::default().with(|p| {
        p.mult_noise = false;
        p.reverse_up = true;
    });
    let error = DeviceConfig::SoftBounds(soft).validate("device").unwrap_err();
    assert!(error.to_string().contains("device.reverse_up"), "{error}");
}

#[test]
fn configurations_are_strict() {
    let text = r#"{"device": {"type": "SoftBounds", "params": {"pulsed": {"dw_min": 0.002}, "mult_noise": false}}}"#;
    let config = TileConfig::from_json(text).unwrap();
    assert_eq!(config.device.pulsed().unwrap().dw_min, 0.002);
    assert_eq!(TileConfig::from_json(&config.to_json().unwrap()).unwrap(), config);
    for bad in [
        r#"{"device": {"type": "SoftBounds", "params": {"gamma_up": 1.0}}}"#,
        r#"{"device": {"type": "Unknown", "params": {}}}"#,
        r#"{"device": {"type": "ConstantStep", "params": {"pulsed": {"dw_min": true}}}}"#,
    ] {
        assert!(matches!(TileConfig::from_json(bad), Err(Error::Config { .. })), "{bad}");
    }
}

fn cells<'a>(weights: &'a mut [f32], planes: &'a [PlaneRef<'a>]) -> Cells<'a> {
    Cells { weights, persistent: None, planes }
}

#[test]
fn decay_follows_its_closed_form() {
    let pulsed = PulsedParameters::default().with(|p| {
        p.lifetime = 10.0;
        p.reset = 0.1;
        p.w_max = 1.0;
        p.w_min = -1.0;
        p.w_max_dtod = 0.0;
        p.w_min_dtod = 0.0;
    });
    let pulsed_device = device(&constant(pulsed), 2, 2, false);
    let planes = pulsed_device.construct(1).unwrap();
    let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
    let mut weights = [0.9, -0.9, 0.1, 0.5];
    for call in 0..5 {
        pulsed_device.decay(cells(&mut weights, &planes), 2.0, Key::new(1, call)).unwrap();
    }
    for (w, start) in weights.iter().zip([0.9, -0.9, 0.1, 0.5]) {
        assert!((w - (0.1 + (start - 0.1) * 0.8f32.powi(5))).abs() < 1e-6);
    }
    for lifetime in [0.0, 0.5, 4.0] {
        let config =
            DeviceConfig::FloatingPoint(FloatingPoint::default().with(|p| p.lifetime = lifetime));
        let mut weights = [1.0];
        device(&config, 1, 1, false).decay(cells(&mut weights, &[]), 1.0, Key::new(1, 1)).unwrap();
        // Lifetimes of at most one call decay fully, 0 is off.
        let expected = if lifetime == 0.0 { 1.0 } else { (1.0 - 1.0 / lifetime).max(0.0) };
        assert!((f64::from(weights[0]) - expected).abs() < 1e-6);
    }
}

/// The scale of a call, `1 - 1e-6`, has too few digits in f32: 0.1834 instead of 0.1813 were lost.
#[test]
fn long_lifetimes_decay_in_time() {
    let (lifetime, calls) = (1e6, 200_000);
    let pulsed = PulsedParameters::default().with(|p| p.lifetime = lifetime);
    for config in [
        constant(pulsed),
        DeviceConfig::FloatingPoint(FloatingPoint::default().with(|p| p.lifetime = lifetime)),
        DeviceConfig::Ideal(Ideal::default().with(|p| p.lifetime = lifetime)),
    ] {
        let device = device(&config, 5, 5, false);
        let planes = device.construct(1).unwrap();
        let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let start: Vec<f32> = (0..25).map(|at| 0.01 * (1.0 + at as f32 * 0.037)).collect();
        let mut weights = start.clone();
        for call in 0..calls {
            device.decay(cells(&mut weights, &planes), 1.0, Key::new(1, call)).unwrap();
        }
        let sums = [&weights, &start].map(|w| w.iter().map(|w| f64::from(*w)).sum::<f64>());
        let lost = 1.0 - sums[0] / sums[1];
        let expected = -(f64::from(calls as u32) * (-1.0 / lifetime).ln_1p()).exp_m1();
        // Steps have 8 to 17 units in the last place and are rounded to whole ones: on average up as
        // much as down while they shrink by one unit, which each weight does one to three times. The
        // last, unfinished time leaves at most 1/8 of a unit for a third of the way, a random part
        // of which remains of 25 weights. The error of the scale was 0.0116.
        assert!((lost / expected - 1.0).abs() < 0.004, "{lost} instead of {expected}");
    }
}

#[test]
fn diffusion_is_a_random_walk() {
    let ideal = DeviceConfig::Ideal(Ideal::default().with(|p| p.diffusion = 0.02));
    let pulsed = PulsedParameters::default().with(|p| {
        p.diffusion = 0.02;
        p.w_max = 9.0;
        p.w_min = -9.0;
    });
    for config in [ideal, constant(pulsed)] {
        let device = device(&config, SIZE, SIZE, false);
        let planes = device.construct(1).unwrap();
        let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let mut weights = vec![0.0; SIZE * SIZE];
        for call in 0..4 {
            device.diffuse(cells(&mut weights, &planes), Key::new(1, call)).unwrap();
        }
        let values: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        assert_normal(&values, 0.0, 0.04, device.name());
    }
}

#[test]
fn resets_wrap_around() {
    let pulsed = PulsedParameters::default().with(|p| {
        p.reset = 0.2;
        p.w_max = 9.0;
        p.w_min = -9.0;
        p.w_max_dtod = 0.0;
        p.w_min_dtod = 0.0;
    });
    let device = device(&constant(pulsed), 1000, 5, false);
    let planes = device.construct(1).unwrap();
    let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
    let mut weights = vec![0.5; 5000];
    device.reset_columns(cells(&mut weights, &planes), 4, 2, 1.0, Key::new(1, 1)).unwrap();
    let changed: Vec<f64> = weights.iter().filter(|w| **w != 0.5).map(|w| f64::from(*w)).collect();
    assert_eq!(changed.len(), 2000);
    assert!(weights.chunks(5).all(|row| row[0] != 0.5 && row[4] != 0.5 && row[2] == 0.5));
    assert_normal(&changed, 0.2, 0.01, "reset");
    let mut weights = vec![0.5; 5000];
    device.reset_columns(cells(&mut weights, &planes), 0, -1, 0.3, Key::new(1, 2)).unwrap();
    let share = weights.iter().filter(|w| **w != 0.5).count() as f64 / 5000.0;
    assert!((share - 0.3).abs() < 5.0 * (0.21f64 / 5000.0).sqrt());
    for (start, prob) in [(5, 1.0), (0, 1.5)] {
        let result =
            device.reset_columns(cells(&mut weights, &planes), start, 1, prob, Key::new(1, 3));
        assert!(matches!(result, Err(Error::Argument { .. })));
    }
}

#[test]
fn clipping_knows_the_device() {
    let exact = device(&DeviceConfig::Ideal(Ideal::default()), 2, 2, false);
    let clip = |device: &Device, planes: &[PlaneRef<'_>], clip| {
        let mut weights = [0.5, -0.4, 0.1, -0.2];
        device.clip_weights(cells(&mut weights, planes), clip, Key::new(1, 1)).map(|()| weights)
    };
    assert_eq!(clip(&exact, &[], WeightClip::FixedValue(0.3)).unwrap(), [0.3, -0.3, 0.1, -0.2]);
    let channel = WeightClip::AverageChannelMax { fixed_value: 0.0 };
    // Mean of the row maxima 0.5 and 0.2.
    assert_eq!(clip(&exact, &[], channel).unwrap(), [0.35, -0.35, 0.1, -0.2]);
    let gaussian = WeightClip::LayerGaussian { sigma: 1.0, fixed_value: 0.0 };
    // Weights around 0 with an unbiased deviation of sqrt(0.46 / 3).
    let limit = (0.46f32 / 3.0).sqrt();
    let got = clip(&exact, &[], gaussian).unwrap();
    assert!((got[0] - limit).abs() < 1e-6 && (got[1] + limit).abs() < 1e-6 && got[2] == 0.1);
    let pulsed = device(&DeviceConfig::default(), 2, 2, false);
    let planes = [PlaneRef::Constant(0.45), PlaneRef::Constant(-0.35)];
    let rest = [PlaneRef::Constant(0.0); 6];
    let planes: Vec<_> = planes.into_iter().chain(rest).collect();
    let fixed = |limit| clip(&pulsed, &planes, WeightClip::FixedValue(limit)).unwrap();
    assert_eq!(fixed(0.15), [0.15, -0.15, 0.1, -0.15]);
    assert_eq!(fixed(-1.0), [0.45, -0.35, 0.1, -0.2]);
    assert_eq!(clip(&pulsed, &planes, WeightClip::None).unwrap(), [0.5, -0.4, 0.1, -0.2]);
    assert!(matches!(clip(&pulsed, &planes, channel), Err(Error::Unsupported { .. })));
}

#[test]
fn write_noise_separates_visible_and_persistent() {
    for on_set in [true, false] {
        let config = DeviceConfig::SoftBounds(SoftBounds::default().with(|p| {
            p.write_noise_std = 5.0;
            p.apply_write_noise_on_set = on_set;
        }));
        let device = device(&config, 50, 50, false);
        let planes = device.construct(1).unwrap();
        let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let (mut weights, mut persistent) = (vec![0.05; 2500], vec![0.0; 2500]);
        let state =
            Cells { weights: &mut weights, persistent: Some(&mut persistent), planes: &planes };
        device.set_weights(state, Key::new(1, 1)).unwrap();
        let noise: Vec<f64> =
            weights.iter().zip(&persistent).map(|(w, p)| f64::from(w - p)).collect();
        if on_set {
            assert_normal(&noise, 0.0, 0.005, "write noise");
        } else {
            assert!(noise.iter().all(|value| *value == 0.0));
        }
        assert!(persistent.iter().all(|p| *p <= 0.05));
    }
}

#[test]
fn no_pulses_replace_the_device() {
    let update = UpdateParameters::default().with(|p| p.pulse_type = PulseType::None);
    let pulsed = PulsedParameters::default().with(|p| {
        p.diffusion = 0.1;
        p.lifetime = 7.0;
        p.reset_std = 0.3;
    });
    let device = Device::new(&constant(pulsed), &update, 2, 2, false).unwrap();
    assert_eq!(
        (device.name(), device.is_pulsed(), device.hidden_names().len()),
        ("Ideal", false, 0)
    );
    let DeviceConfig::Ideal(ideal) = device.config() else { panic!("not ideal") };
    assert_eq!((ideal.diffusion, ideal.lifetime, ideal.reset_std), (0.1, 7.0, 0.3));
}

#[test]
fn planes_are_checked() {
    let device = device(&DeviceConfig::default(), 2, 2, false);
    let planes = device.construct(1).unwrap();
    let good: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
    device.check_planes(&good).unwrap();
    let mut crossed = good.clone();
    crossed[1] = PlaneRef::Constant(5.0);
    assert!(matches!(
        device.check_planes(&crossed),
        Err(Error::Argument { argument: "min_bound", .. })
    ));
    let mut short = good.clone();
    short[2] = PlaneRef::Values(&[0.0]);
    assert!(matches!(device.check_planes(&short), Err(Error::Shape { argument: "dwmin_up", .. })));
    let mut broken = good;
    broken[3] = PlaneRef::Constant(f32::NAN);
    assert!(matches!(
        device.check_planes(&broken),
        Err(Error::Argument { argument: "dwmin_down", .. })
    ));
}
