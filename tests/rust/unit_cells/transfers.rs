//! When lines are transferred, and what goes with it.

use mho_core::UpdateParameters;
use mho_core::config::PulseType;
use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, CellTile, ChoppedTransferCompound,
    DynamicTransferCompound, MixedPrecisionCompound, TransferCompound,
};

use super::{
    close, constant, exact, floats, implicit, integers, perfect, reals, set, signs, single, step,
    tile, tile_with,
};

/// Exact transfers from a frozen device with the weights 0.1, 0.2, 0.3.
fn direct() -> TransferCompound {
    TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![step(0.001), step(0.001)];
        p.transfer_forward = perfect();
        p.transfer_update = implicit().with(|p| p.desired_bl = 1000);
        p.scale_transfer_lr = false;
    })
}

fn frozen(cell: TransferCompound) -> CellTile {
    let mut tile = tile(1, 3, CellConfig::TransferCompound(cell));
    set(&mut tile, "hidden_weights_0", &[0.1, 0.2, 0.3]);
    tile
}

fn update(tile: &mut CellTile, samples: usize) -> Vec<f32> {
    tile.update(&vec![0.0; 3 * samples], &vec![0.0; samples], 0.1).unwrap();
    tile.weights().to_vec()
}

#[test]
fn schedule() {
    let mut tile = frozen(direct().with(|p| p.transfer_every = 2.0));
    let expected = [
        [0.0, 0.0, 0.0],
        [0.1, 0.0, 0.0],
        [0.1, 0.0, 0.0],
        [0.1, 0.2, 0.0],
        [0.1, 0.2, 0.0],
        [0.1, 0.2, 0.3],
        [0.1, 0.2, 0.3],
        [0.2, 0.2, 0.3],
    ];
    for expected in expected {
        close(&update(&mut tile, 1), &expected, 1e-6);
    }
    // Mini-batches of four: one column each, or one per vector, or two.
    let mut tile = frozen(direct());
    close(&update(&mut tile, 4), &[0.1, 0.0, 0.0], 1e-6);
    let mut tile = frozen(direct().with(|p| p.units_in_mbatch = false));
    close(&update(&mut tile, 4), &[0.2, 0.2, 0.3], 1e-6);
    let mut tile = frozen(direct().with(|p| p.transfer_every = 0.5));
    close(&update(&mut tile, 4), &[0.1, 0.2, 0.0], 1e-6);
    // Mini-batches of three every one and a half: every five vectors.
    let mut tile = frozen(direct().with(|p| p.transfer_every = 1.5));
    close(&update(&mut tile, 3), &[0.0, 0.0, 0.0], 1e-6);
    close(&update(&mut tile, 3), &[0.1, 0.0, 0.0], 1e-6);
    close(&update(&mut tile, 3), &[0.1, 0.0, 0.0], 1e-6);
    close(&update(&mut tile, 3), &[0.1, 0.2, 0.0], 1e-6);
}

#[test]
fn several_lines_at_once() {
    let mut tile = frozen(direct().with(|p| p.n_reads_per_transfer = 2));
    close(&update(&mut tile, 1), &[0.1, 0.2, 0.0], 1e-6);
    assert_eq!(integers(&tile, "current_slice_indices"), [2, 0]);
    close(&update(&mut tile, 1), &[0.2, 0.2, 0.3], 1e-6);
    // More than there are is all of them.
    let mut tile = frozen(direct().with(|p| p.n_reads_per_transfer = 7));
    close(&update(&mut tile, 1), &[0.1, 0.2, 0.3], 1e-6);
}

/// A sweep over the lines of one stage is one step of the next, whatever the shape of the tile is.
#[test]
fn stages_wait_for_a_sweep() {
    let cell = direct().with(|p| p.unit_cell_devices = vec![step(0.001); 3]);
    let mut tile = tile(2, 5, CellConfig::TransferCompound(cell));
    set(&mut tile, "hidden_weights_0", &[0.001; 10]);
    let slow = |tile: &CellTile| tile.weights().iter().filter(|w| **w != 0.0).count();
    for vector in 1..=10 {
        tile.update(&[0.0; 5], &[0.0; 2], 0.1).unwrap();
        // A column of two rows every five vectors.
        assert_eq!(slow(&tile), 2 * (vector / 5), "{vector}");
    }
}

