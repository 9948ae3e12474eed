//! A classifier on a chip: programmed with the errors of its devices, then left alone for a year.
//!
//! Run with `cargo run --release --example program_and_drift`.

use mho_core::inference::{
    HermesNoiseModel, InferenceConfig, InferenceTile, NoiseModelConfig, PCMLikeNoiseModel,
    ReRamCMONoiseModel, StateIndependentNoiseModel,
};
use mho_core::rng::Stream;
use mho_core::{Key, Result, presets};

const CLASSES: usize = 10;
const INPUTS: usize = 64;
const SAMPLES: usize = 2000;
const TIMES: [(&str, f64); 5] =
    [("now", 0.0), ("1 second", 1.0), ("1 hour", 3600.0), ("1 day", 86400.0), ("1 year", 3.15e7)];

/// Standard normal numbers.
fn normals(call: u64, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(7, call).stream(Stream::Weights).fill_normal(0, 0, &mut out);
    out
}

/// Part of the samples whose class has the largest output.
fn accuracy(tile: &mut InferenceTile, x: &[f32]) -> Result<f64> {
    let mut y = vec![0.0; SAMPLES * CLASSES];
    tile.forward(x, &mut y)?;
    let is_right =
        |(sample, y): (usize, &[f32])| y.iter().all(|other| *other <= y[sample % CLASSES]);
    let right = y.chunks_exact(CLASSES).enumerate().filter(|row| is_right(*row)).count();
    Ok(right as f64 / SAMPLES as f64)
}

fn main() -> Result<()> {
    // A row of weights per class, and samples that are such a row with a lot of noise, from -1 to 1.
    let weights: Vec<f32> = normals(1, CLASSES * INPUTS).iter().map(|w| (0.4 * w).tanh()).collect();
    let noise = normals(2, SAMPLES * INPUTS);
    let x: Vec<f32> = noise
        .iter()
        .enumerate()
        .map(|(at, xi)| (weights[at % (CLASSES * INPUTS)] + 0.9 * xi).tanh())
        .collect();

    let models: [(&str, NoiseModelConfig); 4] = [
        ("phase-change memory", PCMLikeNoiseModel::default().into()),
        ("Hermes chip", HermesNoiseModel::default().into()),
        ("CMO/HfOx memory", ReRamCMONoiseModel::default().into()),
        ("noise of one strength", StateIndependentNoiseModel::default().into()),
    ];
    for (name, noise_model) in models {
        let mut config: InferenceConfig = presets::standard_hwa_training();
        config.noise_model = noise_model;
        let mut tile = InferenceTile::new(CLASSES, INPUTS, &config, 42)?;
        tile.set_weights(&weights)?;
        println!("{name}: {:.1} % before programming", 100.0 * accuracy(&mut tile, &x)?);
        tile.program_weights()?;
        for (when, t_inference) in TIMES {
            tile.drift_weights(t_inference)?;
            let found = 100.0 * accuracy(&mut tile, &x)?;
            println!("{when:>10}: {found:.1} %, outputs times {:.3}", tile.alpha()[0]);
        }
    }
    Ok(())
}
