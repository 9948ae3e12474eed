//! A crossbar tile without Python: analog product, in-memory update, and what both cost in accuracy.
//!
//! Run with `cargo run --release --example tile_mvm`.

use mho_core::tile::Pass;
use mho_core::{IoParameters, Result, Tile, TileConfig};

const OUTPUTS: usize = 64;
const INPUTS: usize = 128;
const BATCH: usize = 32;

/// A smooth, deterministic pattern of values in [-1, 1].
fn pattern(len: usize, frequency: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * frequency).sin()).collect()
}

fn root_mean_square(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v * v, count + 1));
    (sum / count as f32).sqrt()
}

fn main() -> Result<()> {
    let weights: Vec<f32> = pattern(OUTPUTS * INPUTS, 0.37).iter().map(|w| 0.3 * w).collect();
    let x = pattern(BATCH * INPUTS, 0.11);

    let analog = TileConfig::default();
    let ideal = TileConfig::default().with(|p| {
        p.forward = IoParameters::perfect();
        p.backward = IoParameters::perfect();
    });
    let mut outputs = Vec::new();
    for config in [&analog, &ideal] {
        let mut tile = Tile::new(OUTPUTS, INPUTS, config, 42)?;
        tile.set_weights(&weights)?;
        let mut y = vec![0.0; BATCH * OUTPUTS];
        tile.forward(&x, &mut y, Pass::Test)?;
        outputs.push(y);
    }
    let error = root_mean_square(outputs[0].iter().zip(&outputs[1]).map(|(a, b)| a - b));
    let size = root_mean_square(outputs[1].iter().copied());
    println!("analog product: rms error {error:.4} on outputs of rms {size:.4}");

    let mut tile = Tile::new(OUTPUTS, INPUTS, &analog, 42)?;
    tile.set_weights(&weights)?;
    let before = tile.weights().to_vec();
    let d = pattern(BATCH * OUTPUTS, 0.23);
    let learning_rate = 0.01;
    tile.update(&x, &d, learning_rate)?;
    let change: Vec<f32> = tile.weights().iter().zip(&before).map(|(a, b)| a - b).collect();
    let wanted = (0..OUTPUTS * INPUTS).map(|cell| {
        let (row, column) = (cell / INPUTS, cell % INPUTS);
        let sum: f32 = (0..BATCH).map(|s| d[s * OUTPUTS + row] * x[s * INPUTS + column]).sum();
        -(learning_rate as f32) * sum
    });
    let off = root_mean_square(change.iter().zip(wanted).map(|(got, want)| got - want));
    let moved = root_mean_square(change.iter().copied());
    println!("pulsed update: weights moved by rms {moved:.4}, rms {off:.4} away from exact SGD");
    Ok(())
}
