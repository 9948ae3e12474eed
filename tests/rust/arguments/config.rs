//! Configurations.

use mho_core::TileConfig;
use mho_core::config::ModifierParameters;
use mho_core::devices::DeviceConfig;
use mho_core::modifier::Modifier;
use mho_core::rng::Key;
use mho_core::unit_cells::{CellSpec, CellTileConfig};
use proptest::prelude::*;

use super::any::{changed, check, checked, double, floats, size, small};

/// Configurations of all devices with some values replaced.
pub fn tile() -> impl Strategy<Value = serde_json::Value> {
    prop::sample::select(DeviceConfig::names()).prop_flat_map(|name| {
        let config = TileConfig::new(DeviceConfig::named(name).unwrap());
        changed(serde_json::to_value(config).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn texts(text in ".{0,80}", config in tile()) {
        for text in [text, config.to_string()] {
            let read = TileConfig::from_json(&text);
            if let Some(config) = checked(read) {
                prop_assert!(config.to_json().is_ok());
            }
            checked(CellTileConfig::from_json(&text));
            checked(ModifierParameters::from_json(&text));
        }
    }

    #[test]
    fn modifiers(
        text in changed(serde_json::to_value(ModifierParameters::default()).unwrap()),
        weights in floats(60), modified in floats(60), columns in small(), seed in any::<u64>(),
    ) {
        let Some(parameters) = checked(ModifierParameters::from_json(&text.to_string())) else { return Ok(()) };
        let Some(modifier) = checked(Modifier::new(&parameters)) else { return Ok(()) };
        let mut modified = modified;
        checked(modifier.modify(&weights, &mut modified, columns, Key::new(seed, 1)));
    }

    #[test]
    fn steps(dw_min in double(), other in double()) {
        for name in DeviceConfig::PULSED {
            let mut config = DeviceConfig::pulsed_default(name).unwrap();
            let pulsed = config.pulsed_mut().unwrap();
            pulsed.dw_min = dw_min;
            checked(pulsed.replace_step(other, "device"));
            if let Err(error) = config.validate("device") {
                check(&error);
            }
        }
    }

    #[test]
    fn sizes(rows in size(), columns in size()) {
        // Only what no tile can have is sure to take no memory.
        prop_assume!(rows > 1 << 20 || columns > 1 << 20 || rows * columns < 1000);
        checked(mho_core::Tile::new(rows, columns, &TileConfig::default(), 1));
        let cell = super::cells::all().remove(0);
        checked(CellSpec::new(&cell, &mho_core::UpdateParameters::default(), rows, columns, true));
    }
}
