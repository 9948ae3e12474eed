//! States that are no states of a tile are refused, with the name of the entry.

use mho_core::state::{AnyTile, Tensor, TileState, Values};
use mho_core::{Error, Tile};

use super::configs;

fn state(name: &str) -> TileState {
    let (_, config) = configs::all().into_iter().find(|(found, _)| *found == name).unwrap();
    let mut tile = AnyTile::new(3, 4, &config, false, 7).unwrap();
    tile.drift(1.0).unwrap();
    tile.state().unwrap()
}

fn refused(state: &TileState, name: &str) {
    let error = AnyTile::from_state(state).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(name), "{name}: {error}");
}

#[test]
fn every_entry_is_checked() {
    for kind in ["SoftBounds", "nested", "transfer", "dynamic", "FloatingPoint"] {
        let whole = state(kind);
        AnyTile::from_state(&whole).unwrap();
        for (name, tensor) in &whole.entries {
            let mut missing = whole.clone();
            missing.entries.remove(name);
            refused(&missing, name);

            let mut typed = whole.clone();
            let other = Tensor { values: Values::U8(vec![1; 12]), ..tensor.clone() };
            typed.entries.insert(name.clone(), other);
            refused(&typed, name);

            let mut shaped = whole.clone();
            let mut shape = tensor.shape.clone();
            shape.push(1);
            shaped.entries.insert(name.clone(), Tensor { shape, ..tensor.clone() });
            refused(&shaped, name);

            let mut infinite = whole.clone();
            let values = match &tensor.values {
                Values::F32(values) => Values::F32(vec![f32::NAN; values.len()]),
                Values::F64(values) => Values::F64(vec![f64::INFINITY; values.len()]),
                Values::I64(values) if name != "analog_tile_seed" => {
                    Values::I64(vec![-5; values.len()])
                }
                Values::I8(values) => Values::I8(vec![7; values.len()]),
                _ => continue,
            };
            infinite.entries.insert(name.clone(), Tensor { values, ..tensor.clone() });
            let error = AnyTile::from_state(&infinite).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::State { .. }), "{name}: {error}");
            let short = name.rsplit('.').next().unwrap();
            assert!(error.to_string().contains(short), "{name}: {error}");
        }
    }
}

#[test]
fn what_belongs_to_no_tile_is_refused() {
    for kind in ["ConstantStep", "vector"] {
        for name in ["analog_tile_other", "analog_tile_hidden.other", "bias"] {
            let mut state = state(kind);
            state.entries.insert(name.to_owned(), state.entries["analog_tile_seed"].clone());
            refused(&state, name);
        }
    }
}

#[test]
fn python_code_is_named() {
    for group in ["analog_tile_device.shrink", "analog_tile_devices.0.x", "analog_tile_rule.y"] {
        let mut state = state("ConstantStep");
        state.entries.insert(group.to_owned(), state.entries["analog_tile_seed"].clone());
        let error = AnyTile::from_state(&state).map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, Error::Unsupported { feature, .. } if feature == group),
            "{error}"
        );
    }
}

#[test]
fn kinds_are_not_taken_for_each_other() {
    let error = Tile::from_state(&state("vector")).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("CellTile"), "{error}");
    let error =
        mho_core::unit_cells::CellTile::from_state(&state("Ideal")).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("AnyTile"), "{error}");
}

#[test]
fn weights_beyond_the_bounds_are_refused() {
    for (kind, name) in [
        ("ConstantStep", "analog_tile_weights"),
        ("SoftBounds", "analog_tile_hidden.persistent_weights"),
        ("vector", "analog_tile_weights"),
        ("transfer", "analog_tile_hidden.persistent_weights_0"),
    ] {
        let mut state = state(kind);
        let tensor = state.entries.get_mut(name).unwrap();
        tensor.values = Values::F32(vec![9.0; 12]);
        refused(&state, name);
    }
}

#[test]
fn sizes_that_no_memory_has_are_refused() {
    let mut state = state("ConstantStep");
    let weights = state.entries.get_mut("analog_tile_weights").unwrap();
    weights.shape = vec![usize::MAX, usize::MAX];
    assert!(AnyTile::from_state(&state).is_err());
    let mut state = super::refused::state("ConstantStep");
    state.entries.get_mut("analog_tile_weights").unwrap().shape = vec![1 << 19, 1 << 19];
    assert!(AnyTile::from_state(&state).is_err());
}
