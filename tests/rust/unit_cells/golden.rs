//! Sequences that follow from the rules by hand: one cell without noise.

use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, ChoppedTransferCompound, DynamicTransferCompound,
    MixedPrecisionCompound, OneSidedUnitCell, VectorUnitCell, VectorUnitCellUpdatePolicy,
};

use super::{close, constant, exact, floats, perfect, set, signs, single, step, tile, tile_with};

/// Roundings of a few f32 operations on numbers of size 1.
const CLOSE: f32 = 1e-6;

fn buffered(forget_buffer: bool) -> CellConfig {
    CellConfig::BufferedTransferCompound(BufferedTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![step(0.002), step(0.01)];
        p.units_in_mbatch = false;
        p.transfer_forward = perfect();
        p.forget_buffer = forget_buffer;
    }))
}

/// Buffer and slow weight after each of some updates without pulses, for a frozen fast weight.
fn run(cell: CellConfig, fast: f32, lr: f64, updates: usize) -> (Vec<f32>, Vec<f32>, Vec<i8>) {
    let mut tile = tile(1, 1, cell);
    set(&mut tile, "hidden_weights_0", &[fast]);
    let (mut h, mut c, mut flags) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..updates {
        tile.update(&[0.0], &[0.0], lr).unwrap();
        assert_eq!(floats(&tile, "hidden_weights_0"), [fast]);
        h.extend(floats(&tile, "buffered_FP_weight_0"));
        c.extend(tile.weights());
        if tile.entry("in_chopper").is_some() {
            flags.extend(signs(&tile, "in_chopper"));
        }
    }
    (h, c, flags)
}

#[test]
fn buffer_that_forgets() {
    let (h, c, _) = run(buffered(true), 0.0043, 1.0, 10);
    let expected =
        [0.0043, 0.0086, 0.00129, 0.00559, 0.00989, 0.00142, 0.00572, 0.001, 0.0053, 0.0096];
    // The sequence is given with four digits.
    close(&h, &expected, 6e-6);
    close(&c, &[0.0, 0.0, 0.01, 0.01, 0.01, 0.02, 0.02, 0.03, 0.03, 0.03], CLOSE);
}

#[test]
fn buffer_that_keeps() {
    let (h, c, _) = run(buffered(false), 0.0043, 1.0, 10);
    let expected = [0.0043, 0.0086, 0.0039, 0.0082, 0.0035, 0.0078, 0.0031, 0.0074, 0.0027, 0.007];
    close(&h, &expected, CLOSE);
    close(&c, &[0.0, 0.0, 0.01, 0.01, 0.02, 0.02, 0.03, 0.03, 0.04, 0.04], CLOSE);
    let (h, c, _) = run(buffered(false), 0.025, 1.0, 6);
    close(&h, &[0.016, 0.032, 0.048, 0.064, 0.08, 0.096], CLOSE);
    close(&c, &[0.01, 0.02, 0.03, 0.04, 0.05, 0.06], CLOSE);
}

#[test]
fn chopped() {
    let cell = CellConfig::ChoppedTransferCompound(ChoppedTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![step(0.002), step(0.01)];
        p.transfer_forward = perfect();
        p.in_chop_prob = 0.25;
        p.in_chop_random = false;
    }));
    let (h, c, flags) = run(cell, 0.0043, 0.2, 12);
    let expected = [0.43, 0.86, 0.0, 0.43, 0.0, -0.43, -0.86, 0.0, 0.43, 0.86, 0.0, 0.43];
    close(&h, &expected, CLOSE);
    let expected = [0.0, 0.0, 0.01, 0.01, 0.01, 0.01, 0.01, 0.0, 0.0, 0.0, 0.01, 0.01];
    close(&c, &expected, CLOSE);
    assert_eq!(flags, [1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1]);
}

