//! Cells of several devices.

use mho_core::devices::{DeviceConfig, WeightClip};
use mho_core::tile::Pass;
use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, CellSpec, CellState, CellTile, CellTileConfig, Entry,
    OwnedEntry,
};
use mho_core::{Error, Key};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::any::{changed, checked, double, float, floats};
use super::tiles::shapes;

/// All cells, of some devices.
pub fn all() -> Vec<CellConfig> {
    let device = |name| serde_json::to_value(DeviceConfig::named(name).unwrap()).unwrap();
    let cell = |name: &&str| {
        let params = match *name {
            "MixedPrecisionCompound" => json!({"device": device("SoftBounds")}),
            "OneSidedUnitCell" => {
                json!({"unit_cell_devices": [device("SoftBounds")], "refresh_every": 1})
            }
            _ => json!({"unit_cell_devices": [device("SoftBounds"), device("ConstantStep")]}),
        };
        serde_json::from_value(json!({"type": name, "params": params})).unwrap()
    };
    CellConfig::NAMES.iter().map(cell).collect()
}

fn texts() -> impl Strategy<Value = Value> {
    prop::sample::select(all()).prop_flat_map(|cell| {
        let mut text = serde_json::to_value(CellTileConfig::new(cell)).unwrap();
        // What the rule of the cell has is what is changed most.
        let params = text["device"]["params"].clone();
        prop_oneof![
            3 => changed(params).prop_map({
                let text = text.clone();
                move |params| {
                    let mut text = text.clone();
                    text["device"]["params"] = params;
                    text
                }
            }),
            1 => changed(std::mem::take(&mut text)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn calls(
        text in texts(),
        (sizes, x, d) in shapes(),
        given in floats(16),
        [rate, alpha, probability] in [double(), double(), double()],
        clip in float(),
        (start, count, index) in (0usize..20, -5i64..20, any::<i64>()),
        seed in any::<u64>(),
    ) {
        let Some(config) = checked(CellTileConfig::from_json(&text.to_string())) else { return Ok(()) };
        prop_assume!(config.update.desired_bl < 2000);
        let [rows, columns] = sizes;
        let Some(mut tile) = checked(CellTile::new(rows, columns, &config, seed)) else { return Ok(()) };
        let call = |tile: &mut CellTile, call: &dyn Fn(&mut CellTile) -> mho_core::Result<()>| {
            let before = tile.weights().to_vec();
            if checked(call(tile)).is_none() {
                assert_eq!(tile.weights(), before);
            }
            assert!(tile.weights().iter().all(|w| w.is_finite()), "{:?} {config:?}", tile.weights());
            for slot in tile.spec().slots() {
                if let Some(OwnedEntry::Floats(values)) = tile.entry(&slot.name) {
                    assert!(values.iter().all(|v| v.is_finite()), "{}: {values:?} {config:?}", slot.name);
                }
            }
        };
        call(&mut tile, &|tile| tile.set_weights(&given));
        call(&mut tile, &|tile| tile.update(&x, &d, 0.05));
        call(&mut tile, &|tile| tile.update(&x, &d, rate));
        call(&mut tile, &|tile| tile.update(&x, &d, 0.05));
        call(&mut tile, &|tile| tile.decay(alpha));
        call(&mut tile, &CellTile::diffuse);
        call(&mut tile, &|tile| tile.clip_weights(WeightClip::FixedValue(clip)));
        call(&mut tile, &|tile| tile.clip_weights(WeightClip::LayerGaussian { sigma: clip, fixed_value: rate as f32 }));
        call(&mut tile, &|tile| tile.reset_columns(start, count, probability));
        call(&mut tile, &|tile| tile.set_hidden_update_index(index));
        call(&mut tile, &|tile| tile.hidden_update_index().map(|_| ()));
        call(&mut tile, &CellTile::settle);
        for pass in [Pass::Train, Pass::Test] {
            call(&mut tile, &|tile| tile.forward_batch(&x, pass).map(|_| ()));
            call(&mut tile, &|tile| tile.backward_batch(&d, pass).map(|_| ()));
        }
    }

    /// State that was changed by hand, and entries of any number and length.
    #[test]
    fn states(
        cell in prop::sample::select(all()),
        lengths in prop::collection::vec(0usize..40, 0..40),
        values in floats(40),
        [rate, time] in [double(), double()],
        (start, count, index) in (0usize..20, -5i64..20, any::<i64>()),
    ) {
        let update = mho_core::UpdateParameters::default();
        let spec = CellSpec::new(&cell, &update, 3, 4, false).unwrap();
        let fits = lengths.first().is_none_or(|first| first % 3 > 0);
        let mut entries = spec.allocate().unwrap();
        if !fits {
            for (entry, len) in entries.iter_mut().zip(&lengths) {
                match entry {
                    Some(OwnedEntry::Floats(values)) => values.resize(*len, 0.1),
                    _ => *entry = Some(OwnedEntry::Floats(vec![0.2; *len])),
                }
            }
            entries.truncate(lengths.len());
        }
        let mut weights = vec![0.0; if fits { 12 } else { lengths.len() }];
        let key = Key::new(5, 6);
        let mut with = |f: &dyn Fn(CellState<'_>) -> mho_core::Result<()>| {
            let entries: Vec<Option<Entry<'_>>> =
                entries.iter_mut().map(|entry| entry.as_mut().map(OwnedEntry::as_mut)).collect();
            checked(CellState::new(&spec, &mut weights, entries).and_then(f));
        };
        with(&|state| spec.construct(state, 3));
        with(&|state| spec.settle(state));
        with(&|state| spec.set_weights(state, &values, key));
        with(&|state| spec.decay(state, rate, key));
        with(&|state| spec.diffuse(state, key));
        with(&|state| spec.reset_columns(state, start, count, rate, key));
        with(&|mut state| state.set_hidden_update_index(&spec, index));
        with(&|state| state.check_finite());
        let _ = time;
        let given: Vec<Option<&[f32]>> = lengths.iter().map(|len| Some(&values[..(*len).min(values.len())])).collect();
        checked(spec.check_hidden(&given));
        checked(spec.unexpected_dw_min(&given));
    }
}

fn buffered(change: impl FnOnce(&mut BufferedTransferCompound)) -> CellTileConfig {
    let soft = || DeviceConfig::named("SoftBounds").unwrap().into();
    let cell = BufferedTransferCompound::default().with(|cell| {
        cell.unit_cell_devices = vec![soft(), soft()];
        cell.transfer_every = 1.0;
        cell.units_in_mbatch = false;
        change(cell);
    });
    CellTileConfig::new(CellConfig::BufferedTransferCompound(cell))
}

#[test]
fn writes_of_no_size_are_refused() {
    let error = CellTile::new(3, 4, &buffered(|cell| cell.step = 0.0), 1).unwrap_err();
    assert!(matches!(&error, Error::Config { field, .. } if field == "device.step"), "{error}");
}

#[test]
fn buffers_beyond_f32_are_refused() {
    let config = buffered(|cell| (cell.transfer_lr, cell.momentum) = (1e15, 1.0));
    let mut tile = CellTile::new(3, 4, &config, 1).unwrap();
    let (x, d) = (vec![1.0; 400], vec![-1.0; 300]);
    tile.update(&x, &d, 0.01).unwrap();
    let weights = tile.weights().to_vec();
    let error = tile.update(&x, &d, 1e38).unwrap_err();
    assert!(error.to_string().starts_with("learning_rate: makes a digital buffer"), "{error}");
    assert_eq!(tile.weights(), weights);
    tile.update(&x, &d, 0.01).unwrap();
}
