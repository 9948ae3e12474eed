//! The tile that Rust users hold.

use mho_core::devices::{
    ConstantStep, DeviceConfig, Ideal, PlaneRef, PulsedParameters, SoftBoundsReference,
};
use mho_core::tile::Pass;
use mho_core::{Error, Tile, TileConfig, par};

fn sine(len: usize, frequency: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * frequency).sin()).collect()
}

/// Train for a few steps and return weights and last output.
fn run(outputs: usize, inputs: usize, batch: usize) -> (Vec<f32>, Vec<f32>) {
    let mut tile = Tile::new(outputs, inputs, &TileConfig::default(), 7).unwrap();
    tile.set_weights_uniform(-0.3, 0.3).unwrap();
    let (x, d) = (sine(batch * inputs, 0.7), sine(batch * outputs, 0.3));
    let (mut y, mut g) = (vec![0.0; batch * outputs], vec![0.0; batch * inputs]);
    for _ in 0..3 {
        tile.forward(&x, &mut y, Pass::Train).unwrap();
        tile.backward(&d, &mut g, Pass::Train).unwrap();
        tile.update(&x, &d, 0.05).unwrap();
    }
    y.extend(g);
    (tile.weights().to_vec(), y)
}

#[test]
fn bits_do_not_depend_on_threads() {
    for shape in [(3, 5, 2), (129, 67, 33), (256, 300, 64)] {
        par::set_num_threads(1).unwrap();
        let one = run(shape.0, shape.1, shape.2);
        for threads in [2, 7] {
            par::set_num_threads(threads).unwrap();
            assert_eq!(run(shape.0, shape.1, shape.2), one, "{shape:?} with {threads} threads");
        }
    }
}

#[test]
fn seeds_matter_and_repeat() {
    let devices = |seed| {
        let tile = Tile::new(4, 5, &TileConfig::default(), seed).unwrap();
        let plane = tile.hidden_parameter("max_bound").unwrap();
        (0..20).map(|at| plane.at(at)).collect::<Vec<_>>()
    };
    assert_eq!(devices(1), devices(1));
    assert_ne!(devices(1), devices(2));
}

#[test]
fn bad_arguments_change_nothing() {
    let mut tile = Tile::new(2, 3, &TileConfig::default(), 1).unwrap();
    tile.set_weights(&[0.1, -0.1, 0.05, 0.0, 0.02, -0.03]).unwrap();
    let before = tile.weights().to_vec();
    assert!(matches!(tile.set_weights(&[0.0; 5]), Err(Error::Shape { argument: "weights", .. })));
    assert!(matches!(tile.set_weights(&[f32::NAN; 6]), Err(Error::Argument { .. })));
    assert!(tile.update(&[0.0; 3], &[0.0; 3], 0.1).is_err());
    assert!(tile.update(&[f32::INFINITY, 0.0, 0.0], &[0.1, 0.2], 0.1).is_err());
    assert!(tile.update(&[1.0, 0.0, 0.0], &[0.1, 0.2], -0.1).is_err());
    assert!(tile.forward(&[0.0; 4], &mut [0.0; 2], Pass::Test).is_err());
    assert_eq!(tile.weights(), before);
}

#[test]
fn sizes_are_checked() {
    for (outputs, inputs) in [(0, 3), (3, 0), (usize::MAX, 1)] {
        let result = Tile::new(outputs, inputs, &TileConfig::default(), 1);
        assert!(matches!(result, Err(Error::Argument { .. })));
    }
}

#[test]
fn draws_beyond_float32_are_refused() {
    // Other spreads stay within it, for numbers of the configuration are at most 1e15.
    let pulsed = PulsedParameters::default().with(|p| {
        p.dw_min_dtod = 1e3;
        p.dw_min_dtod_log_normal = true;
    });
    let device = DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed));
    let device = TileConfig::default().with(|p| p.device = device);
    let mut forward = TileConfig::default();
    forward.forward.w_read_asymmetry_dtod = 3e38;
    let mut backward = TileConfig::default();
    backward.backward.w_read_asymmetry_dtod = 3e38;
    for (config, field) in [
        (device, "device"),
        (forward, "forward.w_read_asymmetry_dtod"),
        (backward, "backward.w_read_asymmetry_dtod"),
    ] {
        let Err(Error::Config { field: named, .. }) = Tile::new(8, 9, &config, 5) else {
            panic!("a tile with {field} was built");
        };
        assert_eq!(named, field);
    }
}

