//! Files that Python has written are read, and files for Python are written.
//!
//! `states.safetensors`, `model` and `next.safetensors` come from `tests/python/data/make_rust_states.py`;
//! `from_rust*.safetensors` are written by the test here when the variable `MHO_WRITE_FIXTURES` is set, and
//! read by `tests/python/test_rust_states.py`.

use std::path::{Path, PathBuf};

use mho_core::devices::{DeviceConfig, SoftBounds};
use mho_core::state::{AnyConfig, AnyTile, SavedModel};
use mho_core::tile::Pass;
use mho_core::unit_cells::{CellConfig, CellTileConfig, Crosspoint, TransferCompound};
use mho_core::{Error, TileConfig};

use super::next::{numbers, outcomes};

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rust/state").join(name)
}

/// A folder of this test that does not outlive it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mho-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copied_model(scratch: &Scratch) -> PathBuf {
    let folder = scratch.0.join("model");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(data("model")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    folder
}

#[test]
fn tiles_of_python_go_on_with_the_same_bits() {
    let mut model = SavedModel::open(data("states.safetensors")).unwrap();
    let expected = SavedModel::open(data("next.safetensors")).unwrap().tensors;
    let found = outcomes(&mut model);
    assert!(found.len() > 80, "{}", found.len());
    for (name, tensor) in &found {
        assert_eq!(Some(tensor), expected.get(name), "{name}");
    }
    let left = |name: &&String| !name.starts_with("model.");
    assert_eq!(expected.keys().filter(left).count(), found.len());
}

#[test]
fn files_are_written_as_they_were_read() {
    let model = SavedModel::open(data("states.safetensors")).unwrap();
    let again = SavedModel::from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert_eq!(again.to_bytes().unwrap(), model.to_bytes().unwrap());
    assert_eq!(again.layers.len(), model.layers.len());
    for (name, layer) in &model.layers {
        let pairs = layer.tiles.iter().flatten().zip(again.layers[name].tiles.iter().flatten());
        for (one, other) in pairs {
            assert_eq!(one.tile.state().unwrap(), other.tile.state().unwrap(), "{name}");
            assert_eq!(one.periphery, other.periphery, "{name}");
            assert_eq!(one.learning_rate, other.learning_rate);
            assert_eq!(one.rpu_config(), other.rpu_config());
        }
    }
    let rich = model.layers["analog_rich"].tile().unwrap();
    assert_eq!(rich.tile_class(), Some("AnalogTile"));
    assert_eq!(rich.learning_rate.map(|rate| rate > 0.0), Some(true));
    let periphery = &rich.periphery;
    assert_eq!(periphery.bias.as_ref().map(Vec::len), Some(3));
    assert_eq!(periphery.mapping_scales.as_ref().map(Vec::len), Some(3));
    assert_eq!(periphery.out_scaling_alpha.as_ref().map(Vec::len), Some(3));
    assert!(periphery.input_range.is_some() && periphery.others.is_empty());
    let drifted = model.layers["inference_drifted"].tile().unwrap();
    assert_eq!(drifted.periphery.alpha.as_ref().map(Vec::len), Some(1));
    assert!(drifted.periphery.others.contains_key("programmed_weights"));
}