#[test]
fn a_rate_of_zero_moves_only_the_pointer() {
    let mut tile = frozen(direct().with(|p| p.transfer_lr = 0.0));
    close(&update(&mut tile, 1), &[0.0; 3], 0.0);
    assert_eq!(integers(&tile, "current_slice_indices"), [1, 0]);
}

#[test]
fn each_device_has_its_rate_and_period() {
    let cell = direct().with(|p| {
        p.transfer_lr_vec = vec![2.0, 0.0];
        p.transfer_every_vec = vec![3.0, 0.0];
        p.scale_transfer_lr = true;
    });
    let mut tile = frozen(cell);
    close(&update(&mut tile, 1), &[0.0; 3], 0.0);
    close(&update(&mut tile, 1), &[0.0; 3], 0.0);
    // 2 times the learning rate of 0.1.
    close(&update(&mut tile, 1), &[0.02, 0.0, 0.0], 1e-6);
}

#[test]
fn columns_that_are_read_are_reset() {
    let mut pulsed = exact(0.001);
    pulsed.reset = 0.05;
    let cell = direct().with(|p| {
        p.unit_cell_devices = vec![constant(pulsed), step(0.001)];
        p.with_reset_prob = 1.0;
        p.n_reads_per_transfer = 2;
    });
    let mut tile = frozen(cell);
    // Each column is read before it is reset.
    close(&update(&mut tile, 1), &[0.1, 0.2, 0.0], 1e-6);
    close(&floats(&tile, "hidden_weights_0"), &[0.05, 0.05, 0.3], 1e-6);
}

#[test]
fn random_lines() {
    let cell = direct().with(|p| {
        p.random_selection = true;
        p.units_in_mbatch = false;
    });
    let mut tile = frozen(cell);
    set(&mut tile, "hidden_weights_0", &[0.001; 3]);
    for _ in 0..3 {
        update(&mut tile, 100);
    }
    let counts: Vec<f32> = tile.weights().iter().map(|w| (w / 0.001).round()).collect();
    assert_eq!(counts.iter().sum::<f32>(), 300.0);
    // Deviation of a count: sqrt(300 2/9) = 8.2.
    assert!(counts.iter().all(|count| (count - 100.0).abs() < 4.0 * 8.2), "{counts:?}");
}

/// With the last device alone its weight is the visible one; what others weigh is looked at one by one.
#[test]
fn hidden_and_visible_devices() {
    let sum = |gamma_vec: &[f64]| {
        let cell = direct().with(|p| {
            p.unit_cell_devices = vec![step(0.001); 3];
            p.gamma_vec = gamma_vec.to_vec();
        });
        let mut tile = tile(1, 3, CellConfig::TransferCompound(cell));
        tile.set_weights(&[0.4; 3]).unwrap();
        set(&mut tile, "hidden_weights_0", &[0.1; 3]);
        (tile.weights()[0], tile.entry("hidden_weights_2").is_some())
    };
    let (w, is_stored) = sum(&[0.0, 0.0, 1.0]);
    assert!((w - 0.4).abs() < 1e-6 && !is_stored);
    let (w, is_stored) = sum(&[0.5, -0.5, 1.0]);
    assert!((w - 0.45).abs() < 1e-6 && is_stored);
    let (w, is_stored) = sum(&[0.0, 0.0, 2.0]);
    assert!((w - 0.4).abs() < 1e-6 && is_stored);
}

#[test]
fn set_weights_begins_anew() {
    let cell = CellConfig::DynamicTransferCompound(DynamicTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![step(0.002), step(0.01)];
        p.transfer_forward = perfect();
        p.auto_scale = true;
        p.in_chop_prob = 0.5;
        p.gamma = 0.2;
    }));
    let fresh = |trained: bool| {
        let mut tile = tile(3, 4, cell.clone());
        for _ in 0..if trained { 13 } else { 0 } {
            tile.update(&[1.0, -0.5, 0.3, 0.7], &[0.4, 0.2, -0.9], 0.1).unwrap();
        }
        assert!(!trained || signs(&tile, "in_chopper").contains(&-1));
        tile.set_weights(&[0.1; 12]).unwrap();
        super::state(&tile)
    };
    assert!(fresh(true) == fresh(false));
}

