//! Layers and own algorithms.

use mho_core::compound::{CompoundRule, CustomCompound, Gradients};
use mho_core::inference::InferenceConfig;
use mho_core::layer::{Linear, LinearParameters, RawTile};
use mho_core::tile::Pass;
use mho_core::{Error, Tile, TileConfig};
use proptest::prelude::*;

use super::any::{changed, check, checked, double, float, floats};
use super::config;
use super::tiles::shapes;

fn parameters() -> impl Strategy<Value = serde_json::Value> {
    changed(serde_json::to_value(LinearParameters::default()).unwrap())
}

/// A rule that does nothing right.
#[derive(Clone)]
struct Bad {
    panics: bool,
}

impl CompoundRule for Bad {
    fn update(&mut self, devices: &mut [Tile], gradients: &Gradients<'_>) -> mho_core::Result<()> {
        devices[0].update(gradients.x, gradients.d, 0.1)?;
        assert!(!self.panics, "a rule of a user");
        Err(Error::Argument { argument: "devices", why: "are not liked".to_owned() })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn calls(
        text in parameters(),
        tile in config::tile(),
        ([outputs, inputs], x, d) in shapes(),
        weights in floats(16),
        bias in floats(4),
        range in float(),
        (rate, number) in (double(), 0usize..3),
        seed in any::<u64>(),
    ) {
        let Ok(parameters) = serde_json::from_value::<LinearParameters>(text) else { return Ok(()) };
        let Some(config) = checked(TileConfig::from_json(&tile.to_string())) else { return Ok(()) };
        prop_assume!(config.update.desired_bl < 2000);
        let layer = Linear::new(inputs, outputs, &config, &parameters, seed);
        let Some(mut layer) = checked(layer) else { return Ok(()) };
        checked(layer.set_weights(&weights, Some(&bias)));
        checked(layer.set_weights(&weights, None));
        checked(layer.set_mapping_scales(number, &bias));
        for own in layer.input_ranges_mut() {
            checked(own.set(range));
        }
        for _ in 0..2 {
            checked(layer.forward(&x, Pass::Train));
            checked(layer.backward(&d));
        }
        checked(layer.step(rate));
        let weights = layer.tiles().flat_map(|tile| tile.weights().to_vec());
        prop_assert!(weights.into_iter().all(f32::is_finite));
        checked(layer.weights());
        let _ = (layer.bias(), layer.mapping_scales().count());
        checked(layer.forward(&x, Pass::Test));
        checked(layer.reset_parameters(seed));
    }

    #[test]
    fn inference(
        text in changed(serde_json::to_value(InferenceConfig::default()).unwrap()),
        ([outputs, inputs], x, _) in shapes(),
        weights in floats(16),
        bias in floats(4),
        range in float(),
        (time, pass) in (double(), any::<bool>()),
        seed in any::<u64>(),
    ) {
        let Some(config) = checked(InferenceConfig::from_json(&text.to_string())) else { return Ok(()) };
        let layer = Linear::for_inference(inputs, outputs, true, &config, seed);
        let Some(mut layer) = checked(layer) else { return Ok(()) };
        checked(layer.set_weights(&weights, Some(&bias)));
        for own in layer.input_ranges_mut() {
            checked(own.set(range));
        }
        for tile in layer.tiles_mut() {
            checked(tile.clip_weights());
            checked(tile.drift_weights(time));
        }
        checked(layer.forward(&x, if pass { Pass::Train } else { Pass::Test }));
        checked(layer.weights());
    }

    #[test]
    fn sizes(inputs in 0usize..5, outputs in 0usize..5, huge in any::<bool>(), limit in -2i64..9) {
        let parameters = LinearParameters::default().with(|p| p.mapping.max_input_size = limit);
        let inputs = if huge { usize::MAX } else { inputs };
        checked(Linear::new(inputs, outputs, &TileConfig::default(), &parameters, 1));
    }

    #[test]
    fn rules(panics in any::<bool>(), x in floats(6), d in floats(4), weights in floats(6), rate in double()) {
        let config = TileConfig::default();
        let mut tile =
            CustomCompound::new([2, 3], &config, std::slice::from_ref(&config), Bad { panics }, 3).unwrap();
        let none = CustomCompound::new([2, 3], &config, &[], Bad { panics }, 3);
        prop_assert!(none.is_err());
        checked(RawTile::set_weights(&mut tile, &weights));
        let before = tile.clone();
        match tile.update(&x, &d, rate) {
            Err(Error::Panic(text)) => prop_assert!(panics && text.contains("a rule of a user")),
            Err(error) => check(&error),
            Ok(()) => prop_assert!(false),
        }
        prop_assert_eq!(RawTile::weights(&before), RawTile::weights(&tile));
        prop_assert_eq!(before.devices()[0].weights(), tile.devices()[0].weights());
        checked(tile.after_step());
    }
}
