//! Cells of several devices.

mod behaviour;
mod config;
mod golden;
mod learning;
mod parts;
mod transcription;
mod transfers;

use mho_core::UpdateParameters;
use mho_core::config::{IoParameters, PulseType};
use mho_core::devices::{ConstantStep, DeviceConfig, PulsedParameters};
use mho_core::unit_cells::{CellConfig, CellTile, CellTileConfig, Crosspoint, OwnedEntry};

/// Constant steps of `dw_min` without any variation, between -1 and 1.
fn exact(dw_min: f64) -> PulsedParameters {
    PulsedParameters::default().with(|p| {
        p.dw_min = dw_min;
        p.dw_min_dtod = 0.0;
        p.dw_min_std = 0.0;
        p.up_down_dtod = 0.0;
        p.w_max = 1.0;
        p.w_max_dtod = 0.0;
        p.w_min = -1.0;
        p.w_min_dtod = 0.0;
        p.reset_std = 0.0;
    })
}

fn constant(pulsed: PulsedParameters) -> Crosspoint {
    DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed)).into()
}

fn step(dw_min: f64) -> Crosspoint {
    constant(exact(dw_min))
}

fn perfect() -> IoParameters {
    IoParameters::default().with(|p| p.is_perfect = true)
}

/// Trains of one slot, without management: every line that is large enough fires.
fn single() -> UpdateParameters {
    UpdateParameters::default().with(|p| {
        p.desired_bl = 1;
        p.update_bl_management = false;
        p.update_management = false;
    })
}

/// As many pulses as the product says.
fn implicit() -> UpdateParameters {
    UpdateParameters::default().with(|p| p.pulse_type = PulseType::DeterministicImplicit)
}

fn tile_with(
    rows: usize,
    columns: usize,
    cell: CellConfig,
    update: UpdateParameters,
    seed: u64,
) -> CellTile {
    let config = CellTileConfig::new(cell).with(|p| p.update = update);
    CellTile::new(rows, columns, &config, seed).unwrap()
}

fn tile(rows: usize, columns: usize, cell: CellConfig) -> CellTile {
    tile_with(rows, columns, cell, UpdateParameters::default(), 1)
}

fn floats(tile: &CellTile, name: &str) -> Vec<f32> {
    match tile.entry(name) {
        Some(OwnedEntry::Floats(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn signs(tile: &CellTile, name: &str) -> Vec<i8> {
    match tile.entry(name) {
        Some(OwnedEntry::Signs(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn integers(tile: &CellTile, name: &str) -> Vec<i64> {
    match tile.entry(name) {
        Some(OwnedEntry::Integers(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn reals(tile: &CellTile, name: &str) -> Vec<f64> {
    match tile.entry(name) {
        Some(OwnedEntry::Reals(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn set(tile: &mut CellTile, name: &str, values: &[f32]) {
    match tile.entry_mut(name) {
        Some(OwnedEntry::Floats(own)) => own.copy_from_slice(values),
        other => panic!("{name}: {other:?}"),
    }
    tile.settle().unwrap();
}

/// All of the state, bit for bit.
fn state(tile: &CellTile) -> Vec<u64> {
    let mut all: Vec<u64> = tile.weights().iter().map(|w| u64::from(w.to_bits())).collect();
    for slot in tile.spec().slots() {
        match tile.entry(&slot.name) {
            None => {}
            Some(OwnedEntry::Floats(values)) => {
                all.extend(values.iter().map(|value| u64::from(value.to_bits())));
            }
            Some(OwnedEntry::Signs(values)) => all.extend(values.iter().map(|v| *v as u64)),
            Some(OwnedEntry::Integers(values)) => all.extend(values.iter().map(|v| *v as u64)),
            Some(OwnedEntry::Reals(values)) => all.extend(values.iter().map(|v| v.to_bits())),
        }
    }
    all
}

fn close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{at}: {found} instead of {expected}");
    }
}
