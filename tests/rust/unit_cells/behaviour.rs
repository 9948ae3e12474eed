//! What all cells have in common.

use mho_core::devices::{DeviceConfig, DriftState, SoftBounds, WeightClip};
use mho_core::rng::{Key, Stream};
use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, CellSpec, CellState, CellTile, CellTileConfig,
    ChoppedTransferCompound, Crosspoint, DynamicTransferCompound, MixedPrecisionCompound,
    OneSidedUnitCell, OwnedEntry, ReferenceUnitCell, TransferCompound, VectorUnitCell,
    VectorUnitCellUpdatePolicy,
};
use mho_core::{Error, UpdateParameters, par};

use super::{close, constant, exact, floats, integers, set, state, tile, tile_with};

fn uniform(len: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(seed, 0).stream(Stream::Weights).fill_uniform(0, 0, &mut out);
    out.iter_mut().for_each(|value| *value = 2.0 * *value - 1.0);
    out
}

fn soft() -> Crosspoint {
    DeviceConfig::SoftBounds(SoftBounds::default().with(|p| p.write_noise_std = 0.5)).into()
}

/// A cell of each kind, nested ones among them, that does something with every few vectors.
pub fn all() -> Vec<CellConfig> {
    let pair = || {
        CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
            p.unit_cell_devices = vec![DeviceConfig::default().into()];
            p.refresh_every = 4;
            p.units_in_mbatch = false;
            p.refresh_upper_thres = 0.05;
            p.refresh_lower_thres = 0.01;
        }))
    };
    let vector = |update_policy| {
        CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
            p.unit_cell_devices = vec![soft(), DeviceConfig::default().into(), soft()];
            p.update_policy = update_policy;
        }))
    };
    let devices = || vec![soft(), DeviceConfig::default().into()];
    vec![
        vector(VectorUnitCellUpdatePolicy::All),
        vector(VectorUnitCellUpdatePolicy::SingleFixed),
        vector(VectorUnitCellUpdatePolicy::SingleSequential),
        vector(VectorUnitCellUpdatePolicy::SingleRandom),
        CellConfig::ReferenceUnitCell(
            ReferenceUnitCell::default().with(|p| p.unit_cell_devices = devices()),
        ),
        pair(),
        CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
            p.unit_cell_devices =
                vec![pair().into(), vector(VectorUnitCellUpdatePolicy::SingleRandom).into()]
        })),
        CellConfig::TransferCompound(TransferCompound::default().with(|p| {
            p.unit_cell_devices = vec![soft(), DeviceConfig::default().into(), soft()];
            p.units_in_mbatch = false;
            p.with_reset_prob = 0.3;
            p.random_selection = true;
            p.n_reads_per_transfer = 2;
            p.gamma = 0.2;
        })),
        CellConfig::BufferedTransferCompound(BufferedTransferCompound::default().with(|p| {
            p.unit_cell_devices = devices();
            p.units_in_mbatch = false;
            p.thres_scale = 0.1;
        })),
        CellConfig::ChoppedTransferCompound(ChoppedTransferCompound::default().with(|p| {
            p.unit_cell_devices =
                vec![pair().into(), vector(VectorUnitCellUpdatePolicy::All).into()];
            p.in_chop_prob = 0.5;
            p.out_chop_prob = 0.5;
            p.auto_scale = true;
            p.gamma = 0.1;
        })),
        CellConfig::DynamicTransferCompound(DynamicTransferCompound::default().with(|p| {
            p.unit_cell_devices = devices();
            p.in_chop_prob = 0.5;
            p.in_chop_random = true;
            p.transfer_columns = false;
        })),
        CellConfig::MixedPrecisionCompound(MixedPrecisionCompound::default().with(|p| {
            p.device = pair().into();
            p.n_x_bins = 10;
            p.n_d_bins = 6;
            p.n_rows_per_transfer = 3;
            p.random_row = true;
        })),
    ]
}

const ROWS: usize = 19;
const COLUMNS: usize = 37;

fn new(cell: &CellConfig) -> CellTile {
    let mut tile = tile(ROWS, COLUMNS, cell.clone());
    tile.set_weights(&uniform(ROWS * COLUMNS, 1)).unwrap();
    tile
}

