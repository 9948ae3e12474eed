//! Kernels of the graphics processor against those of the processor.
//!
//! Any adapter will do, a software one too; without one the tests print so and end.

mod cases;
mod cells;
mod draws;
mod failures;
mod lifecycle;
mod options;
mod pair;
mod presets;
mod products;
mod updates;

use mho_core::Key;
use mho_core::gpu::{self, Pick};
use mho_core::rng::Stream;

/// The first adapter of any kind, by number.
fn adapter() -> Option<Pick> {
    let adapters = gpu::adapters();
    if adapters.is_empty() {
        println!("skipped: no adapter; install mesa-vulkan-drivers for a software one");
        return None;
    }
    Some(Pick::Named("0".to_owned()))
}

/// Uniform values in [-1, 1), by position.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0; count];
    Key::new(seed, 0).stream(Stream::Weights).fill_uniform(0, 0, &mut out);
    out.iter_mut().for_each(|value| *value = 2.0 * *value - 1.0);
    out
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |worst, (a, b)| {
        let difference = (a - b).abs();
        if difference <= worst { worst } else { difference }
    })
}
