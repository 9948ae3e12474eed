//! Weights over time.

use mho_core::Key;
use mho_core::config::UpdateParameters;
use mho_core::devices::{Cells, Device, DeviceConfig, WeightClip};

use super::adapter;
use super::pair::{Pair, devices};

#[test]
fn weights_decay_diffuse_reset_and_clip_as_on_the_processor() {
    let Some(pick) = adapter() else { return };
    let mut all = devices();
    all.push(("FloatingPoint".to_owned(), DeviceConfig::named("FloatingPoint").unwrap()));
    all.push(("Ideal".to_owned(), DeviceConfig::named("Ideal").unwrap()));
    for (name, mut device) in all {
        match &mut device {
            DeviceConfig::FloatingPoint(device) => (device.lifetime, device.diffusion) = (9.0, 0.1),
            DeviceConfig::Ideal(device) => (device.lifetime, device.reset_std) = (9.0, 0.1),
            _ => {}
        }
        let resets = name != "FloatingPoint";
        let mut pair = Pair::new(device, UpdateParameters::default(), &pick);
        pair.start();
        let key = |call| Key::new(6, call);
        let check = |what: &str, pair: &mut Pair| {
            let difference = pair.difference();
            assert!(difference < 4.0 * f32::EPSILON, "{name} {what}: {difference}");
        };
        pair.host(|device, cells| device.decay(cells, 1.5, key(1)).unwrap());
        pair.tile.decay(1.5, key(1)).unwrap();
        check("decay", &mut pair);
        pair.host(|device, cells| device.diffuse(cells, key(2)).unwrap());
        pair.tile.diffuse(key(2)).unwrap();
        check("diffusion", &mut pair);
        if resets {
            let reset = |device: &Device, cells: Cells<'_>| {
                device.reset_columns(cells, 70, 40, 0.4, key(3)).unwrap();
            };
            pair.host(reset);
            pair.tile.reset_columns(70, 40, 0.4, key(3)).unwrap();
            check("reset", &mut pair);
        }
        let clip = WeightClip::FixedValue(0.1);
        pair.host(|device, cells| device.clip_weights(cells, clip, key(4)).unwrap());
        pair.tile.clip_weights(clip, key(4)).unwrap();
        check("clip", &mut pair);
    }
}
