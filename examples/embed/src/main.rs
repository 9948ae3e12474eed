//! A classifier that was trained in Python, on a chip of phase-change memory that ages for a year, in Rust.
//!
//! Run with `cargo run --release --package mho-embed`. Arguments are, as far as there are: a folder that `save_analog`
//! has written, of layers with ReLU between them; a file of images like `../data/digits.bin`; the number of the chip.

use std::error::Error;
use std::path::PathBuf;

use mho_core::layer::InferenceLinear;
use mho_core::state::SavedModel;

const TRAINING: usize = 1078;
const HOUR: f64 = 3600.0;
const TIMES: [(&str, f64); 4] = [
    ("programmed", 0.0),
    ("1 hour", HOUR),
    ("1 day", 24.0 * HOUR),
    ("1 year", 365.0 * 24.0 * HOUR),
];

/// Images of 64 pixels with values from 0 to 1, one after another, and their digits.
struct Images {
    pixels: Vec<f32>,
    digits: Vec<usize>,
}

impl Images {
    fn read(path: &PathBuf) -> std::io::Result<Self> {
        let mut images = Self { pixels: Vec::new(), digits: Vec::new() };
        for image in std::fs::read(path)?.chunks_exact(33).skip(TRAINING) {
            let levels = image[..32].iter().flat_map(|byte| [byte >> 4, byte & 15]);
            images.pixels.extend(levels.map(|level| f32::from(level) / 15.0));
            images.digits.push(image[32].into());
        }
        Ok(images)
    }
}

struct Network(Vec<InferenceLinear>);

impl Network {
    fn open(checkpoint: &PathBuf, chip: u64) -> mho_core::Result<Self> {
        // Layers of a Sequential come in the order of their numbers as long as these have one digit.
        let model = SavedModel::open(checkpoint)?;
        let layers = model.layers.values().zip(1..);
        // Every layer of every chip has errors of its own.
        let layer =
            |(saved, number): (_, u64)| InferenceLinear::from_saved(saved, chip << 8 | number);
        Ok(Self(layers.map(layer).collect::<Result<_, _>>()?))
    }

    fn drift(&mut self, t_inference: f64) -> mho_core::Result<()> {
        self.0.iter_mut().try_for_each(|layer| layer.drift_weights(t_inference))
    }

    /// Share of the images whose digit has the largest output.
    fn accuracy(&mut self, images: &Images) -> mho_core::Result<f64> {
        let (mut values, last) = (images.pixels.clone(), self.0.len() - 1);
        for (number, layer) in self.0.iter_mut().enumerate() {
            values = layer.forward(&values)?;
            if number < last {
                values.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
        let classes = values.len() / images.digits.len();
        let best = |y: &[f32]| (0..classes).max_by(|a, b| y[*a].total_cmp(&y[*b]));
        let rows = values.chunks_exact(classes).zip(&images.digits);
        let right = rows.filter(|(y, digit)| best(y) == Some(**digit)).count();
        Ok(right as f64 / images.digits.len() as f64)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut arguments = std::env::args().skip(1);
    let mut path = |default| arguments.next().map_or_else(|| here.join(default), PathBuf::from);
    let (checkpoint, images) = (path("checkpoint"), Images::read(&path("../data/digits.bin"))?);
    let mut network = Network::open(&checkpoint, arguments.next().map_or(Ok(1), |n| n.parse())?)?;
    println!("{:>10}: {:.2} %", "before", 100.0 * network.accuracy(&images)?);
    for (when, t_inference) in TIMES {
        network.drift(t_inference)?;
        println!("{when:>10}: {:.2} %", 100.0 * network.accuracy(&images)?);
    }
    Ok(())
}
