//! Modified weights: closed forms, statistics, and bits that depend on position alone.

use mho_core::config::{ModifierParameters, ModifierType};
use mho_core::modifier::Modifier;
use mho_core::{Error, Key, Tile, TileConfig, par};

use crate::statistics::moments;

const ROWS: usize = 200;
const COLUMNS: usize = 501;

/// Weights between -0.5 and 0.5, that of the first column the largest.
fn weights() -> Vec<f32> {
    (0..ROWS * COLUMNS)
        .map(
            |at| if at % COLUMNS == 0 { 0.5 } else { ((at * 7919) % 10007) as f32 / 10007.0 - 0.5 },
        )
        .collect()
}

fn kind(kind: ModifierType) -> ModifierParameters {
    ModifierParameters::default().with(|p| p.kind = kind)
}

fn modified(parameters: &ModifierParameters, weights: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; weights.len()];
    let modifier = Modifier::new(parameters).unwrap();
    modifier.modify(weights, &mut out, COLUMNS, Key::new(3, 5)).unwrap();
    out
}

fn every_kind() -> Vec<ModifierParameters> {
    use ModifierType as T;
    let base = |kind| {
        ModifierParameters::default().with(|p| {
            p.kind = kind;
            p.std_dev = 0.1;
            p.res = 0.13;
            p.pdrop = 0.1;
            p.sto_round = true;
            p.copy_last_column = true;
            p.pcm_zero_thres = 0.2;
            p.pcm_t_inference = 3600.0;
            p.pcm_prob_at_reset = 0.1;
            p.pcm_prob_at_gmax = 0.1;
            p.pcm_prob_at_random = 0.1;
        })
    };
    let kinds = [
        T::None,
        T::Discretize,
        T::MultNormal,
        T::AddNormal,
        T::DiscretizeAddNormal,
        T::Dorefa,
        T::Poly,
        T::PcmNoise,
        T::ProgNoise,
        T::DropConnect,
        T::Copy,
    ];
    kinds.into_iter().map(base).collect()
}

#[test]
fn normal_noise() {
    let weights = weights();
    let spread = |parameters: &ModifierParameters, relative: bool| {
        let differences: Vec<f64> = modified(parameters, &weights)
            .iter()
            .zip(&weights)
            .filter(|(_, w)| !relative || w.abs() > 0.01)
            .map(|(m, w)| f64::from(m - w) / if relative { f64::from(*w) } else { 1.0 })
            .collect();
        let (mean, variance) = moments(&differences);
        assert!(mean.abs() < 5.0 * (variance / differences.len() as f64).sqrt());
        variance.sqrt()
    };
    // Five standard errors of 100 000 draws are 1.1 %.
    let is_close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.011;
    for (type_, relative) in [(ModifierType::AddNormal, false), (ModifierType::MultNormal, true)] {
        let actual = kind(type_).with(|p| p.std_dev = 0.1);
        assert!(is_close(spread(&actual, relative), 0.05));
        let assumed = actual.with(|p| {
            p.rel_to_actual_wmax = false;
            p.assumed_wmax = 2.0;
        });
        assert!(is_close(spread(&assumed, relative), 0.2));
    }
}

#[test]
fn levels() {
    let weights = weights();
    let parameters = kind(ModifierType::Discretize).with(|p| p.res = 0.1);
    for (m, w) in modified(&parameters, &weights).iter().zip(&weights) {
        assert_eq!(*m, (w / 0.05).round() * 0.05);
    }
    let random = parameters.with(|p| {
        p.res = 0.5;
        p.sto_round = true;
    });
    let found = modified(&random, &weights);
    assert!(found.iter().all(|m| (m / 0.25).fract() == 0.0));
    let differences: Vec<f64> = found.iter().zip(&weights).map(|(m, w)| f64::from(m - w)).collect();
    let (mean, variance) = moments(&differences);
    assert!(mean.abs() < 5.0 * (variance / differences.len() as f64).sqrt());
    // Half-way points go away from zero.
    let mut out = [0.0; 3];
    let half = kind(ModifierType::Discretize).with(|p| p.res = 0.5);
    let modifier = Modifier::new(&half).unwrap();
    modifier.modify(&[0.25, -0.25, 1.0], &mut out, 3, Key::new(1, 1)).unwrap();
    assert_eq!(out, [0.5, -0.5, 1.0]);
}

#[test]
fn bits_depend_on_position_alone() {
    let weights = weights();
    let before = par::num_threads();
    for parameters in every_kind() {
        par::set_num_threads(1).unwrap();
        let alone = modified(&parameters, &weights);
        for threads in [2, 5] {
            par::set_num_threads(threads).unwrap();
            let found = modified(&parameters, &weights);
            assert!(found.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        // Fewer rows are the same ones.
        let few = modified(&parameters, &weights[..7 * COLUMNS]);
        assert_eq!(few, alone[..7 * COLUMNS], "{:?}", parameters.kind);
        let keeps = alone.chunks(COLUMNS).zip(weights.chunks(COLUMNS));
        assert!(keeps.into_iter().all(|(m, w)| m[COLUMNS - 1] == w[COLUMNS - 1]));
    }
    par::set_num_threads(before).unwrap();
}

#[test]
fn dropped_connections() {
    let weights = vec![0.3; ROWS * COLUMNS];
    for parameters in every_kind() {
        let parameters = parameters.with(|p| {
            p.pdrop = 0.2;
            p.res = 0.01;
            p.pcm_prob_at_reset = 0.0;
            p.pcm_prob_at_gmax = 0.0;
        });
        let zeros = modified(&parameters, &weights).iter().filter(|m| **m == 0.0).count();
        let count = (weights.len() - ROWS) as f64;
        let expected = if parameters.kind == ModifierType::None { 0.0 } else { 0.2 };
        // Five standard deviations of the binomial, and nothing else makes zeros.
        let limit = 5.0 * (count * 0.16).sqrt();
        assert!((zeros as f64 - expected * count).abs() <= limit, "{:?}", parameters.kind);
    }
}

#[test]
fn a_tile_keeps_its_weights() {
    let mut tile = Tile::new(2, 3, &TileConfig::default(), 7).unwrap();
    tile.set_weights(&[0.1, -0.2, 0.3, 0.0, 0.2, -0.1]).unwrap();
    let before = tile.weights().to_vec();
    let parameters = kind(ModifierType::AddNormal).with(|p| p.std_dev = 0.1);
    let modifier = Modifier::new(&parameters).unwrap();
    let (mut first, mut second) = ([0.0; 6], [0.0; 6]);
    tile.modify_weights(&modifier, &mut first).unwrap();
    tile.modify_weights(&modifier, &mut second).unwrap();
    assert_eq!(tile.weights(), before);
    assert_ne!(first, second);
    assert!(matches!(tile.modify_weights(&modifier, &mut [0.0; 5]), Err(Error::Shape { .. })));
}