#[test]
fn dynamic() {
    let cell = CellConfig::DynamicTransferCompound(DynamicTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![step(0.002), step(0.01)];
        p.transfer_forward = perfect();
        p.in_chop_prob = 0.25;
        p.tail_weightening = 2.0;
    }));
    let mut tile = tile(1, 1, cell);
    let (mut h, mut m, mut p, mut c) = (vec![], vec![], vec![], vec![]);
    for _ in 0..12 {
        let fast = 0.0043 * f32::from(signs(&tile, "in_chopper")[0]);
        set(&mut tile, "hidden_weights_0", &[fast]);
        tile.update(&[0.0], &[0.0], 0.2).unwrap();
        h.extend(floats(&tile, "buffered_FP_weight"));
        m.extend(floats(&tile, "running_mean_weight"));
        p.extend(floats(&tile, "past_mean_weight"));
        c.extend(tile.weights());
    }
    // The sequences are given with five digits.
    let digits = 6e-6;
    let expected = [0.43, 0.86, 0.0, 0.43, 0.0, 0.83313, 0.0, 0.83313, 0.0, 0.80793, 0.0, 0.80793];
    close(&h, &expected, 100.0 * digits);
    let expected = [
        0.00215, 0.00323, 0.00376, 0.00403, -0.00013, -0.00222, -0.00326, -0.00378, 0.00026,
        0.00228, 0.00329, 0.0038,
    ];
    close(&m, &expected, digits);
    let expected = [
        0.0, 0.0, 0.0, 0.0, 0.00403, 0.00403, 0.00403, 0.00403, -0.00378, -0.00378, -0.00378,
        -0.00378,
    ];
    close(&p, &expected, digits);
    let expected = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.01, 0.01, 0.02, 0.02, 0.03, 0.03];
    close(&c, &expected, CLOSE);
}

#[test]
fn mixed_precision() {
    let cell = CellConfig::MixedPrecisionCompound(
        MixedPrecisionCompound::default().with(|p| p.device = step(0.01)),
    );
    let mut tile = tile(1, 1, cell);
    let (mut chi, mut w) = (vec![], vec![]);
    for _ in 0..6 {
        tile.update(&[1.0], &[0.137], 0.1).unwrap();
        chi.extend(floats(&tile, "hidden_weights_chi"));
        w.extend(tile.weights());
    }
    close(&chi, &[0.0137, 0.0074, 0.0011, 0.0048, 0.0085, 0.0022], CLOSE);
    close(&w, &[0.0, -0.02, -0.04, -0.05, -0.06, -0.08], CLOSE);
}

#[test]
fn refresh_of_a_pair() {
    let mut pulsed = exact(0.01);
    pulsed.w_min = 0.0;
    let cell = CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![constant(pulsed)];
        p.refresh_every = 1;
        p.refresh_forward = perfect();
    }));
    let mut tile = tile(1, 5, cell);
    let plus = [0.9, 0.7, 0.5, 0.8, 0.8];
    let minus = [0.2, 0.6, 0.9, 0.8, 0.5];
    set(&mut tile, "hidden_weights_1", &plus);
    set(&mut tile, "hidden_weights_0", &minus);
    tile.update(&[0.0; 5], &[0.0], 0.1).unwrap();
    let (plus, minus) = (floats(&tile, "hidden_weights_1"), floats(&tile, "hidden_weights_0"));
    close(&plus[..4], &[0.9, 0.7, 0.0, 0.0], CLOSE);
    close(&minus, &[0.2, 0.6, 0.31, 0.0, 0.0], CLOSE);
    // A little more than 30 steps by rounding of f32 takes 30 slots, which all fire.
    close(&plus[4..], &[0.3], CLOSE);
    let sum: Vec<f32> = plus.iter().zip(&minus).map(|(plus, minus)| plus - minus).collect();
    close(tile.weights(), &sum, CLOSE);
}

fn vector(update_policy: VectorUnitCellUpdatePolicy) -> CellConfig {
    CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![step(0.01); 3];
        p.update_policy = update_policy;
    }))
}

#[test]
fn policies() {
    let run = |policy| {
        let mut tile = tile_with(1, 1, vector(policy), single(), 1);
        tile.set_weights(&[0.3]).unwrap();
        let mut all = Vec::new();
        for _ in 0..4 {
            tile.update(&[1.0], &[1.0], 0.01).unwrap();
            let devices: Vec<f32> =
                (0..3).flat_map(|k| floats(&tile, &format!("hidden_weights_{k}"))).collect();
            all.push((devices, tile.weights()[0]));
        }
        all
    };
    let all = run(VectorUnitCellUpdatePolicy::All);
    close(&all[0].0, &[0.29; 3], CLOSE);
    close(&[all[0].1], &[0.29], CLOSE);
    let sequential = run(VectorUnitCellUpdatePolicy::SingleSequential);
    close(&sequential[0].0, &[0.3, 0.29, 0.3], CLOSE);
    close(&sequential[1].0, &[0.3, 0.29, 0.29], CLOSE);
    close(&sequential[2].0, &[0.29; 3], CLOSE);
    close(&sequential[3].0, &[0.29, 0.28, 0.29], CLOSE);
    let fixed = run(VectorUnitCellUpdatePolicy::SingleFixed);
    close(&fixed[0].0, &[0.29, 0.0, 0.0], CLOSE);
    close(&[fixed[0].1], &[0.096_666_67], CLOSE);
}
