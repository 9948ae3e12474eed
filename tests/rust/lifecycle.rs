//! Weight operations against their closed forms: drift, shifted bounds, counters, estimated steps.

use mho_core::config::{IoParameters, PulseType, TileConfig};
use mho_core::devices::{
    Cells, ConstantStep, Device, DeviceConfig, DriftParameters, DriftState, FloatingPoint, Ideal,
    PlaneRef, PulsedParameters, SimpleDriftParameters, SoftBoundsReference, WeightClip,
};
use mho_core::mvm::{Direction, Mvm};
use mho_core::{Error, Key, Tile, UpdateParameters};

/// Without any variation, in wide bounds.
fn clean() -> PulsedParameters {
    PulsedParameters::default().with(|p| {
        p.dw_min_dtod = 0.0;
        p.dw_min_std = 0.0;
        p.up_down_dtod = 0.0;
        p.w_max = 1.0;
        p.w_max_dtod = 0.0;
        p.w_min = -1.0;
        p.w_min_dtod = 0.0;
    })
}

fn drifting(drift: DriftParameters) -> TileConfig {
    let pulsed = clean().with(|p| p.drift = drift);
    TileConfig::default().with(|p| {
        p.device = DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed))
    })
}

fn tile(config: &TileConfig, weights: &[f32]) -> Tile {
    let mut tile = Tile::new(1, weights.len(), config, 1).unwrap();
    tile.set_weights(weights).unwrap();
    tile
}

fn assert_near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        // Rounded to f32 once, below 1.
        assert!((f64::from(*f) - e).abs() < 1.2e-7, "{found:?} {expected:?}");
    }
}

#[test]
fn drift_gives_the_values_of_the_example() {
    let drift = DriftParameters::default().with(|p| {
        p.nu = 0.1;
        p.t_0 = 2.0;
    });
    let simple = SimpleDriftParameters::default().with(|p| {
        p.nu = 0.1;
        p.t_0 = 2.0;
    });
    let device = FloatingPoint::default().with(|p| p.drift = simple);
    let floating = TileConfig::default().with(|p| p.device = DeviceConfig::FloatingPoint(device));
    let mut exact = drifting(drift.clone());
    exact.update.pulse_type = PulseType::None;
    for config in [drifting(drift), floating, exact] {
        let mut tile = tile(&config, &[0.3]);
        for (delta_t, expected) in [(1.0, 0.3), (9.0, 0.255_402), (10.0, 0.238_298)] {
            tile.drift(delta_t).unwrap();
            assert!((tile.weights()[0] - expected).abs() < 1e-6);
        }
    }
    let mut still = tile(&drifting(DriftParameters::default()), &[0.3]);
    still.drift(1e9).unwrap();
    assert_eq!(still.weights(), [0.3]);
}

#[test]
fn a_changed_weight_starts_anew() {
    let drift = DriftParameters::default().with(|p| p.nu = 0.2);
    let mut tile = tile(&drifting(drift), &[0.3, 0.4]);
    tile.drift(5.0).unwrap();
    let other = tile.weights()[1];
    tile.set_weights(&[0.5, other]).unwrap();
    tile.drift(5.0).unwrap();
    assert_near(tile.weights(), &[0.5, 0.4 * 10f64.powf(-0.2)]);
    tile.drift(20.0).unwrap();
    assert_near(tile.weights(), &[0.5 * 20f64.powf(-0.2), 0.4 * 30f64.powf(-0.2)]);
}

#[test]
fn small_changes_go_unnoticed() {
    let drift = DriftParameters::default().with(|p| {
        p.nu = 0.2;
        p.reset_tol = 0.01;
    });
    let mut tile = tile(&drifting(drift), &[0.3]);
    tile.drift(5.0).unwrap();
    let moved = tile.weights()[0] + 0.009;
    tile.set_weights(&[moved]).unwrap();
    tile.drift(5.0).unwrap();
    assert_near(tile.weights(), &[0.3 * 10f64.powf(-0.2)]);
}

#[test]
fn conductances_shrink_towards_zero() {
    // Weight w_offset - g_offset wg_ratio = -0.05 has conductance 0 and stays.
    let drift = DriftParameters::default().with(|p| {
        p.nu = 0.1;
        p.wg_ratio = 0.5;
        p.g_offset = 0.5;
        p.w_offset = 0.2;
    });
    let mut tile = tile(&drifting(drift), &[0.3, -0.05]);
    tile.drift(100.0).unwrap();
    let conductance = (0.3 - 0.2) / 0.5 + 0.5;
    let drifted = (conductance * 100f64.powf(-0.1) - 0.5) * 0.5 + 0.2;
    assert_near(tile.weights(), &[drifted, -0.05]);
}

