//! A classifier of handwritten digits whose two layers are trained in memory.
//!
//! Run with `cargo run --release --example digits`.

use mho_core::layer::{Linear, LinearParameters};
use mho_core::rng::{Key, Stream};
use mho_core::tile::Pass;
use mho_core::{Result, TileConfig};

const PIXELS: usize = 64;
const HIDDEN: usize = 32;
const CLASSES: usize = 10;
const TRAINING: usize = 1078;
const BATCH: usize = 10;

/// Images with values from 0 to 1 and their digits; `data/README.md` says where they are from.
fn images() -> Vec<(Vec<f32>, usize)> {
    let pixels = |byte: &u8| [byte >> 4, byte & 15].map(|level| f32::from(level) / 15.0);
    let image = |bytes: &[u8]| (bytes[..32].iter().flat_map(pixels).collect(), bytes[32].into());
    include_bytes!("data/digits.bin").chunks_exact(33).map(image).collect()
}

/// Turns the outputs of the classes into the gradient of the mean cross-entropy.
fn gradient(y: &mut [f32], digits: impl Iterator<Item = usize>) {
    let samples = (y.len() / CLASSES) as f32;
    for (y, digit) in y.chunks_exact_mut(CLASSES).zip(digits) {
        let largest = y.iter().copied().fold(f32::MIN, f32::max);
        y.iter_mut().for_each(|y| *y = (*y - largest).exp());
        let sum: f32 = y.iter().sum();
        y.iter_mut().for_each(|y| *y /= sum * samples);
        y[digit] -= 1.0 / samples;
    }
}

/// Trains a network by pulses and returns the share of correct digits of the test set after each epoch.
pub fn train(seed: u64, epochs: usize, learning_rate: f64) -> Result<Vec<f32>> {
    let (config, parameters) = (TileConfig::default(), LinearParameters::default());
    let mut first = Linear::new(PIXELS, HIDDEN, &config, &parameters, 2 * seed)?;
    let mut second = Linear::new(HIDDEN, CLASSES, &config, &parameters, 2 * seed + 1)?;
    let images = images();
    let (training, test) = images.split_at(TRAINING);
    let test_x = test.iter().flat_map(|(x, _)| x.iter().copied()).collect::<Vec<f32>>();
    let mut accuracies = Vec::new();
    for epoch in 0..epochs {
        let draw = Key::new(seed, epoch as u64).stream(Stream::Select);
        let mut order: Vec<_> =
            (0..TRAINING as u32).map(|at| (draw.uniform(at, 0, 0), at)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        for batch in order.chunks(BATCH) {
            let batch: Vec<_> = batch.iter().map(|(_, at)| &training[*at as usize]).collect();
            let x: Vec<f32> = batch.iter().flat_map(|(x, _)| x.iter().copied()).collect();
            let hidden = first.forward(&x, Pass::Train)?;
            let active: Vec<f32> = hidden.iter().map(|h| h.max(0.0)).collect();
            let mut y = second.forward(&active, Pass::Train)?;
            gradient(&mut y, batch.iter().map(|(_, digit)| *digit));
            let mut d = second.backward(&y)?;
            d.iter_mut().zip(&hidden).filter(|(_, h)| **h <= 0.0).for_each(|(d, _)| *d = 0.0);
            first.backward(&d)?;
            first.step(learning_rate)?;
            second.step(learning_rate)?;
        }
        let mut hidden = first.forward(&test_x, Pass::Test)?;
        hidden.iter_mut().for_each(|h| *h = h.max(0.0));
        let y = second.forward(&hidden, Pass::Test)?;
        let right = y.chunks_exact(CLASSES).zip(test).filter(|(y, (_, digit))| {
            (0..CLASSES).max_by(|a, b| y[*a].total_cmp(&y[*b])) == Some(*digit)
        });
        accuracies.push(right.count() as f32 / test.len() as f32);
    }
    Ok(accuracies)
}

fn main() -> Result<()> {
    for (epoch, accuracy) in (1..).zip(train(1, 20, 0.2)?) {
        println!("epoch {epoch:2}: {:.1} % of the test set", 100.0 * accuracy);
    }
    Ok(())
}