fn train(tile: &mut CellTile, updates: std::ops::Range<u64>) {
    for number in updates {
        let samples = 1 + number as usize % 4;
        let (x, d) =
            (uniform(samples * COLUMNS, 2 * number), uniform(samples * ROWS, 2 * number + 1));
        tile.update(&x, &d, 0.1).unwrap();
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for cell in all() {
        let run = |threads| {
            par::set_num_threads(threads).unwrap();
            let mut tile = new(&cell);
            train(&mut tile, 0..9);
            tile.decay(1.0).unwrap();
            state(&tile)
        };
        let one = run(1);
        assert!(run(2) == one, "{}", cell.name());
        assert!(run(5) == one, "{}", cell.name());
    }
}

/// All that has to survive is in the state: a tile that is built from it goes on as the first one.
#[test]
fn training_goes_on_from_a_copy_of_the_state() {
    for cell in all() {
        let mut first = new(&cell);
        train(&mut first, 0..7);
        // Built with the same seed, but not yet trained: only state and number of the call are copied.
        let mut second = new(&cell);
        for _ in 0..7 {
            // Calls without effect have numbers as well.
            second.update(&[0.0; COLUMNS], &[0.0; ROWS], 0.0).unwrap();
        }
        for slot in first.spec().slots() {
            if let Some(entry) = first.entry(&slot.name) {
                *second.entry_mut(&slot.name).unwrap() = entry.clone();
            }
        }
        second.weights_mut().copy_from_slice(first.weights());
        assert!(state(&second) == state(&first));
        train(&mut first, 7..12);
        train(&mut second, 7..12);
        assert!(state(&second) == state(&first), "{}", cell.name());
    }
}

#[test]
fn names_are_unique() {
    for cell in all() {
        let mut names: Vec<String> =
            new(&cell).spec().slots().into_iter().map(|slot| slot.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{}", cell.name());
    }
}

#[test]
fn seeds_matter_and_devices_differ() {
    for cell in all() {
        let draw = |seed| {
            let config = CellTileConfig::new(cell.clone());
            state(&CellTile::new(ROWS, COLUMNS, &config, seed).unwrap())
        };
        assert!(draw(4) == draw(4) && draw(4) != draw(5));
    }
    let twins = CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![soft(), soft()];
        p.construction_seed = 7;
    }));
    let tiles =
        [1, 2].map(|seed| tile_with(3, 4, twins.clone(), UpdateParameters::default(), seed));
    // The seed of the cell counts, and its devices are not equal.
    let [first, second] = tiles.each_ref().map(|tile| floats(tile, "max_bound_0"));
    assert_eq!(first, second);
    assert_ne!(first, floats(&tiles[0], "max_bound_1"));
}

/// Devices of a cell are drawn one for itself each: another second one leaves the first.
#[test]
fn draws_of_a_device_do_not_depend_on_the_others() {
    let first = |second: Crosspoint| {
        let cell = CellConfig::VectorUnitCell(
            VectorUnitCell::default().with(|p| p.unit_cell_devices = vec![soft(), second]),
        );
        floats(&tile(3, 4, cell), "max_bound_0")
    };
    assert_eq!(first(soft()), first(DeviceConfig::default().into()));
}

#[test]
fn nothing_happens_without_a_learning_rate() {
    for cell in all() {
        let mut tile = new(&cell);
        train(&mut tile, 0..3);
        let before = state(&tile);
        tile.update(&uniform(COLUMNS, 1), &uniform(ROWS, 2), 0.0).unwrap();
        tile.update(&[], &[], 0.1).unwrap();
        assert!(state(&tile) == before, "{}", cell.name());
    }
}

