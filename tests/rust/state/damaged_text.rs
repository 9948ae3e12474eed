//! Configurations and states as JSON text, damaged at random: read or refused, never a panic.

use mho_core::TileConfig;
use mho_core::config::ModifierParameters;
use mho_core::state::{AnyConfig, AnyTile, TileState};
use mho_core::tile::Pass;
use mho_core::unit_cells::CellTileConfig;
use proptest::prelude::*;
use serde_json::Value;

use super::cases;
use super::configs;

/// What may stand in place of a value.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3i64..70_000).prop_map(Value::from),
        (-2.0f64..2.0).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "Ideal",
            "SoftBounds",
            "None",
            "AbsMax",
            "StochasticCompressed",
            "TransferCompound",
            "F32",
            "I64",
            "é",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,12}", inner), 0..3)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// A change at one of all places in a text.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Remove,
    Add(String, Value),
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let change = prop_oneof![
        4 => value().prop_map(Change::Replace),
        1 => Just(Change::Remove),
        1 => ("[a-z_.]{1,20}", value()).prop_map(|(name, value)| Change::Add(name, value)),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), change), 1..4)
}

/// Pointers to all values below one.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{path}/{}", escaped(name)), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                places(item, &format!("{path}/{at}"), found);
            }
        }
        _ => {}
    }
    found.push(path.to_owned());
}

fn changed(mut whole: Value, changes: &[(prop::sample::Index, Change)]) -> Value {
    for (at, change) in changes {
        let mut found = Vec::new();
        places(&whole, "", &mut found);
        let path = at.get(&found);
        let Some(place) = whole.pointer_mut(path) else { continue };
        match change {
            Change::Replace(value) => *place = value.clone(),
            Change::Add(name, value) => {
                if let Value::Object(fields) = place {
                    fields.insert(name.clone(), value.clone());
                }
            }
            Change::Remove => {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", ""));
                if let Some(Value::Object(fields)) = whole.pointer_mut(parent) {
                    fields.remove(name);
                }
            }
        }
    }
    whole
}

/// Uses a tile if there is one.
fn used(mut tile: AnyTile) {
    let (rows, columns) = (tile.outputs(), tile.inputs());
    let (x, d) = (vec![0.5; columns], vec![-0.25; rows]);
    let _ = tile.forward(&x, &mut vec![0.0; rows], Pass::Train);
    let _ = tile.backward(&d, &mut vec![0.0; columns], Pass::Train);
    let _ = tile.update(&x, &d, 0.1);
    let _ = tile.drift(1.0);
    let _ = tile.decay(1.0);
    let _ = tile.diffuse();
    assert!(tile.weights().iter().all(|w| w.is_finite()));
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn configurations(kind in 0..configs::all().len(), changes in changes(), seed in any::<u64>()) {
        let (_, config) = configs::all().swap_remove(kind);
        let text = config.to_json().unwrap();
        let text = changed(serde_json::from_str(&text).unwrap(), &changes).to_string();
        let _ = TileConfig::from_json(&text);
        let _ = CellTileConfig::from_json(&text);
        let _ = ModifierParameters::from_json(&text);
        if let Ok(config) = AnyConfig::from_json(&text)
            && let Ok(tile) = AnyTile::new(2, 3, &config, false, seed)
        {
            used(tile);
        }
    }

    #[test]
    fn configurations_that_are_cut(kind in 0..configs::all().len(), at in any::<prop::sample::Index>(), with in ".{0,3}") {
        let (_, config) = configs::all().swap_remove(kind);
        let text = config.to_json().unwrap();
        let at = at.index(text.len());
        prop_assert!(AnyConfig::from_json(&text[..at]).is_err());
        let _ = AnyConfig::from_json(&format!("{}{with}{}", &text[..at], &text[at..]));
    }

    #[test]
    fn states(kind in 0..configs::all().len(), changes in changes()) {
        let (_, config) = configs::all().swap_remove(kind);
        let mut tile = AnyTile::new(2, 3, &config, false, 5).unwrap();
        tile.update(&[0.5; 3], &[0.25; 2], 0.1).unwrap();
        tile.drift(1.0).unwrap();
        let state = serde_json::to_value(tile.state().unwrap()).unwrap();
        let state = serde_json::from_value::<TileState>(changed(state, &changes));
        if let Ok(state) = state
            && let Ok(tile) = AnyTile::from_state(&state)
        {
            prop_assert_eq!(&tile.state().unwrap().entries, &state.entries);
            used(tile);
        }
    }
}