/// The running averages of the largest values, as they were measured for the standard.
#[test]
fn averages_of_the_largest_values() {
    let cell = CellConfig::ChoppedTransferCompound(ChoppedTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![step(0.002), step(0.01)];
        p.auto_scale = true;
        p.auto_momentum = 0.9;
        p.fast_lr = 0.5;
    }));
    let mut tile = tile(1, 2, cell);
    tile.update(&[4.0, 1.0, 0.0, 0.0, -8.0, 2.0], &[0.5, -0.5, 0.5], 0.1).unwrap();
    let averages = reals(&tile, "input_error_averages");
    assert!((averages[0] - 4.133_33).abs() < 1e-5, "{averages:?}");
    assert!((averages[1] - 0.5).abs() < 1e-12);
    let expected = 0.5 * 31.0 * 0.002 / (averages[0] * averages[1]);
    assert!((reals(&tile, "count_lr")[0] - expected).abs() < 1e-12);
}

/// The learning rate of the fast device is that of its pulses.
#[test]
fn learning_rates_of_the_fast_device() {
    let pulses = |fast_lr, scale_fast_lr, lr| {
        let cell =
            CellConfig::BufferedTransferCompound(BufferedTransferCompound::default().with(|p| {
                p.unit_cell_devices = vec![step(0.002), step(0.01)];
                p.transfer_every = 0.0;
                p.fast_lr = fast_lr;
                p.scale_fast_lr = scale_fast_lr;
            }));
        let update =
            UpdateParameters::default().with(|p| p.pulse_type = PulseType::DeterministicImplicit);
        let mut tile = tile_with(1, 1, cell, update, 1);
        tile.update(&[1.0], &[1.0], lr).unwrap();
        (floats(&tile, "hidden_weights_0")[0] / -0.002).round()
    };
    assert_eq!(pulses(1.0, true, 0.02), 10.0);
    assert_eq!(pulses(0.5, true, 0.02), 5.0);
    assert_eq!(pulses(0.01, false, 0.5), 5.0);
    assert_eq!(pulses(0.0, false, 0.02), 10.0);
}

/// A negative period is a fraction of what it takes the fast device to saturate.
#[test]
fn automatic_periods() {
    let transfers = |transfer_every, updates| {
        let cell =
            CellConfig::ChoppedTransferCompound(ChoppedTransferCompound::default().with(|p| {
                // 200 states.
                p.unit_cell_devices = vec![step(0.01), step(0.01)];
                p.transfer_every = transfer_every;
            }));
        let mut tile = tile(1, 4, cell);
        for _ in 0..updates {
            tile.update(&[0.0; 4], &[0.0], 0.1).unwrap();
        }
        integers(&tile, "current_slice_indices")[0]
    };
    assert_eq!((transfers(-1.0, 49), transfers(-1.0, 50)), (0, 1));
    assert_eq!((transfers(-0.1, 4), transfers(-0.1, 5)), (0, 1));
    assert_eq!(transfers(0.0, 50), 0);
}

/// Signs act on inputs or errors, for columns and for rows, and flip right after the transfer of a line.
#[test]
fn choppers_act_on_pulses() {
    for transfer_columns in [true, false] {
        let cell =
            CellConfig::ChoppedTransferCompound(ChoppedTransferCompound::default().with(|p| {
                p.unit_cell_devices = vec![step(0.01), step(0.01)];
                p.transfer_columns = transfer_columns;
                p.transfer_lr = 1e-6;
                p.fast_lr = 0.01;
                p.in_chop_prob = 1.0;
                p.gamma = 0.5;
            }));
        let mut tile = tile_with(2, 3, cell, single(), 1);
        // Two vectors in one call: between them, the sign of the first line flips.
        tile.update(&[1.0; 6], &[1.0; 4], 0.5).unwrap();
        let a = floats(&tile, "hidden_weights_0");
        let expected = if transfer_columns {
            [0.0, -0.02, -0.02, 0.0, -0.02, -0.02]
        } else {
            [0.0, 0.0, 0.0, -0.02, -0.02, -0.02]
        };
        close(&a, &expected, 1e-6);
        // Now two lines are flipped, in what is seen as well.
        let lines = if transfer_columns { 3 } else { 2 };
        let expected: Vec<i8> = (0..lines).map(|line| if line < 2 { -1 } else { 1 }).collect();
        assert_eq!(signs(&tile, "in_chopper"), expected);
        let seen: Vec<f32> = (0..6)
            .map(|at| {
                let line = if transfer_columns { at % 3 } else { at / 3 };
                0.5 * a[at] * f32::from(expected[line])
            })
            .collect();
        close(tile.weights(), &seen, 1e-6);
    }
}