#[test]
fn bad_arguments_change_nothing() {
    for cell in all() {
        let mut tile = new(&cell);
        let before = state(&tile);
        let (x, d) = (uniform(COLUMNS, 1), uniform(ROWS, 2));
        let mut nan = x.clone();
        nan[3] = f32::NAN;
        let refused: [Result<(), Error>; 8] = [
            tile.update(&x[1..], &d, 0.1),
            tile.update(&x, &d[1..], 0.1),
            tile.update(&nan, &d, 0.1),
            tile.update(&x, &d, -0.1),
            tile.update(&x, &d, f64::NAN),
            tile.set_weights(&x),
            tile.set_weights(&[f32::INFINITY; ROWS * COLUMNS]),
            tile.clip_weights(WeightClip::LayerGaussian { sigma: 1.0, fixed_value: 0.0 }),
        ];
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
        assert!(tile.decay(-1.0).is_err() && tile.reset_columns(COLUMNS, 1, 1.0).is_err());
        assert!(state(&tile) == before, "{}", cell.name());
    }
}

/// The visible weights are what the devices make up after everything.
#[test]
fn weights_are_the_sum_of_those_of_the_devices() {
    for cell in all() {
        let mut tile = new(&cell);
        let check = |tile: &mut CellTile, what: &str| {
            let mut settled = tile.clone();
            settled.settle().unwrap();
            assert!(state(&settled) == state(tile), "{} after {what}", cell.name());
        };
        check(&mut tile, "set_weights");
        train(&mut tile, 0..6);
        check(&mut tile, "update");
        tile.diffuse().unwrap();
        tile.decay(2.0).unwrap();
        check(&mut tile, "decay");
        tile.clip_weights(WeightClip::FixedValue(0.1)).unwrap();
        check(&mut tile, "clip_weights");
        tile.reset_columns(2, 5, 0.5).unwrap();
        check(&mut tile, "reset_columns");
    }
}

/// Without transfers the fast device gets what was asked for, whatever the step of the slow one is.
#[test]
fn steps_of_other_devices_do_not_scale_pulses() {
    let cell = CellConfig::TransferCompound(TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![constant(exact(0.01)), constant(exact(0.001))];
        p.transfer_every = 0.0;
    }));
    let mut tile = tile(10, 20, cell);
    let lr = 0.000_5;
    let mut expected = vec![0.0f64; 200];
    for number in 0..2000 {
        let positive = |len, seed| -> Vec<f32> {
            uniform(len, seed).iter().map(|value| 0.5 * (value + 1.0)).collect()
        };
        let (x, d) = (positive(20, 2 * number), positive(10, 2 * number + 1));
        tile.update(&x, &d, lr).unwrap();
        for (at, sum) in expected.iter_mut().enumerate() {
            *sum += lr * f64::from(d[at / 20] * x[at % 20]);
        }
    }
    let a = floats(&tile, "hidden_weights_0");
    let (found, wanted): (f64, f64) =
        (a.iter().map(|w| -f64::from(*w)).sum(), expected.iter().sum());
    // 200 cells of 2.5 steps in all: 500 steps, of which chance may take or add 3 times 22.
    assert!((found / wanted - 1.0).abs() < 3.0 / wanted.sqrt() * 0.1, "{}", found / wanted);
}

/// Devices drift one for itself each; the weights are their sum then, too.
#[test]
fn drift() {
    let mut drifts = exact(0.01);
    drifts.drift.nu = 0.1;
    let cell = CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![constant(drifts), constant(exact(0.01))];
        p.gamma_vec = vec![1.0, 2.0];
    }));
    let spec = CellSpec::new(&cell, &UpdateParameters::default(), 1, 2, false).unwrap();
    assert_eq!(spec.drifting(), [(0, "_0".to_owned())]);
    let (mut weights, mut entries) = ([0.0; 2], spec.allocate().unwrap());
    let (mut clock, mut start, mut written) = (0.0, [0.0; 2], [0.4, -0.2]);
    let mut previous = written;
    type Call<'a> = &'a dyn Fn(CellState<'_>, Vec<DriftState<'_>>) -> Result<(), Error>;
    let mut run = |call: Call<'_>| {
        let entries = entries.iter_mut().map(|e| e.as_mut().map(OwnedEntry::as_mut)).collect();
        let state = CellState::new(&spec, &mut weights, entries).unwrap();
        let memory = DriftState {
            clock: &mut clock,
            start: &mut start,
            written: &mut written,
            previous: &mut previous,
        };
        let result = call(state, vec![memory]);
        (result, weights)
    };
    let key = Key::new(1, 1);
    run(&|state, _| spec.construct(state, 1)).0.unwrap();
    let (_, set) = run(&|state, _| spec.set_weights(state, &[0.4, -0.2], key));
    close(&set, &[1.2, -0.6], 1e-6);
    let (refused, same) = run(&|state, memory| spec.drift(state, memory, -1.0, key));
    assert!(refused.is_err() && same == set);
    assert!(run(&|state, _| spec.drift(state, Vec::new(), 1.0, key)).0.is_err());
    let (_, drifted) = run(&|state, memory| spec.drift(state, memory, 1000.0, key));
    // 1000^-0.1 is 0.5012.
    close(&drifted, &[0.4 * 0.501_19 + 0.8, -0.2 * 0.501_19 - 0.4], 1e-5);
}