#[test]
fn logarithms_of_negative_conductances_are_finite() {
    let drift = DriftParameters::default().with(|p| {
        p.nu = 0.1;
        p.nu_k = 0.01;
        p.log_g0 = -1.0;
    });
    let mut tile = tile(&drifting(drift), &[0.3, -0.2]);
    tile.drift(10.0).unwrap();
    let expected = [(0.3, 0.3f64), (-0.2, f64::from(f32::EPSILON))]
        .map(|(w, g)| w * 10f64.powf(-(0.1 - 0.01 * (g.ln() + 1.0))));
    assert_near(tile.weights(), &expected);
}

#[test]
fn drift_refuses_bad_arguments() {
    let drift = DriftParameters::default().with(|p| p.nu = 0.1);
    let config = drifting(drift.clone());
    let mut tile = tile(&config, &[0.3]);
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(tile.drift(bad), Err(Error::Argument { argument: "delta_t", .. })));
    }
    // They do not start the clock either.
    tile.set_weights(&[0.4]).unwrap();
    tile.drift(10.0).unwrap();
    assert_near(tile.weights(), &[0.4 * 10f64.powf(-0.1)]);
    let device = Device::new(&config.device, &config.update, 1, 1, false).unwrap();
    let planes = device.construct(1).unwrap();
    let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
    let (mut weights, mut previous) = ([0.3], [0.3, 0.3]);
    let state = DriftState {
        clock: &mut 0.0,
        start: &mut [0.0],
        written: &mut [0.3],
        previous: &mut previous,
    };
    let cells = Cells { weights: &mut weights, persistent: None, planes: &planes };
    let result = device.drift(cells, &drift, state, 1.0, Key::new(1, 1));
    assert!(matches!(result, Err(Error::Shape { .. })));
    for (bad, field) in [
        (drift.clone().with(|p| p.t_0 = 0.0), "t_0"),
        (drift.clone().with(|p| p.reset_tol = -1.0), "reset_tol"),
        (drift.clone().with(|p| p.wg_ratio = 0.0), "wg_ratio"),
        (drift.with(|p| p.nu_k = f64::NAN), "nu_k"),
    ] {
        let error = bad.validate("drift").unwrap_err();
        assert!(error.to_string().starts_with(&format!("drift.{field}")), "{error}");
    }
}

type Operation = fn(&mut Tile) -> Result<(), Error>;

/// Devices with a reference of 0.3 under a weight between -1.3 and 0.7.
#[test]
fn operations_keep_to_the_bounds_of_reference_devices() {
    let pulsed = clean().with(|p| {
        p.reset = 2.0;
        p.reset_std = 0.0;
        p.diffusion = 5.0;
        p.lifetime = 2.0;
        p.drift = DriftParameters::default().with(|p| {
            p.nu = 0.5;
            p.g_offset = -40.0;
        });
    });
    let device = SoftBoundsReference::default().with(|p| {
        p.pulsed = pulsed;
        p.reference_mean = 0.3;
    });
    let config =
        TileConfig::default().with(|p| p.device = DeviceConfig::SoftBoundsReference(device));
    let mut tile = tile(&config, &[5.0, -5.0]);
    assert_eq!(tile.weights(), [0.7, -1.3]);
    let operations: [Operation; 4] = [
        |tile| tile.diffuse(),
        |tile| tile.decay(1.0),
        |tile| tile.reset_columns(0, -1, 1.0),
        |tile| tile.drift(100.0),
    ];
    for operation in operations {
        operation(&mut tile).unwrap();
        assert!(tile.weights().iter().all(|w| (-1.3..=0.7).contains(w)), "{:?}", tile.weights());
    }
    tile.reset_columns(0, -1, 1.0).unwrap();
    assert_eq!(tile.weights(), [0.7, 0.7]);
}

#[test]
fn pulses_are_counted_by_direction() {
    let pulsed = clean().with(|p| p.count_pulses = true);
    let device = DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed));
    let config = TileConfig::default().with(|p| p.device = device);
    let mut tile = Tile::new(1, 3, &config, 1).unwrap();
    assert_eq!(tile.pulse_counters(), Some(&[0; 6][..]));
    // k = 8 slots, in each of which the largest cells fire.
    tile.update(&[0.8, -0.8, 0.0], &[0.5], 0.02).unwrap();
    assert_eq!(tile.pulse_counters(), Some(&[8, 0, 0, 0, 8, 0][..]));
    assert_near(tile.weights(), &[-0.008, 0.008, 0.0]);
    assert!(Tile::new(1, 3, &TileConfig::default(), 1).unwrap().pulse_counters().is_none());
}