/// The output of a layer of a model in evaluation mode, one sample after another.
pub fn product(model: &mut SavedModel, name: &str, x: &[f32], width: usize) -> Vec<f32> {
    let layer = model.layers.get_mut(name).unwrap();
    let (samples, mut column) = (x.len() / width, 0);
    let mut sum: Vec<Vec<f32>> = Vec::new();
    for part in &mut layer.tiles {
        let inputs = part[0].tile.inputs();
        let mut rows = vec![Vec::new(); samples];
        for saved in part {
            let periphery = &saved.periphery;
            let r = periphery.input_range.map_or(1.0, f32::abs);
            let seen = x.chunks(width).flat_map(|x| &x[column..column + inputs]);
            let seen: Vec<f32> = match periphery.input_range {
                Some(_) => seen.map(|x| x.clamp(-r, r) / r).collect(),
                None => seen.copied().collect(),
            };
            let outputs = saved.tile.outputs();
            let mut y = vec![0.0; samples * outputs];
            saved.tile.forward(&seen, &mut y, Pass::Test).unwrap();
            for (row, y) in rows.iter_mut().zip(y.chunks(outputs)) {
                row.extend(y.iter().enumerate().map(|(at, y)| {
                    let of = |factors: &Option<Vec<f32>>| match factors.as_deref() {
                        None => 1.0,
                        Some([factor]) => *factor,
                        Some(factors) => factors[at],
                    };
                    let y =
                        y * r * of(&periphery.mapping_scales) * of(&periphery.out_scaling_alpha);
                    y + periphery.bias.as_ref().map_or(0.0, |bias| bias[at])
                }));
            }
        }
        column += inputs;
        if sum.is_empty() {
            sum = rows;
        } else {
            for (sum, row) in sum.iter_mut().flatten().zip(rows.into_iter().flatten()) {
                *sum += row;
            }
        }
    }
    let bias = layer.bias.clone();
    let each = sum.iter_mut().flat_map(|row| row.iter_mut().enumerate());
    each.for_each(|(at, y)| *y += bias.as_ref().map_or(0.0, |bias| bias[at]));
    sum.concat()
}

#[test]
fn a_folder_has_all_that_a_forward_pass_needs() {
    let expected = SavedModel::open(data("next.safetensors")).unwrap().tensors;
    let mut model = SavedModel::open(data("model")).unwrap();
    assert_eq!(model.layers.keys().collect::<Vec<_>>(), ["first", "last"]);
    assert_eq!(model.tensors.keys().collect::<Vec<_>>(), ["norm.bias", "norm.weight"]);
    let first = &model.layers["first"];
    assert!(first.class.as_ref().unwrap().ends_with("AnalogLinearMapped"));
    assert_eq!((first.tiles.len(), first.tiles[0].len(), first.tile().is_none()), (2, 2, true));
    let y = product(&mut model, "first", &numbers(3, 7, 0), 7);
    let scale = model.tensors["norm.weight"].floats().unwrap().to_vec();
    let shift = model.tensors["norm.bias"].floats().unwrap().to_vec();
    let mut normal = Vec::new();
    for row in y.chunks(5) {
        let mean = row.iter().sum::<f32>() / 5.0;
        let variance = row.iter().map(|y| (y - mean).powi(2)).sum::<f32>() / 5.0;
        let of =
            |(at, y): (usize, &f32)| (y - mean) / (variance + 1e-5).sqrt() * scale[at] + shift[at];
        normal.extend(row.iter().enumerate().map(of));
    }
    let found = product(&mut model, "last", &normal, 5);
    let expected = expected["model.y"].floats().unwrap();
    // The normalisation rounds in another order than torch: a few units of 2^-24 times values of about
    // 2, which a converter of the second layer may turn into one of its steps, 12 / 255 of the largest input.
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
    }
}

#[test]
fn folders_are_written_again() {
    let scratch = Scratch::new("folder");
    let target = scratch.0.join("again");
    let mut model = SavedModel::open(data("model")).unwrap();
    model.layers.get_mut("last").unwrap().tile_mut().unwrap().tile.drift(1.0).unwrap();
    model.write_folder(&target).unwrap();
    let mut again = SavedModel::open(&target).unwrap();
    assert_eq!(outcomes(&mut again), outcomes(&mut model));
    assert_eq!(again.tensors, model.tensors);
    // Over the files of another save, which had two.
    let old = copied_model(&scratch);
    model.write_folder(&old).unwrap();
    let names = std::fs::read_dir(&old).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["analog_map.json", "model.safetensors"]);
}

