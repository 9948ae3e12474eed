//! The life of a tile: programming, drift, compensation, what is kept and what is dropped.

use mho_core::inference::{
    ConductanceConverter, CustomPairConductanceConverter, InferenceConfig, InferenceTile,
    NPairConductanceConverter, NoiseModel, PCMLikeNoiseModel, PerColumnDriftCompensation,
    ProgrammedWeights, Programming, SinglePairConductanceConverter, StateIndependentNoiseModel,
    apply_noise,
};
use mho_core::{Error, IoParameters, Key, par};

const ROWS: usize = 7;
const COLUMNS: usize = 150;
const WEIGHTS: usize = ROWS * COLUMNS;

fn weights() -> Vec<f32> {
    (0..WEIGHTS).map(|at| (at as f32 * 0.37).sin()).collect()
}

fn config() -> InferenceConfig {
    let mut config = InferenceConfig::default();
    config.forward = IoParameters::perfect();
    config
}

fn tile(config: &InferenceConfig, seed: u64) -> InferenceTile {
    let mut tile = InferenceTile::new(ROWS, COLUMNS, config, seed).unwrap();
    tile.set_weights(&weights()).unwrap();
    tile
}

/// A model without spread of its exponents, and without other noise.
fn quiet() -> StateIndependentNoiseModel {
    let mut model = StateIndependentNoiseModel::default();
    (model.prog_noise_scale, model.read_noise_scale) = (0.0, 0.0);
    (model.drift_nu_mean, model.drift_nu_std) = (0.05, 0.0);
    model
}