#[test]
fn policies_choose_evenly() {
    let cell = CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![constant(exact(0.0001)); 3];
        p.update_policy = VectorUnitCellUpdatePolicy::SingleRandom;
    }));
    let mut tile = tile_with(1, 1, cell, super::single(), 5);
    // 3000 vectors in 30 calls, each of which moves a device by one step.
    for _ in 0..30 {
        tile.update(&[1.0; 100], &[1.0; 100], 0.0001).unwrap();
    }
    let counts: Vec<f32> = (0..3)
        .map(|k| (floats(&tile, &format!("hidden_weights_{k}"))[0] / -0.0001).round())
        .collect();
    assert_eq!(counts.iter().sum::<f32>(), 3000.0);
    // Deviation of a count: sqrt(3000 2/9) = 26.
    assert!(counts.iter().all(|count| (count - 1000.0).abs() < 4.0 * 26.0), "{counts:?}");
}

#[test]
fn chosen_devices() {
    let cell = CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![constant(exact(0.01)); 3];
        p.first_update_idx = 2;
        p.update_policy = VectorUnitCellUpdatePolicy::SingleFixed;
    }));
    let mut tile = tile(1, 1, cell);
    assert_eq!(tile.hidden_update_index().unwrap(), 2);
    assert!(tile.set_hidden_update_index(3).is_err() && tile.set_hidden_update_index(-1).is_err());
    tile.set_hidden_update_index(1).unwrap();
    tile.set_weights(&[0.3]).unwrap();
    assert_eq!(tile.hidden_update_index().unwrap(), 1);
    close(&floats(&tile, "hidden_weights_1"), &[0.3], 1e-7);
    close(tile.weights(), &[0.1], 1e-7);
    // Cells that do not choose have nothing to set.
    let cell = CellConfig::TransferCompound(
        TransferCompound::default().with(|p| p.unit_cell_devices = vec![constant(exact(0.01)); 2]),
    );
    let mut tile = super::tile(1, 1, cell);
    tile.set_hidden_update_index(1).unwrap();
    assert_eq!(tile.hidden_update_index().unwrap(), 0);
}

#[test]
fn weights_that_are_set() {
    let vector = |gamma_vec: &[f64], update_policy| {
        CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
            p.unit_cell_devices = vec![constant(exact(0.01)); 2];
            p.gamma_vec = gamma_vec.to_vec();
            p.update_policy = update_policy;
        }))
    };
    let read = |cell| {
        let mut tile = tile(1, 1, cell);
        tile.set_weights(&[0.3]).unwrap();
        tile.weights()[0]
    };
    close(&[read(vector(&[1.0, 0.5], VectorUnitCellUpdatePolicy::All))], &[0.45], 1e-7);
    close(&[read(vector(&[1.0, -1.0], VectorUnitCellUpdatePolicy::SingleRandom))], &[0.0], 1e-7);
    // A reference: first the device, then its reference, then the device again.
    let cell = CellConfig::ReferenceUnitCell(
        ReferenceUnitCell::default().with(|p| p.unit_cell_devices = vec![constant(exact(0.01))]),
    );
    let mut tile = tile(1, 1, cell);
    tile.set_weights(&[0.3]).unwrap();
    tile.set_hidden_update_index(1).unwrap();
    tile.set_weights(&[0.1]).unwrap();
    close(tile.weights(), &[0.2], 1e-7);
    tile.set_hidden_update_index(0).unwrap();
    tile.set_weights(&[0.5]).unwrap();
    close(tile.weights(), &[0.4], 1e-7);
    tile.update(&[1.0], &[1.0], 0.05).unwrap();
    close(&floats(&tile, "hidden_weights_1"), &[0.1], 1e-7);
    assert!(floats(&tile, "hidden_weights_0")[0] < 0.5);
    assert_eq!(integers(&tile, "current_update_idx"), [1]);
}