#[test]
fn unknown_fields_are_named() {
    let error = TileConfig::from_json(
        r#"{"device":{"type":"ConstantStep","params":{}},"forward":{"out_nois":1}}"#,
    )
    .unwrap_err();
    assert!(error.to_string().contains("out_nois"), "{error}");
}

#[test]
fn new_tiles_start_within_their_bounds() {
    let stuck = PulsedParameters::default().with(|p| p.corrupt_devices_prob = 1.0);
    let shifted = SoftBoundsReference::default().with(|p| {
        p.reference_mean = 0.7;
        p.write_noise_std = 1.0;
    });
    let devices = [
        DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = stuck)),
        DeviceConfig::SoftBoundsReference(shifted),
    ];
    for device in devices {
        let mut tile =
            Tile::new(8, 9, &TileConfig::default().with(|p| p.device = device), 5).unwrap();
        let get = |name| tile.hidden_parameter(name);
        let (upper, lower) = (get("max_bound").unwrap(), get("min_bound").unwrap());
        let reference = get("reference").unwrap_or(PlaneRef::Constant(0.0));
        for weights in [Some(PlaneRef::Values(tile.weights())), get("persistent_weights")] {
            for at in 0..72 {
                let Some(w) = weights.map(|weights| weights.at(at)) else { continue };
                let bounds = lower.at(at) - reference.at(at)..=upper.at(at) - reference.at(at);
                assert!(bounds.contains(&w), "{w} is not in {bounds:?}");
            }
        }
        // Stuck cells never move.
        if upper == lower {
            let before = tile.weights().to_vec();
            tile.update(&[1.0; 9], &[1.0; 8], 0.1).unwrap();
            assert_eq!(tile.weights(), before);
        }
    }
}

#[test]
fn limits_of_uniform_weights_are_checked() {
    let mut tile = Tile::new(2, 3, &TileConfig::default(), 1).unwrap();
    tile.set_weights_uniform(0.1, 0.1).unwrap();
    let before = tile.weights().to_vec();
    for (low, high) in [(0.1, -0.1), (f32::NAN, 0.1), (0.0, f32::INFINITY), (-3e38, 3e38)] {
        let error = tile.set_weights_uniform(low, high).unwrap_err();
        assert!(matches!(error, Error::Argument { argument: "low, high", .. }), "{error}");
        assert_eq!(tile.weights(), before);
    }
}

#[test]
fn values_beyond_f32_are_refused() {
    let device = DeviceConfig::Ideal(Ideal::default());
    for device in [device, DeviceConfig::default()] {
        let config = TileConfig::default().with(|p| p.device = device);
        let mut tile = Tile::new(2, 3, &config, 1).unwrap();
        tile.set_weights(&[0.1, -0.1, 0.05, 0.0, 0.02, -0.03]).unwrap();
        let before = tile.weights().to_vec();
        let error = tile.update(&[1.0; 3], &[0.1, 0.2], 1e39).unwrap_err();
        assert!(matches!(error, Error::Argument { argument: "learning_rate", .. }), "{error}");
        let error = tile.decay(1e39).unwrap_err();
        assert!(matches!(error, Error::Argument { argument: "alpha", .. }), "{error}");
        assert_eq!(tile.weights(), before);
    }
}

#[test]
fn exact_updates_saturate_at_the_largest_number() {
    let device = DeviceConfig::Ideal(Ideal::default());
    let mut tile = Tile::new(2, 3, &TileConfig::default().with(|p| p.device = device), 1).unwrap();
    // Each product of error and rate, and each step, is beyond f32; that of the input 0 is not.
    tile.update(&[3e38, -3e38, 0.0], &[3e38, -3e38], 3e38).unwrap();
    let max = f32::MAX;
    assert_eq!(tile.weights(), [-max, max, 0.0, max, -max, 0.0]);
}
