//! Cells of several devices on the processor.

use mho_core::UpdateParameters;
use mho_core::devices::{DeviceConfig, PowStep, PulsedParameters, SoftBounds};
use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, CellTile, CellTileConfig, ChoppedTransferCompound,
    Crosspoint, DynamicTransferCompound, MixedPrecisionCompound, OneSidedUnitCell, OwnedEntry,
    TransferCompound, VectorUnitCell, VectorUnitCellUpdatePolicy,
};
use mho_core::{Error, par};

use crate::host::{Fault, arm, silence_the_hook};
use crate::{alone, bits, values};

const SIZES: [usize; 2] = [21, 35];

fn devices() -> Vec<Crosspoint> {
    let soft = SoftBounds::default().with(|p| p.write_noise_std = 0.5);
    let pow = PowStep::default().with(|p| p.write_noise_std = 1.0);
    vec![
        DeviceConfig::SoftBounds(soft).into(),
        DeviceConfig::PowStep(pow).into(),
        DeviceConfig::default().into(),
    ]
}

/// One device, which a pair takes twice, whose pair is soon saturated.
fn one() -> Vec<Crosspoint> {
    let pulsed = PulsedParameters::default().with(|p| p.w_min = 0.0);
    vec![DeviceConfig::SoftBounds(SoftBounds::default().with(|p| p.pulsed = pulsed)).into()]
}

pub fn cells() -> Vec<CellConfig> {
    let pair = || {
        OneSidedUnitCell::default().with(|p| {
            p.unit_cell_devices = one();
            p.refresh_every = 3;
            p.units_in_mbatch = false;
            p.refresh_upper_thres = 0.02;
            p.refresh_lower_thres = 0.01;
        })
    };
    vec![
        CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
            p.unit_cell_devices = devices();
            p.update_policy = VectorUnitCellUpdatePolicy::SingleRandom;
        })),
        CellConfig::OneSidedUnitCell(pair()),
        CellConfig::TransferCompound(TransferCompound::default().with(|p| {
            p.unit_cell_devices = devices();
            p.units_in_mbatch = false;
            p.with_reset_prob = 0.5;
            p.n_reads_per_transfer = 2;
            p.gamma = 0.3;
        })),
        CellConfig::BufferedTransferCompound(BufferedTransferCompound::default().with(|p| {
            p.unit_cell_devices = devices()[..2].to_vec();
            p.units_in_mbatch = false;
            p.thres_scale = 0.1;
        })),
        CellConfig::ChoppedTransferCompound(ChoppedTransferCompound::default().with(|p| {
            p.unit_cell_devices =
                vec![devices()[0].clone(), CellConfig::OneSidedUnitCell(pair()).into()];
            p.in_chop_prob = 0.5;
            p.out_chop_prob = 0.5;
            p.auto_scale = true;
            p.gamma = 0.1;
            p.transfer_columns = false;
        })),
        CellConfig::DynamicTransferCompound(DynamicTransferCompound::default().with(|p| {
            p.unit_cell_devices = devices()[..2].to_vec();
            p.in_chop_prob = 0.5;
        })),
        CellConfig::MixedPrecisionCompound(MixedPrecisionCompound::default().with(|p| {
            p.device = devices()[1].clone();
            p.n_x_bins = 10;
            p.n_rows_per_transfer = 4;
        })),
    ]
}

/// All of the state, bit for bit.
fn state(tile: &CellTile) -> Vec<Vec<u64>> {
    let wide = |values: &[f32]| bits(values).into_iter().map(u64::from).collect::<Vec<_>>();
    let mut all = vec![wide(tile.weights())];
    for slot in tile.spec().slots() {
        all.push(match tile.entry(&slot.name) {
            None => Vec::new(),
            Some(OwnedEntry::Floats(values)) => wide(values),
            Some(OwnedEntry::Signs(values)) => values.iter().map(|value| *value as u64).collect(),
            Some(OwnedEntry::Integers(values)) => {
                values.iter().map(|value| *value as u64).collect()
            }
            Some(OwnedEntry::Reals(values)) => values.iter().map(|value| value.to_bits()).collect(),
        });
    }
    all
}

/// What is gone through in a call: most of it at the first vector of the second update.
const SAMPLES: usize = 5;

fn update(tile: &mut CellTile, number: u64) -> Result<(), Error> {
    let x = values(SAMPLES * SIZES[1], 2 * number);
    let d = values(SAMPLES * SIZES[0], 2 * number + 1);
    tile.update(&x, &d, 0.1)
}

#[test]
fn failed_updates_change_nothing() {
    let _alone = alone();
    silence_the_hook();
    for threads in [1, 2] {
        par::set_num_threads(threads).unwrap();
        for cell in cells() {
            let name = cell.name();
            let update_parameters = UpdateParameters::default().with(|p| p.desired_bl = 7);
            let config = CellTileConfig::new(cell).with(|p| p.update = update_parameters);
            let mut before = CellTile::new(SIZES[0], SIZES[1], &config, 3).unwrap();
            before.set_weights(&values(SIZES[0] * SIZES[1], 1)).unwrap();
            update(&mut before, 1).unwrap();
            let untouched = state(&before);
            let mut after = before.clone();
            update(&mut after, 2).unwrap();
            let expected = state(&after);
            let changed = expected.iter().zip(&untouched).filter(|(a, b)| a != b).count();
            assert!(changed >= 3, "{name}: {changed} entries change");
            for fault in [Fault::Panic, Fault::Interrupt] {
                let mut failures = 0;
                for nth in 1.. {
                    let mut tile = before.clone();
                    arm(fault, nth);
                    let result = update(&mut tile, 2);
                    arm(fault, 0);
                    if result.is_ok() {
                        assert!(state(&tile) == expected, "{name}: {fault:?}");
                        break;
                    }
                    failures = nth;
                    assert!(state(&tile) == untouched, "{name}: {fault:?} {nth} left its traces");
                    update(&mut tile, 2).unwrap();
                    assert!(state(&tile) == expected, "{name}: again after {fault:?} {nth}");
                }
                assert!(failures > 2, "{name}: {failures} {fault:?}");
            }
        }
    }
}
