//! The pulses of all presets against one after another.

use mho_core::gpu::{GpuTile, GpuUpdate, Pick};

use super::adapter;
use super::pair::refs;
use crate::presets::{Case, EXACT, FAST, LARGE, Size, compare};

/// Weights that the pulses have moved.
fn on_card(case: &Case, pick: &Pick) -> Vec<f32> {
    let mut tile = GpuTile::new(case.spec.clone(), pick).unwrap();
    tile.set_planes(&refs(&case.planes)).unwrap();
    tile.set_weights(&case.weights).unwrap();
    let noisy = case.spec.device().write_noise().is_some();
    if noisy {
        tile.set_persistent(&case.weights).unwrap();
    }
    tile.update(GpuUpdate {
        x: &case.x,
        bias: None,
        d: &case.d,
        learning_rate: case.learning_rate,
        key: case.key,
        counts: None,
    })
    .unwrap();
    let mut weights = vec![0.0; case.weights.len()];
    if noisy {
        tile.persistent(&mut weights).unwrap()
    } else {
        tile.weights(&mut weights).unwrap()
    }
    weights
}

fn compare_on_card(size: &Size) {
    let Some(pick) = adapter() else { return };
    compare(size, |case| on_card(&case, &pick));
}

#[test]
fn presets_move_as_one_pulse_after_another() {
    compare_on_card(&FAST);
}

#[test]
fn presets_move_pulse_by_pulse_where_that_is_asked_for() {
    compare_on_card(&EXACT);
}

#[test]
#[ignore = "minutes"]
fn presets_move_as_one_pulse_after_another_in_all_orders() {
    compare_on_card(&LARGE);
}
