//! Tiles.

use mho_core::config::ModifierParameters;
use mho_core::modifier::Modifier;
use mho_core::tile::{Pass, fill_uniform};
use mho_core::{Key, Tile, TileConfig};
use proptest::prelude::*;

use super::any::{checked, double, float, floats};
use super::config;

/// Sizes of a tile, and a batch that may fit.
pub fn shapes() -> impl Strategy<Value = ([usize; 2], Vec<f32>, Vec<f32>)> {
    (1usize..9, 1usize..9, 0usize..5).prop_flat_map(|(rows, columns, samples)| {
        (Just([rows, columns]), floats(samples * columns), floats(samples * rows))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn calls(
        text in config::tile(),
        (sizes, x, d) in shapes(),
        given in floats(16),
        [low, high] in [float(), float()],
        [rate, alpha, time, probability] in [double(), double(), double(), double()],
        (start, count) in (0usize..20, -5i64..20),
        seed in any::<u64>(),
        bias in any::<bool>(),
    ) {
        let Some(config) = checked(TileConfig::from_json(&text.to_string())) else { return Ok(()) };
        // Long trains and searches only take time.
        prop_assume!(config.update.desired_bl < 2000);
        let [rows, columns] = sizes;
        let new = if bias { Tile::with_analog_bias } else { Tile::new };
        let Some(mut tile) = checked(new(rows, columns, &config, seed)) else { return Ok(()) };
        let call = |tile: &mut Tile, call: &dyn Fn(&mut Tile) -> mho_core::Result<()>| {
            let before = tile.weights().to_vec();
            if checked(call(tile)).is_none() {
                assert_eq!(tile.weights(), before);
            }
            assert!(tile.weights().iter().all(|w| w.is_finite()), "{:?}", tile.weights());
        };
        call(&mut tile, &|tile| tile.set_weights(&given));
        call(&mut tile, &|tile| tile.set_weights_uniform(low, high));
        call(&mut tile, &|tile| tile.update(&x, &d, rate));
        call(&mut tile, &|tile| tile.decay(alpha));
        call(&mut tile, &Tile::diffuse);
        call(&mut tile, &|tile| tile.drift(time));
        call(&mut tile, &|tile| tile.reset_columns(start, count, probability));
        for pass in [Pass::Train, Pass::Test] {
            call(&mut tile, &|tile| tile.forward_batch(&x, pass).map(|_| ()));
            call(&mut tile, &|tile| tile.backward_batch(&d, pass).map(|_| ()));
            let (mut y, mut g) = (d.clone(), x.clone());
            checked(tile.forward(&x, &mut y, pass));
            checked(tile.backward(&d, &mut g, pass));
        }
        let modifier = Modifier::new(&ModifierParameters::default()).unwrap();
        checked(tile.modify_weights(&modifier, &mut x.clone()));
        for name in ["max_bound", "persistent_weights", ""] {
            let _ = tile.hidden_parameter(name);
        }
        call(&mut tile, &|tile| tile.update(&x, &d, 0.01));
    }

    #[test]
    fn uniform([low, high] in [float(), float()], mut weights in floats(20), seed in any::<u64>()) {
        checked(fill_uniform(&mut weights, low, high, Key::new(seed, u64::MAX)));
    }
}