#[test]
fn a_pair_takes_pulses_up_only() {
    let cell = CellConfig::OneSidedUnitCell(
        OneSidedUnitCell::default().with(|p| p.unit_cell_devices = vec![constant(exact(0.01))]),
    );
    let mut tile = tile_with(1, 2, cell, super::single(), 1);
    tile.set_weights(&[0.3, -0.2]).unwrap();
    close(&floats(&tile, "hidden_weights_0"), &[0.0, 0.2], 1e-7);
    close(&floats(&tile, "hidden_weights_1"), &[0.3, 0.0], 1e-7);
    // One sample, and several.
    for samples in [1, 4] {
        let before = [floats(&tile, "hidden_weights_0"), floats(&tile, "hidden_weights_1")];
        tile.update(&[1.0, -1.0].repeat(samples), &vec![1.0; samples], 0.01).unwrap();
        let step = 0.01 * samples as f32;
        close(&floats(&tile, "hidden_weights_0"), &[before[0][0] + step, before[0][1]], 1e-6);
        close(&floats(&tile, "hidden_weights_1"), &[before[1][0], before[1][1] + step], 1e-6);
    }
    close(tile.weights(), &[0.25, -0.15], 1e-6);
}

#[test]
fn mirror_images() {
    let mut soft = SoftBounds::default();
    soft.pulsed.w_max = 1.0;
    soft.pulsed.w_min = -0.5;
    soft.pulsed.up_down = 0.2;
    let cell = CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![DeviceConfig::SoftBounds(soft).into()];
        p.copy_inverted = true;
    }));
    let tile = tile(3, 4, cell);
    let negative = |name: &str| floats(&tile, name).iter().map(|v| -v).collect::<Vec<_>>();
    assert_eq!(floats(&tile, "max_bound_1"), negative("min_bound_0"));
    assert_eq!(floats(&tile, "min_bound_1"), negative("max_bound_0"));
    assert_eq!(floats(&tile, "dwmin_up_1"), floats(&tile, "dwmin_down_0"));
    assert_eq!(floats(&tile, "dwmin_down_1"), floats(&tile, "dwmin_up_0"));
    assert_eq!(floats(&tile, "slope_up_1"), negative("slope_down_0"));
    assert_eq!(floats(&tile, "slope_down_1"), negative("slope_up_0"));
}

/// A pair as the fast device of a hidden transfer leaves the slow weights alone.
#[test]
fn members_have_weights_of_their_own() {
    let pair = CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![constant(exact(0.01))];
        p.refresh_every = 1;
        p.refresh_upper_thres = 0.05;
        p.refresh_lower_thres = 0.01;
        p.refresh_forward = super::perfect();
    }));
    let cell = CellConfig::TransferCompound(TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![pair.into(), constant(exact(0.01))];
        p.transfer_every = 0.0;
    }));
    let mut tile = tile(2, 2, cell);
    tile.set_weights(&[0.1, 0.2, 0.3, 0.4]).unwrap();
    set(&mut tile, "hidden_weights_0_0", &[0.1; 4]);
    set(&mut tile, "hidden_weights_1_0", &[0.2; 4]);
    tile.update(&[0.0; 2], &[0.0; 2], 0.1).unwrap();
    close(tile.weights(), &[0.1, 0.2, 0.3, 0.4], 1e-7);
    // The pair has been refreshed.
    close(&floats(&tile, "hidden_weights_0"), &[0.1; 4], 1e-6);
    close(&floats(&tile, "hidden_weights_1_0"), &[0.1; 4], 1e-6);
    close(&floats(&tile, "hidden_weights_0_0"), &[0.0; 4], 1e-6);
}
