//! What comes next of a tile: the same calls as `go_on` of `tests/python/rust_states.py`.

use std::collections::BTreeMap;

use mho_core::devices::DeviceConfig;
use mho_core::state::{AnyConfig, AnyTile, SavedModel, Tensor, Values};
use mho_core::tile::Pass;

const RATE: f64 = 0.07;

/// As `numbers` of `tests/python/golden.py`.
pub fn numbers(rows: usize, columns: usize, shift: usize) -> Vec<f32> {
    let number = |at: usize| (2 * ((at + shift) * 29 % 64) as i64 - 63) as f32 / 64.0;
    (0..rows * columns).map(number).collect()
}

fn matrix(rows: usize, columns: usize, values: Vec<f32>) -> Tensor {
    Tensor::new(vec![rows, columns], Values::F32(values)).unwrap()
}

/// Uses a tile and returns outputs, weights and a checksum of all of its state.
pub fn go_on(tile: &mut AnyTile) -> Vec<(&'static str, Tensor)> {
    let (rows, columns) = (tile.outputs(), tile.inputs());
    let (x, d) = (numbers(2, columns, 3), numbers(2, rows, 8));
    let (mut y, mut g, mut tested) =
        (vec![0.0; 2 * rows], vec![0.0; 2 * columns], vec![0.0; 2 * rows]);
    tile.forward(&x, &mut y, Pass::Train).unwrap();
    tile.backward(&d, &mut g, Pass::Train).unwrap();
    tile.update(&x, &d, RATE).unwrap();
    tile.update(&x[..columns], &d[rows..], RATE).unwrap();
    tile.decay(1.0).unwrap();
    tile.diffuse().unwrap();
    let config = tile.config();
    if !matches!(&config, AnyConfig::Devices(c) if matches!(c.device, DeviceConfig::FloatingPoint(_)))
    {
        tile.reset_columns(1, 2, 0.5).unwrap();
    }
    tile.drift(7.0).unwrap();
    tile.forward(&x, &mut tested, Pass::Test).unwrap();
    let width = columns + usize::from(tile.analog_bias());
    vec![
        ("forward", matrix(2, rows, y)),
        ("backward", matrix(2, columns, g)),
        ("tested", matrix(2, rows, tested)),
        ("weights", matrix(rows, width, tile.weights().to_vec())),
        ("checksum", Tensor::new(vec![1], Values::I64(vec![checksum(tile)])).unwrap()),
    ]
}

fn checksum(tile: &AnyTile) -> i64 {
    let mut found = crc32fast::Hasher::new();
    for (name, tensor) in tile.state().unwrap().entries {
        found.update(name.as_bytes());
        let bytes: Vec<u8> = match &tensor.values {
            Values::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::I8(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            other => panic!("{}", other.dtype()),
        };
        found.update(&bytes);
    }
    i64::from(found.finalize())
}

/// What comes next of all tiles of a model, by full name.
pub fn outcomes(model: &mut SavedModel) -> BTreeMap<String, Tensor> {
    let mut found = BTreeMap::new();
    for (name, layer) in &mut model.layers {
        let is_single = layer.tile().is_some();
        for (column, part) in layer.tiles.iter_mut().enumerate() {
            for (row, saved) in part.iter_mut().enumerate() {
                // Those that computed in torch have no next bits here.
                if saved.tile_class() == Some("TorchInferenceTile") {
                    continue;
                }
                let array =
                    if is_single { String::new() } else { format!(".array.{column}.{row}") };
                for (what, tensor) in go_on(&mut saved.tile) {
                    found.insert(format!("{name}.analog_module{array}.{what}"), tensor);
                }
            }
        }
    }
    found
}
