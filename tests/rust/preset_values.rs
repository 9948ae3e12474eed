//! The constructors of presets give what the Python package tells the core.

use mho_core::devices::DeviceConfig;
use mho_core::inference::{InferenceConfig, InferenceTile};
use mho_core::unit_cells::{CellConfig, CellTile, CellTileConfig};
use mho_core::{IoParameters, Tile, TileConfig, UpdateParameters, presets};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// `tests/python/data/make_preset_configs.py` writes the first, a test of the package compares both.
const CONFIGS: &str = include_str!("preset_configs.json");
const DEVICES: &str = include_str!("presets.json");

macro_rules! functions {
    ($($name:ident: $function:ident,)*) => {
        vec![$((stringify!($name), presets::$function()),)*]
    };
}

fn devices() -> Vec<(&'static str, DeviceConfig)> {
    functions! {
        ReRamESPresetDevice: re_ram_es_device,
        ReRamSBPresetDevice: re_ram_sb_device,
        CapacitorPresetDevice: capacitor_device,
        EcRamPresetDevice: ec_ram_device,
        EcRamMOPresetDevice: ec_ram_mo_device,
        IdealizedPresetDevice: idealized_device,
        GokmenVlasovPresetDevice: gokmen_vlasov_device,
        PCMPresetDevice: pcm_device,
        ReRamArrayOMPresetDevice: re_ram_array_om_device,
        ReRamArrayHfO2PresetDevice: re_ram_array_hfo2_device,
    }
}

fn single() -> Vec<(&'static str, TileConfig)> {
    functions! {
        ReRamESPreset: re_ram_es,
        ReRamSBPreset: re_ram_sb,
        CapacitorPreset: capacitor,
        EcRamPreset: ec_ram,
        EcRamMOPreset: ec_ram_mo,
        IdealizedPreset: idealized,
        GokmenVlasovPreset: gokmen_vlasov,
    }
}

fn cells() -> Vec<(&'static str, CellTileConfig)> {
    functions! {
        PCMPreset: pcm,
        ReRamES2Preset: re_ram_es2,
        ReRamSB2Preset: re_ram_sb2,
        Capacitor2Preset: capacitor2,
        EcRam2Preset: ec_ram2,
        EcRamMO2Preset: ec_ram_mo2,
        Idealized2Preset: idealized2,
        ReRamES4Preset: re_ram_es4,
        ReRamSB4Preset: re_ram_sb4,
        Capacitor4Preset: capacitor4,
        EcRam4Preset: ec_ram4,
        EcRamMO4Preset: ec_ram_mo4,
        Idealized4Preset: idealized4,
        TikiTakaReRamESPreset: tiki_taka_re_ram_es,
        TikiTakaReRamSBPreset: tiki_taka_re_ram_sb,
        TikiTakaCapacitorPreset: tiki_taka_capacitor,
        TikiTakaEcRamPreset: tiki_taka_ec_ram,
        TikiTakaEcRamMOPreset: tiki_taka_ec_ram_mo,
        TikiTakaIdealizedPreset: tiki_taka_idealized,
        TTv2ReRamESPreset: ttv2_re_ram_es,
        TTv2ReRamSBPreset: ttv2_re_ram_sb,
        TTv2CapacitorPreset: ttv2_capacitor,
        TTv2EcRamPreset: ttv2_ec_ram,
        TTv2EcRamMOPreset: ttv2_ec_ram_mo,
        TTv2IdealizedPreset: ttv2_idealized,
        ChoppedTTv2ReRamESPreset: chopped_ttv2_re_ram_es,
        ChoppedTTv2ReRamSBPreset: chopped_ttv2_re_ram_sb,
        ChoppedTTv2CapacitorPreset: chopped_ttv2_capacitor,
        ChoppedTTv2EcRamPreset: chopped_ttv2_ec_ram,
        ChoppedTTv2EcRamMOPreset: chopped_ttv2_ec_ram_mo,
        ChoppedTTv2IdealizedPreset: chopped_ttv2_idealized,
        AGADReRamESPreset: agad_re_ram_es,
        AGADReRamSBPreset: agad_re_ram_sb,
        AGADCapacitorPreset: agad_capacitor,
        AGADEcRamPreset: agad_ec_ram,
        AGADEcRamMOPreset: agad_ec_ram_mo,
        AGADIdealizedPreset: agad_idealized,
        MixedPrecisionReRamESPreset: mixed_precision_re_ram_es,
        MixedPrecisionReRamSBPreset: mixed_precision_re_ram_sb,
        MixedPrecisionCapacitorPreset: mixed_precision_capacitor,
        MixedPrecisionEcRamPreset: mixed_precision_ec_ram,
        MixedPrecisionEcRamMOPreset: mixed_precision_ec_ram_mo,
        MixedPrecisionIdealizedPreset: mixed_precision_idealized,
        MixedPrecisionGokmenVlasovPreset: mixed_precision_gokmen_vlasov,
        MixedPrecisionPCMPreset: mixed_precision_pcm,
    }
}

