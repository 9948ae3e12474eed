//! Means and spreads of conductances and weights are those of the reference tables.

use mho_core::inference::{InferenceConfig, InferenceTile};
use mho_core::{IoParameters, Key};
use serde_json::Value;

use super::{Row, fixtures, model};
use crate::statistics::{moments, variance_error};

/// Samples of a cell of a table.
const SAMPLES: usize = 200_000;

/// Checks mean and deviation within five combined standard errors: those of the table, rounded up to
/// 1e-4, and those of the sample. 564 comparisons give a false alarm in one of 3000 seeds.
fn check(what: &str, sample: &[f32], cell: &Value) {
    let [mean, mean_error, std, std_error] = [0, 1, 2, 3].map(|at| cell[at].as_f64().unwrap());
    let sample: Vec<f64> = sample.iter().map(|value| f64::from(*value)).collect();
    let (own_mean, variance) = moments(&sample);
    let spread = variance.sqrt();
    let count = sample.len() as f64;
    // The error of a deviation is that of the variance over twice the deviation.
    let own_error = (variance_error(&sample) / count).sqrt() / (2.0 * spread);
    let limit = 5.0 * mean_error.hypot(std / count.sqrt());
    assert!((own_mean - mean).abs() < limit, "{what}: mean {own_mean}, expected {mean}");
    let limit = 5.0 * std_error.hypot(own_error);
    assert!((spread - std).abs() < limit, "{what}: deviation {spread}, expected {std}");
}

#[test]
fn conductances() {
    let mut call = 0;
    for table in fixtures("statistics") {
        let model = model(&table);
        for row in table["rows"].as_array().unwrap() {
            call += 1;
            let row_of = Row { model: model.clone(), key: Key::new(20_240_607, call) };
            let target = vec![row[0].as_f64().unwrap() as f32; SAMPLES];
            let programmed = row_of.program(&target);
            let parameters = row_of.parameters(&target);
            let columns = table["columns"].as_array().unwrap();
            for (column, cell) in columns.iter().zip(row[1].as_array().unwrap()) {
                let what = format!("{}, {}, {column}", table["config"]["type"], row[0]);
                match column.as_f64() {
                    Some(t) => {
                        let read = row_of.read(&programmed, parameters.as_deref(), t).unwrap();
                        check(&what, &read, cell);
                    }
                    None if column == "exponent" => {
                        check(&what, parameters.as_deref().unwrap(), cell);
                    }
                    None => check(&what, &programmed, cell),
                }
            }
        }
    }
}

const ROWS: usize = 300;
const COLUMNS: usize = 600;
/// Events of programming, and those of the tables.
const EVENTS: u64 = 2;
const EVENTS_OF_TABLES: f64 = 10.0;
const LEVELS: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
const TIMES: [Option<f64>; 6] =
    [None, Some(0.0), Some(1.0), Some(3600.0), Some(86400.0), Some(31_536_000.0)];

/// Five standard errors of the difference of a table and these few events, and rounding.
fn tolerance(error: f64) -> f64 {
    5.0 * error * (EVENTS_OF_TABLES / EVENTS as f64 + 1.0).sqrt() + 5e-4
}

#[track_caller]
fn near(what: &str, found: f64, number: &Value) {
    let [expected, error] = [0, 1].map(|at| number[at].as_f64().unwrap());
    assert!((found - expected).abs() < tolerance(error), "{what}: {found}, expected {number}");
}

/// Weights of all magnitudes in equal numbers, of alternating sign, after programming and some times.
#[test]
fn weights_and_factors() {
    let targets: Vec<f32> = (0..ROWS * COLUMNS)
        .map(|at| if at / 6 % 2 == 0 { LEVELS[at % 6] } else { -LEVELS[at % 6] })
        .collect();
    for (number, table) in fixtures("weight_statistics").iter().enumerate() {
        let mut config = InferenceConfig::default();
        config.forward = IoParameters::perfect();
        config.noise_model = model(table);
        config.drift_compensation =
            Some(serde_json::from_value(table["compensation"].clone()).unwrap());
        let mut read: Vec<Vec<f32>> = vec![Vec::new(); TIMES.len()];
        let mut factors = vec![0.0; TIMES.len()];
        for event in 0..EVENTS {
            let seed = 100 * number as u64 + event;
            let mut tile = InferenceTile::new(ROWS, COLUMNS, &config, seed).unwrap();
            tile.set_weights(&targets).unwrap();
            for (at, t) in TIMES.iter().enumerate() {
                match t {
                    None => tile.program_weights().unwrap(),
                    Some(t) => tile.drift_weights(*t).unwrap(),
                }
                read[at].extend_from_slice(tile.tile().weights());
                let alpha = tile.alpha();
                let mean: f64 = alpha.iter().map(|a| f64::from(*a)).sum::<f64>();
                factors[at] += mean / alpha.len() as f64 / EVENTS as f64;
            }
        }
        let scale = table["scale"].as_f64().unwrap();
        for row in table["rows"].as_array().unwrap() {
            let level = row[0].as_f64().unwrap() as f32;
            let numbers = row[1].as_array().unwrap();
            for ((weights, numbers), t) in read.iter().zip(numbers).zip(TIMES) {
                let cells = weights.iter().zip(targets.iter().cycle());
                let sample: Vec<f64> = cells
                    .filter(|(_, target)| target.abs() == level)
                    .map(|(w, target)| scale * f64::from(w * 1f32.copysign(*target)))
                    .collect();
                let (mean, variance) = moments(&sample);
                let what = format!("{number}, {level} after {t:?}");
                near(&what, mean, &numbers[0]);
                near(&what, variance.sqrt(), &numbers[1]);
            }
        }
        for (factor, number) in factors[1..].iter().zip(table["factors"].as_array().unwrap()) {
            near("factor", *factor, number);
        }
    }
}

/// Factors of 32 x 64 tiles with the default converters and noise, over 30 tiles after a day.
#[test]
fn factors_of_noisy_products() {
    let factors: Vec<f64> = (0..30)
        .map(|seed| {
            let config = InferenceConfig::default();
            let mut tile = InferenceTile::new(32, 64, &config, seed).unwrap();
            let mut weights = vec![0.0; 32 * 64];
            mho_core::tile::fill_uniform(&mut weights, -1.0, 1.0, Key::new(seed, 77)).unwrap();
            tile.set_weights(&weights).unwrap();
            tile.drift_weights(86400.0).unwrap();
            f64::from(tile.alpha()[0])
        })
        .collect();
    let (mean, variance) = moments(&factors);
    // The table has 30 tiles as well: five standard errors of the difference of two such means.
    assert!((mean - 1.497).abs() < 5.0 * 0.009 * (2.0f64 / 30.0).sqrt(), "{mean}");
    // Relative error of a deviation over 30 tiles: 1 / sqrt(58), four of them.
    assert!((0.005..0.014).contains(&variance.sqrt()), "{}", variance.sqrt());
}