#[test]
fn without_noise_weights_fall_by_the_power_law_and_factors_undo_it() {
    let mut config = config();
    config.noise_model = quiet().into();
    for per_column in [false, true] {
        if per_column {
            config.drift_compensation = Some(PerColumnDriftCompensation::default().into());
        }
        let mut tile = tile(&config, 1);
        for t in [0.0f64, 100.0, 3.15e7] {
            tile.drift_weights(t).unwrap();
            let left = ((t + 20.0) / 20.0).powf(-0.05);
            for (w, target) in tile.tile().weights().iter().zip(weights()) {
                assert!((f64::from(*w) - left * f64::from(target)).abs() < 2e-6, "after {t} s");
            }
            let factors = tile.alpha();
            assert_eq!(factors.len(), if per_column { ROWS } else { 1 });
            assert!(factors.iter().all(|a| (f64::from(*a) * left - 1.0).abs() < 2e-6));
            let (x, mut y) = (vec![0.5; COLUMNS], vec![0.0; ROWS]);
            tile.forward(&x, &mut y).unwrap();
            for (row, y) in y.iter().enumerate() {
                let exact: f32 = weights()[row * COLUMNS..][..COLUMNS].iter().sum();
                assert!((y - 0.5 * exact).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn readings_are_independent_and_exponents_stay() {
    let mut tile = tile(&config(), 5);
    tile.program_weights().unwrap();
    let programmed = tile.tile().weights().to_vec();
    let exponents = tile.programming().unwrap().programmed.drift_noise_parameters().to_vec();
    assert_eq!(exponents.len(), 2);
    tile.drift_weights(1e6).unwrap();
    let late = tile.tile().weights().to_vec();
    tile.drift_weights(1e6).unwrap();
    assert_ne!(tile.tile().weights(), late);
    let state = tile.programming().unwrap();
    assert_eq!(state.programmed.drift_noise_parameters(), exponents);
    assert_eq!(state.programmed.weights(), programmed);
    assert_eq!(state.programmed.reference_combined_weights(), weights());
    // Programming again aims at the same weights, with errors of its own.
    tile.program_weights().unwrap();
    assert_ne!(tile.tile().weights(), programmed);
    assert_eq!(tile.alpha(), [1.0]);
    assert_eq!(tile.programming().unwrap().programmed.reference_combined_weights(), weights());
    tile.set_weights(&weights()).unwrap();
    assert_eq!(tile.programming(), None);
}

#[test]
fn a_saved_state_goes_on_with_the_same_bits() {
    let mut first = tile(&config(), 9);
    first.drift_weights(10.0).unwrap();
    let text = serde_json::to_string(first.programming().unwrap()).unwrap();
    let state: Programming = serde_json::from_str(&text).unwrap();
    assert_eq!(Some(&state), first.programming());
    let mut second = InferenceTile::new(ROWS, COLUMNS, &config(), 9).unwrap();
    second.set_programming(state, first.events()).unwrap();
    for tile in [&mut first, &mut second] {
        tile.drift_weights(1e5).unwrap();
    }
    assert_eq!(first.tile().weights(), second.tile().weights());
    assert_eq!(first.alpha(), second.alpha());
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (rows, columns) = (300, 500);
    let targets: Vec<f32> = (0..rows * columns).map(|at| (at as f32 * 0.37).sin()).collect();
    let model = PCMLikeNoiseModel::default();
    let run = || {
        let programmed =
            ProgrammedWeights::program(&model, &targets, columns, Key::new(4, 2)).unwrap();
        let drifted = programmed.drifted(&model, 1e4, Key::new(4, 3)).unwrap();
        (programmed, drifted)
    };
    let before = par::num_threads();
    par::set_num_threads(1).unwrap();
    let alone = run();
    for threads in [2, 5] {
        par::set_num_threads(threads).unwrap();
        assert!(run() == alone, "{threads} threads");
    }
    par::set_num_threads(before).unwrap();
}

#[test]
fn kept_conductances_have_no_second_conversion() {
    let mut model = PCMLikeNoiseModel::default();
    (model.read_noise_scale, model.drift_scale) = (0.0, 0.0);
    let key = Key::new(3, 1);
    for keep in [false, true] {
        model.keep_conductances = keep;
        let programmed = ProgrammedWeights::program(&model, &weights(), COLUMNS, key).unwrap();
        assert_eq!(programmed.programmed_conductances().len(), if keep { 2 } else { 0 });
        // Without drift and read noise nothing changes either way but roundings.
        let drifted = programmed.drifted(&model, 1e4, Key::new(3, 2)).unwrap();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(drifted.iter().zip(programmed.weights()).all(near));
        // One call does the same as the kept conductances.
        if keep {
            assert_eq!(apply_noise(&model, &weights(), COLUMNS, 1e4, key).unwrap(), drifted);
        }
    }
    assert_eq!(
        apply_noise(&model, &weights(), COLUMNS, 0.0, key).unwrap(),
        ProgrammedWeights::program(&model, &weights(), COLUMNS, key).unwrap().weights()
    );
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut tile = tile(&config(), 2);
    tile.drift_weights(5.0).unwrap();
    let (read, state, events) =
        (tile.tile().weights().to_vec(), tile.programming().cloned(), tile.events());
    for t in [-1.0, f64::NAN, f64::INFINITY] {
        let error = tile.drift_weights(t).unwrap_err();
        assert!(matches!(error, Error::Argument { argument: "t_inference", .. }), "{error}");
    }
    assert!(tile.set_weights(&[f32::NAN; WEIGHTS]).is_err());
    assert!(tile.forward(&[1.0; 3], &mut [0.0; ROWS]).is_err());
    assert_eq!(tile.tile().weights(), read);
    assert_eq!(tile.programming().cloned(), state);
    assert_eq!(tile.events(), events);
}

#[test]
fn bad_arguments_are_named() {
    let key = Key::new(1, 1);
    let model = PCMLikeNoiseModel::default();
    let program = |model: &dyn NoiseModel, weights: &[f32], columns| {
        ProgrammedWeights::program(model, weights, columns, key).unwrap_err().to_string()
    };
    assert!(program(&model, &[1.0; 5], 2).starts_with("weights: expected 4 elements"));
    assert!(program(&model, &[f32::NAN; 4], 2).starts_with("weights: element 0 is NaN"));
    assert!(program(&model, &[1.0; 4], 0).starts_with("in_size: must be between 1"));
    let mut other = model.clone();
    other.g_max = 30.0;
    assert!(program(&other, &[1.0; 4], 2).starts_with("noise_model.g_max: is 30"));
    other = PCMLikeNoiseModel::new(SinglePairConductanceConverter::default());
    other.prog_noise_scale = 1e15;
    other.prog_coeff_g_max_reference = 1e-15;
    other.prog_coeff = vec![1e15; 3];
    assert!(program(&other, &[1.0; 4], 2).starts_with("noise_model: a draw of weights is beyond"));
    let pairs = NPairConductanceConverter::new(vec![1.0; 129], 25.0, 0.0).unwrap();
    let many = PCMLikeNoiseModel::new(pairs);
    assert!(program(&many, &[1.0; 4], 2).starts_with("noise_model.g_converter: makes 258 devices"));
    let mut broken = CustomPairConductanceConverter::default();
    broken.g_lst = vec![Vec::new(); 2];
    assert!(broken.convert_to_conductances(&[1.0], 1).is_err());
    assert!(SinglePairConductanceConverter::new(5.0, 5.0).is_err());
    assert!(InferenceTile::new(0, 3, &config(), 1).is_err());

    let programmed = ProgrammedWeights::program(&model, &[0.5; 4], 2, key).unwrap();
    let cmo = mho_core::inference::ReRamCMONoiseModel::default();
    let error = programmed.drifted(&cmo, 1.0, key).unwrap_err();
    assert!(matches!(error, Error::State { .. }), "{error}");
    let error = ProgrammedWeights::from_state(
        2,
        vec![0.5; 4],
        vec![0.5; 4],
        vec![vec![0.05; 3]; 2],
        Vec::new(),
    );
    assert!(error.unwrap_err().to_string().starts_with("drift_noise_parameters: expected 4"));
}

#[test]
fn modifiers_see_the_weights_of_the_tile() {
    let mut config = config();
    config.modifier.kind = mho_core::config::ModifierType::AddNormal;
    config.modifier.std_dev = 0.1;
    let mut tile = tile(&config, 3);
    let (mut first, mut second) = (vec![0.0; WEIGHTS], vec![0.0; WEIGHTS]);
    tile.modify_weights(&mut first).unwrap();
    tile.modify_weights(&mut second).unwrap();
    assert_ne!(first, second);
    assert_eq!(tile.tile().weights(), weights());
    let errors = first.iter().zip(weights()).map(|(m, w)| (m - w).powi(2));
    let deviation = (errors.sum::<f32>() / WEIGHTS as f32).sqrt();
    // The standard error over 1050 weights is 2.2 %, the largest weight 1.
    assert!((deviation / 0.1 - 1.0).abs() < 0.11, "{deviation}");
}
