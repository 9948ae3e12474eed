//! What fails and what is refused.

use mho_core::devices::DeviceConfig;
use mho_core::gpu::{self, Context, GpuTile, GpuUpdate, Pick};
use mho_core::{Error, Key, TileConfig, TileSpec};

use super::adapter;

#[test]
fn failures_of_the_device_are_errors() {
    let Some(_) = adapter() else { return };
    // By name, for a context of its own.
    let pick = Pick::Named(gpu::adapters()[0].name.clone());
    let spec = TileSpec::new(TileConfig::default(), 8, 8, false).unwrap();
    let mut tile = GpuTile::new(spec.clone(), &pick).unwrap();
    tile.set_weights(&[0.1; 64]).unwrap();
    mho_core::hooks::destroy_device(tile.context());
    let text = tile.weights(&mut [0.0; 64]).unwrap_err().to_string();
    assert!(text.contains("lost"), "{text}");
    // A new tile opens the adapter again.
    let mut tile = GpuTile::new(spec, &pick).unwrap();
    let mut weights = [7.0; 64];
    tile.weights(&mut weights).unwrap();
    assert_eq!(weights, [0.0; 64]);
    let missing = Context::shared(&Pick::Named("no such adapter".to_owned())).unwrap_err();
    assert!(missing.to_string().contains("MHO_GPU"), "{missing}");
}

#[test]
fn what_is_not_there_is_refused() {
    let Some(pick) = adapter() else { return };
    let mut device = DeviceConfig::pulsed_default("ConstantStep").unwrap();
    device.pulsed_mut().unwrap().drift.nu = 0.1;
    let config = TileConfig::default().with(|p| p.device = device);
    let spec = TileSpec::new(config, 2, 3, false).unwrap();
    let error = GpuTile::new(spec, &pick).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { .. }), "{error}");
    let spec = TileSpec::new(TileConfig::default(), 2, 3, false).unwrap();
    let mut tile = GpuTile::new(spec, &pick).unwrap();
    fn update(x: &[f32]) -> GpuUpdate<'_> {
        GpuUpdate {
            x,
            bias: None,
            d: &[0.5, 0.5],
            learning_rate: 0.1,
            key: Key::new(1, 1),
            counts: None,
        }
    }
    let error = tile.update(update(&[1.0; 3])).unwrap_err();
    assert!(matches!(&error, Error::State { .. }), "{error}");
    let error = tile.update(update(&[1.0; 2])).unwrap_err();
    assert!(matches!(&error, Error::Shape { argument: "x", .. }), "{error}");
    let error = tile.update(update(&[1.0, f32::NAN, 0.0])).unwrap_err();
    assert!(matches!(&error, Error::Argument { argument: "x", .. }), "{error}");
}
