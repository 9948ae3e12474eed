//! All public verbs of tiles in any order with any arguments: never a panic, never a value that is not
//! finite, and a call that fails changes nothing.

use mho_core::config::{ModifierParameters, ModifierType};
use mho_core::devices::WeightClip;
use mho_core::modifier::Modifier;
use mho_core::mvm::Direction;
use mho_core::state::{AnyTile, TileState, Values};
use mho_core::tile::Pass;
use mho_core::{Result, Tile};
use proptest::prelude::*;

use super::cases;
use super::configs;

/// A number such as callers have, or such as they should not have.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -1.0f32..1.0,
        1 => prop::num::f32::ANY,
        1 => prop::sample::select(vec![0.0, -0.0, 1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::NAN, f32::INFINITY]),
    ]
}

fn wide() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.0f64..1.0,
        1 => prop::num::f64::ANY,
        1 => prop::sample::select(vec![0.0, -1.0, 1e-30, 1e3, 1e30, 1e39, f64::MAX, f64::NAN, f64::INFINITY]),
    ]
}

/// Values of which there are as many as a call wants, or not.
#[derive(Debug, Clone)]
struct Given {
    values: Vec<f32>,
    /// How many are missing.
    missing: usize,
}

fn given() -> impl Strategy<Value = Given> {
    let missing = prop_oneof![15 => Just(0usize), 1 => 1usize..4];
    (prop::collection::vec(number(), 1..8), missing)
        .prop_map(|(values, missing)| Given { values, missing })
}

impl Given {
    /// The values again and again until there are `len`.
    fn take(&self, len: usize) -> Vec<f32> {
        self.values.iter().copied().cycle().take(len.saturating_sub(self.missing)).collect()
    }
}

/// A call of a tile.
#[derive(Debug, Clone)]
enum Verb {
    Forward(usize, Given, bool),
    Backward(usize, Given, bool),
    Update(usize, Given, Given, f64),
    SetWeights(Given),
    SetUniform(f32, f32),
    Decay(f64),
    Diffuse,
    Reset(usize, i64, f64),
    Clip(WeightClip),
    Drift(f64),
    SetHidden(usize, Given),
    SetLines(bool, usize, Given),
    SetBiasInput(f32),
    Modify(usize, f64),
    Choose(i64),
    Save,
}