#[test]
fn folders_that_were_changed_are_refused() {
    let scratch = Scratch::new("changed");
    let folder = copied_model(&scratch);
    let file = folder.join("model-00001-of-00002.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    // The first value after the header is the seed of a tile.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let refused = |what: &str| {
        let error = SavedModel::open(&folder).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    refused("check sum");
    SavedModel::open_changed(&folder).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(SavedModel::open(&folder), Err(Error::File { .. })));
    let map = folder.join("analog_map.json");
    let text = std::fs::read_to_string(&map).unwrap();
    for (from, to, what) in [
        ("model-00001", "../odel-00001", "no name of a file"),
        ("\"format\": 1", "\"format\": 9", "format 9"),
        ("\"files\"", "\"others\"", "damaged"),
    ] {
        std::fs::write(&map, text.replace(from, to)).unwrap();
        refused(what);
    }
    std::fs::remove_file(&map).unwrap();
    refused("analog_map.json");
    assert!(matches!(SavedModel::open(folder.join("none")), Err(Error::File { .. })));
}

#[test]
fn models_without_a_map_are_written_as_files() {
    let scratch = Scratch::new("file");
    let model = SavedModel::open(data("states.safetensors")).unwrap();
    let error = model.write_folder(&scratch.0).unwrap_err();
    assert!(error.to_string().contains("no map"), "{error}");
    let path = scratch.0.join("model.safetensors");
    model.write_file(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), model.to_bytes().unwrap());
    let missing = model.write_file(scratch.0.join("none").join("model.safetensors"));
    assert!(matches!(missing, Err(Error::File { .. })));
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 1);
}

/// The layers that Python builds as `FROM_RUST` of `tests/python/rust_states.py`, after some use.
fn for_python() -> SavedModel {
    let mut soft = SoftBounds::default().with(|p| p.write_noise_std = 0.5);
    soft.pulsed.count_pulses = true;
    let devices = TileConfig::default().with(|p| p.device = DeviceConfig::SoftBounds(soft));
    let soft = || Crosspoint::from(DeviceConfig::SoftBounds(SoftBounds::default()));
    let transfer = TransferCompound::default().with(|p| p.unit_cell_devices = vec![soft(), soft()]);
    let cells = CellTileConfig::new(CellConfig::TransferCompound(transfer));
    let mut model = SavedModel::default();
    for (seed, (name, config, analog_bias)) in [
        ("devices", AnyConfig::Devices(devices), false),
        ("cells", AnyConfig::Cells(cells), false),
        ("bias", AnyConfig::Devices(TileConfig::default()), true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut tile = AnyTile::new(3, 4, &config, analog_bias, seed as u64).unwrap();
        let width = 4 + usize::from(analog_bias);
        let weights: Vec<f32> = numbers(3, width, 1).iter().map(|w| 0.25 * w).collect();
        tile.set_weights(&weights).unwrap();
        tile.update(&numbers(2, 4, 5), &numbers(2, 3, 9), 0.1).unwrap();
        model.insert(name, tile).unwrap();
    }
    model
}

#[test]
fn what_python_reads_is_what_is_written() {
    let mut model = for_python();
    let written = std::env::var_os("MHO_WRITE_FIXTURES").is_some();
    if written {
        model.write_file(data("from_rust.safetensors")).unwrap();
    }
    let mut saved = SavedModel::open(data("from_rust.safetensors")).unwrap();
    for (name, layer) in &model.layers {
        let state =
            |layer: &mho_core::state::SavedLayer| layer.tile().unwrap().tile.state().unwrap();
        assert_eq!(state(layer), state(&saved.layers[name]), "{name}");
    }
    let mut next = SavedModel::default();
    next.tensors = outcomes(&mut model);
    if written {
        next.write_file(data("from_rust_next.safetensors")).unwrap();
    }
    assert_eq!(next.tensors, SavedModel::open(data("from_rust_next.safetensors")).unwrap().tensors);
    assert_eq!(outcomes(&mut saved), next.tensors);
}