#[test]
fn steps_that_contradict_the_configuration_are_found() {
    let estimate = |pulsed: PulsedParameters, up: f32, down: f32| {
        let config =
            DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed));
        let device = Device::new(&config, &UpdateParameters::default(), 2, 2, false).unwrap();
        let mut planes = vec![PlaneRef::Constant(0.0); device.hidden_names().len()];
        (planes[2], planes[3]) = (PlaneRef::Constant(up), PlaneRef::Constant(down));
        device.unexpected_dw_min(&planes)
    };
    assert_eq!(estimate(clean(), 0.001, 0.001), None);
    assert_eq!(estimate(clean(), 0.001_000_9, 0.001), None);
    let found = estimate(clean(), 0.002, 0.004).unwrap();
    assert!((found - 0.003).abs() < 1e-9);
    // Half the steps down, and one device in four stuck: three eighths less on average.
    let lame = clean().with(|p| {
        p.up_down = 0.5;
        p.corrupt_devices_prob = 0.25;
    });
    let mean = 0.001 * 0.75 * 0.75;
    assert_eq!(estimate(lame.clone(), mean, mean), None);
    assert!((estimate(lame, 2.0 * mean, 2.0 * mean).unwrap() - 0.002).abs() < 1e-9);
    let spread = clean().with(|p| p.dw_min_dtod = 0.3);
    assert_eq!(estimate(spread, 0.0015, 0.0015), None);
    assert_eq!(estimate(clean(), 0.0, 0.0), None);
}

#[test]
fn arguments_are_checked() {
    let mut pulsed = tile(&drifting(DriftParameters::default()), &[0.3]);
    let ideal = TileConfig::default().with(|p| p.device = DeviceConfig::Ideal(Ideal::default()));
    let mut ideal = tile(&ideal, &[0.3]);
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        for tile in [&mut pulsed, &mut ideal] {
            assert!(matches!(tile.decay(bad), Err(Error::Argument { argument: "alpha", .. })));
            assert_eq!(tile.weights(), [0.3]);
        }
    }
    let config = DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = clean()));
    let device = Device::new(&config, &UpdateParameters::default(), 1, 1, false).unwrap();
    let planes = device.construct(1).unwrap();
    let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
    let cells = Cells { weights: &mut [0.3], persistent: None, planes: &planes };
    let result = device.clip_weights(cells, WeightClip::FixedValue(f32::NAN), Key::new(1, 1));
    assert!(matches!(result, Err(Error::Argument { argument: "fixed_value", .. })));
}

#[test]
fn missing_planes_and_impossible_sizes_are_errors() {
    let (config, update) = (DeviceConfig::default(), UpdateParameters::default());
    for (rows, columns) in [(0, 2), (2, 0), (1, (1 << 20) + 1), ((1 << 20) + 1, 1)] {
        let result = Device::new(&config, &update, rows, columns, false);
        assert!(matches!(result, Err(Error::Argument { .. })), "{rows} {columns}");
        let result = Mvm::new(&IoParameters::default(), Direction::Forward, rows, columns);
        assert!(matches!(result, Err(Error::Argument { .. })), "{rows} {columns}");
    }
    let device = Device::new(&config, &update, 1, 2, false).unwrap();
    let key = Key::new(1, 1);
    let run = |operation: &dyn Fn(Cells<'_>) -> mho_core::Result<()>| {
        let result = operation(Cells { weights: &mut [0.0; 2], persistent: None, planes: &[] });
        assert!(matches!(result, Err(Error::Shape { argument: "planes", .. })), "{result:?}");
    };
    run(&|cells| device.clip(cells.weights, cells.planes));
    run(&|cells| device.decay(cells, 1.0, key));
    run(&|cells| device.diffuse(cells, key));
    run(&|cells| device.reset_columns(cells, 0, 1, 1.0, key));
    run(&|cells| device.clip_weights(cells, WeightClip::FixedValue(1.0), key));
    let ideal = DeviceConfig::Ideal(Ideal::default().with(|p| p.lifetime = 10.0));
    let device = Device::new(&ideal, &update, 1, 2, false).unwrap();
    let short = Cells { weights: &mut [0.0; 1], persistent: None, planes: &[] };
    assert!(matches!(device.decay(short, 1.0, key), Err(Error::Shape { .. })));
    let clip = WeightClip::FixedValue(1.0);
    let short = Cells { weights: &mut [0.0; 1], persistent: None, planes: &[] };
    assert!(matches!(device.clip_weights(short, clip, key), Err(Error::Shape { .. })));
}