fn clip() -> impl Strategy<Value = WeightClip> {
    prop_oneof![
        Just(WeightClip::None),
        number().prop_map(WeightClip::FixedValue),
        (number(), number())
            .prop_map(|(sigma, fixed_value)| WeightClip::LayerGaussian { sigma, fixed_value }),
        number().prop_map(|fixed_value| WeightClip::AverageChannelMax { fixed_value }),
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    let samples = || 0usize..4;
    prop_oneof![
        2 => (samples(), given(), any::<bool>()).prop_map(|(n, x, test)| Verb::Forward(n, x, test)),
        1 => (samples(), given(), any::<bool>()).prop_map(|(n, d, test)| Verb::Backward(n, d, test)),
        4 => (samples(), given(), given(), wide()).prop_map(|(n, x, d, rate)| Verb::Update(n, x, d, rate)),
        1 => given().prop_map(Verb::SetWeights),
        1 => (number(), number()).prop_map(|(low, high)| Verb::SetUniform(low, high)),
        1 => wide().prop_map(Verb::Decay),
        1 => Just(Verb::Diffuse),
        1 => (0usize..7, -2i64..9, wide()).prop_map(|(start, count, p)| Verb::Reset(start, count, p)),
        1 => clip().prop_map(Verb::Clip),
        1 => wide().prop_map(Verb::Drift),
        1 => (0usize..16, given()).prop_map(|(at, values)| Verb::SetHidden(at, values)),
        1 => (any::<bool>(), 0usize..7, given()).prop_map(|(back, at, v)| Verb::SetLines(back, at, v)),
        1 => number().prop_map(Verb::SetBiasInput),
        1 => (0usize..4, wide()).prop_map(|(kind, std)| Verb::Modify(kind, std)),
        1 => (-2i64..5).prop_map(Verb::Choose),
        1 => Just(Verb::Save),
    ]
}

fn pass(is_test: bool) -> Pass {
    if is_test { Pass::Test } else { Pass::Train }
}

/// Runs a call that all tiles have.
fn run(tile: &mut AnyTile, verb: &Verb) -> Result<()> {
    let (rows, columns) = (tile.outputs(), tile.inputs());
    let cells = tile.weights().len();
    match verb {
        Verb::Forward(n, x, test) => {
            let mut y = vec![0.0; n * rows];
            tile.forward(&x.take(n * columns), &mut y, pass(*test))
        }
        Verb::Backward(n, d, test) => {
            let mut g = vec![0.0; n * columns];
            tile.backward(&d.take(n * rows), &mut g, pass(*test))
        }
        Verb::Update(n, x, d, rate) => tile.update(&x.take(n * columns), &d.take(n * rows), *rate),
        Verb::SetWeights(weights) => tile.set_weights(&weights.take(cells)),
        Verb::Decay(alpha) => tile.decay(*alpha),
        Verb::Diffuse => tile.diffuse(),
        Verb::Reset(start, count, p) => tile.reset_columns(*start, *count, *p),
        Verb::Clip(clip) => tile.clip_weights(*clip),
        Verb::Drift(delta_t) => tile.drift(*delta_t),
        Verb::SetBiasInput(value) => tile.set_bias_input(*value),
        Verb::Save => {
            *tile = AnyTile::from_state(&tile.state()?)?;
            Ok(())
        }
        Verb::SetLines(back, at, values) => {
            let direction = if *back { Direction::Backward } else { Direction::Forward };
            let lines = tile.lines(direction);
            let Some((name, old)) = lines.get(*at).copied() else { return Ok(()) };
            let values = values.take(old.len());
            match tile {
                AnyTile::Devices(tile) => tile.set_lines(direction, name, &values),
                AnyTile::Cells(tile) => tile.set_lines(direction, name, &values),
            }
        }
        Verb::Choose(index) => match tile {
            AnyTile::Devices(_) => Ok(()),
            AnyTile::Cells(tile) => tile.set_hidden_update_index(*index),
        },
        Verb::SetUniform(..) | Verb::SetHidden(..) | Verb::Modify(..) => match tile {
            AnyTile::Devices(tile) => run_on_devices(tile, verb),
            AnyTile::Cells(_) => Ok(()),
        },
    }
}

/// Runs a call that only tiles of single devices have.
fn run_on_devices(tile: &mut Tile, verb: &Verb) -> Result<()> {
    let cells = tile.weights().len();
    match verb {
        Verb::SetUniform(low, high) => tile.set_weights_uniform(*low, *high),
        Verb::SetHidden(at, values) => {
            let names = tile.spec().device().hidden_names();
            let name = names.get(*at).copied().unwrap_or("unknown");
            tile.set_hidden_parameter(name, &values.take(cells))
        }
        Verb::Modify(kind, std_dev) => {
            let kinds = [
                ModifierType::AddNormal,
                ModifierType::Poly,
                ModifierType::Dorefa,
                ModifierType::PcmNoise,
            ];
            let parameters = ModifierParameters::default().with(|p| {
                p.kind = kinds[kind % kinds.len()];
                p.std_dev = *std_dev;
            });
            let mut modified = vec![0.0; cells];
            tile.modify_weights(&Modifier::new(&parameters)?, &mut modified)
        }
        _ => Ok(()),
    }
}

fn is_finite(state: &TileState) -> bool {
    state.entries.values().all(|tensor| match &tensor.values {
        Values::F32(values) => values.iter().all(|value| value.is_finite()),
        Values::F64(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn verbs_in_any_order(
        kind in 0..configs::all().len(),
        analog_bias in any::<bool>(),
        seed in any::<u64>(),
        verbs in prop::collection::vec(verb(), 1..12),
    ) {
        let (name, config) = configs::all().swap_remove(kind);
        let mut tile = AnyTile::new(3, 5, &config, analog_bias, seed).unwrap();
        for verb in &verbs {
            let before = tile.state().unwrap();
            let result = run(&mut tile, verb);
            let after = tile.state().unwrap();
            if let Err(error) = &result {
                prop_assert_eq!(&after, &before, "{} failed with {}", name, error);
            }
            prop_assert!(is_finite(&after), "{name} after {verb:?}");
        }
        // Whatever has happened, there is a way out and in.
        let state = tile.state().unwrap();
        let again = AnyTile::from_state(&state);
        prop_assert!(again.is_ok(), "{name}: {:?}", again.err());
        prop_assert_eq!(again.unwrap().state().unwrap(), state);
    }
}
