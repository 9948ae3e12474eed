//! A tile that is made of a state goes on with the bits of the one that had it.

use mho_core::mvm::Direction;
use mho_core::state::{AnyTile, TileState};
use mho_core::tile::Pass;
use mho_core::unit_cells::CellTile;
use mho_core::{Error, Tile, TileConfig};

use super::configs;

const ROWS: usize = 3;
const COLUMNS: usize = 5;

fn values(len: usize, shift: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 29 + shift) % 64) as f32 / 32.0 - 1.0).collect()
}

/// Uses a tile and returns all outputs.
fn used(tile: &mut AnyTile, shift: usize) -> Vec<f32> {
    let (x, d) = (values(4 * COLUMNS, shift), values(4 * ROWS, shift + 7));
    let (mut y, mut g) = (vec![0.0; 4 * ROWS], vec![0.0; 4 * COLUMNS]);
    tile.forward(&x, &mut y, Pass::Train).unwrap();
    tile.backward(&d, &mut g, Pass::Train).unwrap();
    tile.update(&x, &d, 0.05).unwrap();
    tile.update(&x[..COLUMNS], &d[..ROWS], 0.05).unwrap();
    tile.decay(1.0).unwrap();
    tile.diffuse().unwrap();
    tile.drift(3.0).unwrap();
    match tile.reset_columns(1, 2, 0.5) {
        Ok(()) | Err(Error::Unsupported { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let mut tested = vec![0.0; 4 * ROWS];
    tile.forward(&x, &mut tested, Pass::Test).unwrap();
    [y, g, tested].concat()
}

#[test]
fn every_kind_goes_on() {
    for (name, config) in configs::all() {
        for analog_bias in [false, true] {
            let mut tile = AnyTile::new(ROWS, COLUMNS, &config, analog_bias, 7).unwrap();
            for shift in 0..2 {
                let state = tile.state().unwrap();
                let text = serde_json::to_string(&state).unwrap();
                let read: TileState = serde_json::from_str(&text).unwrap();
                assert_eq!(read, state, "{name}");
                let mut twin = AnyTile::from_state(&read).unwrap();
                assert_eq!(twin.state().unwrap(), state, "{name}");
                assert_eq!(used(&mut twin, shift), used(&mut tile, shift), "{name}");
                assert_eq!(twin.state().unwrap(), tile.state().unwrap(), "{name}");
                assert_eq!((twin.seed(), twin.calls()), (tile.seed(), tile.calls()));
                assert_eq!([twin.inputs(), twin.outputs()], [COLUMNS, ROWS]);
            }
            assert!(tile.calls() > 8, "{name}");
        }
    }
}

#[test]
fn everything_is_in_some_state() {
    let mut names = std::collections::BTreeSet::new();
    for (_, config) in configs::all() {
        let mut tile = AnyTile::new(ROWS, COLUMNS, &config, false, 7).unwrap();
        used(&mut tile, 0);
        let group = |name: String| name.split('.').next().unwrap().to_owned();
        names.extend(tile.state().unwrap().entries.into_keys().map(group));
    }
    let expected = [
        "backward",
        "calls",
        "cell",
        "drift",
        "forward",
        "hidden",
        "pulse_counters",
        "seed",
        "weights",
    ];
    assert_eq!(names, expected.map(|name| format!("analog_tile_{name}")).into());
}

#[test]
fn steps_of_its_own_stay_those_of_a_tile() {
    let mut tile = Tile::new(ROWS, COLUMNS, &TileConfig::default(), 3).unwrap();
    let of = |tile: &Tile, name| -> Vec<f32> {
        let plane = tile.hidden_parameter(name).unwrap();
        (0..ROWS * COLUMNS).map(|at| 3.0 * plane.at(at)).collect()
    };
    let (up, down) = (of(&tile, "dwmin_up"), of(&tile, "dwmin_down"));
    tile.set_hidden_parameters(&[("dwmin_up", &up), ("dwmin_down", &down)]).unwrap();
    let dw_min = tile.spec().dw_min().unwrap();
    assert!((dw_min / 0.003 - 1.0).abs() < 0.3, "{dw_min}");
    assert_eq!(tile.spec().config(), &TileConfig::default());
    let mut twin = Tile::from_state(&tile.state().unwrap()).unwrap();
    assert_eq!(twin.spec().dw_min(), Some(dw_min));
    let (x, d) = (values(COLUMNS, 0), values(ROWS, 1));
    tile.update(&x, &d, 0.1).unwrap();
    twin.update(&x, &d, 0.1).unwrap();
    assert_eq!(twin.weights(), tile.weights());
}

#[test]
fn hidden_parameters_that_do_not_fit_change_nothing() {
    let mut tile = Tile::new(2, 2, &TileConfig::default(), 3).unwrap();
    let before = tile.state().unwrap();
    let high = [5.0; 4];
    for (name, values) in [
        ("min_bound", &high[..]),
        ("unknown", &high),
        ("persistent_weights", &high),
        ("max_bound", &high[..3]),
        ("max_bound", &[f32::NAN; 4]),
    ] {
        assert!(tile.set_hidden_parameter(name, values).is_err(), "{name}");
        assert_eq!(tile.state().unwrap(), before, "{name}");
    }
    tile.set_hidden_parameter("max_bound", &high).unwrap();
    assert_eq!(tile.hidden_parameter("max_bound").unwrap().at(3), 5.0);
}

#[test]
fn lines_are_read_and_written() {
    let (_, config) = configs::all().remove(2);
    let tile = AnyTile::new(2, 3, &config, false, 5).unwrap();
    let mut tile = Tile::from_state(&tile.state().unwrap()).unwrap();
    let names: Vec<_> = tile.lines(Direction::Backward).map(|(name, _)| name).collect();
    assert!(names.contains(&"v_offset"), "{names:?}");
    tile.set_lines(Direction::Backward, "v_offset", &[0.1, 0.2, 0.3]).unwrap();
    let state = tile.state().unwrap();
    assert_eq!(state.entries["analog_tile_backward.v_offset"].floats(), Some(&[0.1, 0.2, 0.3][..]));
    for (name, values) in [("v_offset", &[0.1][..]), ("unknown", &[]), ("v_offset", &[f32::NAN; 3])]
    {
        assert!(tile.set_lines(Direction::Backward, name, values).is_err());
    }
    assert_eq!(tile.state().unwrap(), state);
}

#[test]
fn a_bias_column_sees_its_input() {
    let mut tile = Tile::with_analog_bias(2, 3, &exact(), 1).unwrap();
    tile.set_weights(&[0.1, 0.2, 0.3, 0.5, -0.1, -0.2, -0.3, -0.25]).unwrap();
    let mut y = [0.0; 2];
    tile.forward(&[0.0; 3], &mut y, Pass::Test).unwrap();
    assert_eq!(y, [0.5, -0.25]);
    tile.set_bias_input(2.0).unwrap();
    tile.forward(&[0.0; 3], &mut y, Pass::Test).unwrap();
    assert_eq!(y, [1.0, -0.5]);
    assert!(tile.set_bias_input(f32::NAN).is_err());
    let mut g = [0.0; 3];
    tile.backward(&[1.0, 0.0], &mut g, Pass::Test).unwrap();
    assert_eq!(g, [0.1, 0.2, 0.3]);
    tile.update(&[0.0; 3], &[1.0, 0.0], 0.25).unwrap();
    assert_eq!(tile.weights()[3], 0.0);
}

fn exact() -> TileConfig {
    let mut config = TileConfig::default()
        .with(|p| p.device = mho_core::devices::DeviceConfig::named("Ideal").unwrap());
    config.update.pulse_type = mho_core::config::PulseType::None;
    config.forward.is_perfect = true;
    config.backward.is_perfect = true;
    config
}

#[test]
fn cells_drift_as_their_devices_do() {
    let (_, config) = configs::all().into_iter().find(|(name, _)| *name == "nested").unwrap();
    let tile = AnyTile::new(ROWS, COLUMNS, &config, false, 7).unwrap();
    let mut tile = CellTile::from_state(&tile.state().unwrap()).unwrap();
    assert_eq!(tile.drift_clocks().count(), 0);
    tile.set_weights(&values(ROWS * COLUMNS, 3)).unwrap();
    tile.drift(1.0).unwrap();
    let before = tile.weights().to_vec();
    tile.drift(1000.0).unwrap();
    assert_eq!(tile.drift_clocks().collect::<Vec<_>>(), [1001.0; 3]);
    let size = |weights: &[f32]| weights.iter().map(|w| w.abs()).sum::<f32>();
    assert!(size(tile.weights()) < 0.8 * size(&before), "{:?}", tile.weights());
    let state = tile.state().unwrap();
    assert!(tile.drift(-1.0).is_err());
    assert_eq!(tile.state().unwrap(), state);
}