fn file(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A value with everything that stands in it by name.
fn whole(value: &Value) -> Value {
    match value {
        Value::String(name) => {
            let (devices, parameters) = (file(DEVICES), file(CONFIGS)["parameters"].clone());
            let found = devices.get(name).or_else(|| parameters.get(name));
            found.cloned().unwrap_or_else(|| value.clone())
        }
        Value::Array(items) => items.iter().map(whole).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), whole(value)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(whole(value)).unwrap()
}

#[test]
fn devices_are_those_of_the_package() {
    let file = file(DEVICES);
    assert_eq!(devices().len(), file.as_object().unwrap().len());
    for (name, device) in devices() {
        device.validate("device").unwrap();
        assert_eq!(device, read::<DeviceConfig>(&file[name]), "{name}");
    }
}

#[test]
fn parameters_are_those_of_the_package() {
    let parameters = &file(CONFIGS)["parameters"];
    let io = |name: &str| read::<IoParameters>(&parameters[name]);
    assert_eq!(presets::preset_io_parameters(), io("PresetIOParameters"));
    assert_eq!(presets::standard_io_parameters(), io("StandardIOParameters"));
    let update = read::<UpdateParameters>(&parameters["PresetUpdateParameters"]);
    assert_eq!(presets::preset_update_parameters(), update);
    let pair = read::<CellConfig>(&file(CONFIGS)["PCMPresetUnitCell"]);
    assert_eq!(presets::pcm_unit_cell(), pair);
}

#[test]
fn training_configurations_are_those_of_the_package() {
    let training = &file(CONFIGS)["training"];
    assert_eq!(single().len() + cells().len(), training.as_object().unwrap().len());
    for (name, config) in single() {
        assert_eq!(config, read::<TileConfig>(&training[name]), "{name}");
        Tile::new(2, 3, &config, 1).unwrap();
    }
    for (name, config) in cells() {
        assert_eq!(config, read::<CellTileConfig>(&training[name]), "{name}");
        CellTile::new(2, 3, &config, 1).unwrap();
    }
}

#[test]
fn inference_configurations_are_those_that_the_package_saves() {
    let saved = &file(CONFIGS)["inference"];
    let made = functions! {
        StandardHWATrainingPreset: standard_hwa_training,
        FloatingPointPreset: floating_point,
    };
    assert_eq!(made.len(), saved.as_object().unwrap().len());
    for (name, config) in made {
        assert_eq!(
            config,
            InferenceConfig::from_saved(&saved[name].to_string()).unwrap(),
            "{name}"
        );
        assert_eq!(config, InferenceConfig::from_json(&config.to_json().unwrap()).unwrap());
        InferenceTile::new(2, 3, &config, 1).unwrap();
    }
}