/// Whole steps go to the device, and what is left stays: nothing is lost.
#[test]
fn accumulation_loses_nothing() {
    for (rows, random_row) in [(-1, false), (2, false), (2, true)] {
        let cell =
            CellConfig::MixedPrecisionCompound(MixedPrecisionCompound::default().with(|p| {
                p.device = step(0.001);
                p.n_rows_per_transfer = rows;
                p.random_row = random_row;
            }));
        let update = implicit().with(|p| p.desired_bl = 1000);
        let mut tile = tile_with(5, 4, cell, update, 1);
        let mut sum = [0.0f64; 20];
        for number in 0..40 {
            let value = |at: usize| ((number * 9 + at) as f32 * 0.7).sin();
            let (x, d): (Vec<f32>, Vec<f32>) =
                ((0..12).map(value).collect(), (50..65).map(value).collect());
            tile.update(&x, &d, 0.01).unwrap();
            for (x, d) in x.chunks(4).zip(d.chunks(5)) {
                for (at, sum) in sum.iter_mut().enumerate() {
                    *sum += 0.01 * f64::from(d[at / 4] * x[at % 4]);
                }
            }
        }
        let chi = floats(&tile, "hidden_weights_chi");
        for (at, sum) in sum.iter().enumerate() {
            let found = f64::from(chi[at] - tile.weights()[at]);
            assert!((found - sum).abs() < 1e-5, "{at}: {found} instead of {sum}");
        }
        assert!(tile.weights().iter().any(|w| *w != 0.0));
    }
}

#[test]
fn counts_beyond_a_train_are_lost() {
    let cell = CellConfig::MixedPrecisionCompound(
        MixedPrecisionCompound::default().with(|p| p.device = step(0.01)),
    );
    let update = UpdateParameters::default().with(|p| p.desired_bl = 3);
    let mut tile = tile_with(1, 1, cell, update, 1);
    set(&mut tile, "hidden_weights_chi", &[0.2001]);
    tile.update(&[0.0], &[0.0], 0.1).unwrap();
    tile.update(&[0.0], &[0.0], 0.1).unwrap();
    close(tile.weights(), &[-0.03], 1e-6);
    close(&floats(&tile, "hidden_weights_chi"), &[0.0001], 1e-6);
}

#[test]
fn exact_writes_of_mixed_precision() {
    let cell = CellConfig::MixedPrecisionCompound(
        MixedPrecisionCompound::default().with(|p| p.device = step(0.01)),
    );
    let update = UpdateParameters::default().with(|p| {
        p.pulse_type = PulseType::NoneWithDevice;
        p.desired_bl = 3;
    });
    let mut tile = tile_with(1, 2, cell, update, 1);
    set(&mut tile, "hidden_weights_chi", &[0.2001, 3.0001]);
    tile.update(&[0.0; 2], &[0.0], 0.1).unwrap();
    tile.update(&[0.0; 2], &[0.0], 0.1).unwrap();
    // All steps, within the bounds.
    close(tile.weights(), &[-0.2, -1.0], 1e-5);
}

/// One side quantised, the other one not: all of both goes in.
#[test]
fn quantised_sides() {
    let cell = |n_x_bins, n_d_bins| {
        CellConfig::MixedPrecisionCompound(MixedPrecisionCompound::default().with(|p| {
            p.device = step(0.01);
            p.n_x_bins = n_x_bins;
            p.n_d_bins = n_d_bins;
            p.stoc_round_x = false;
            p.stoc_round_d = false;
            p.transfer_every = 0;
        }))
    };
    let (x, d) = ([1.0, -0.3, 0.6], [0.2, -0.5]);
    // Four bins: two levels on each side of zero. Half to even: 0.6 and 1.2 of 2 levels.
    let (x_q, d_q) = ([1.0, -0.5, 0.5], [0.25, -0.5]);
    for (bins, x_used, d_used) in
        [((4, 0), x_q, d), ((0, 4), x, d_q), ((4, 4), x_q, d_q), ((0, 0), x, d)]
    {
        let mut tile = tile(2, 3, cell(bins.0, bins.1));
        tile.update(&x, &d, 0.1).unwrap();
        let expected: Vec<f32> = (0..6).map(|at| 0.1 * d_used[at / 3] * x_used[at % 3]).collect();
        close(&floats(&tile, "hidden_weights_chi"), &expected, 1e-7);
    }
}
