//! A configuration of each kind, with all that a tile can have in its state.

use mho_core::config::{DriftParameters, IoParameters, NoiseManagement, PulseType};
use mho_core::devices::{DeviceConfig, SoftBounds};
use mho_core::state::AnyConfig;
use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, CellTileConfig, ChoppedTransferCompound, Crosspoint,
    DynamicTransferCompound, MixedPrecisionCompound, OneSidedUnitCell, ReferenceUnitCell,
    TransferCompound, VectorUnitCell, VectorUnitCellUpdatePolicy,
};
use mho_core::{TileConfig, UpdateParameters};

/// Products with frozen values and a running one.
fn lines() -> IoParameters {
    IoParameters {
        noise_management: NoiseManagement::AverageAbsMax,
        out_noise_std: 0.2,
        v_offset_std: 0.1,
        out_nonlinearity: 0.05,
        out_nonlinearity_std: 0.2,
        r_series: 0.01,
        w_read_asymmetry_dtod: 0.1,
        ..IoParameters::default()
    }
}

/// A device that does all that it can by itself.
fn busy(name: &str) -> DeviceConfig {
    let mut device = DeviceConfig::named(name).unwrap();
    if let Some(pulsed) = device.pulsed_mut() {
        pulsed.lifetime = 50.0;
        pulsed.lifetime_dtod = 0.1;
        pulsed.diffusion = 0.003;
        pulsed.diffusion_dtod = 0.1;
        pulsed.reset_dtod = 0.05;
        pulsed.count_pulses = true;
        pulsed.drift = DriftParameters { nu: 0.1, nu_dtod: 0.1, ..DriftParameters::default() };
    }
    if let DeviceConfig::SoftBounds(soft) = &mut device {
        soft.write_noise_std = 0.3;
    }
    device
}

/// A device of a cell, which count no pulses.
fn soft(write_noise_std: f64) -> Crosspoint {
    let mut soft = SoftBounds { write_noise_std, ..SoftBounds::default() };
    soft.pulsed.dw_min = 0.01;
    soft.pulsed.diffusion = 0.003;
    soft.pulsed.lifetime = 50.0;
    soft.pulsed.drift.nu = 0.1;
    DeviceConfig::SoftBounds(soft).into()
}

fn of_cell(device: CellConfig) -> AnyConfig {
    AnyConfig::Cells(CellTileConfig {
        forward: lines(),
        backward: lines(),
        ..CellTileConfig::new(device)
    })
}

fn cells() -> Vec<(&'static str, AnyConfig)> {
    let two = || vec![soft(0.3), soft(0.0)];
    let pair = || OneSidedUnitCell {
        unit_cell_devices: vec![soft(0.0), soft(0.0)],
        refresh_every: 2,
        refresh_upper_thres: 0.05,
        refresh_lower_thres: 0.01,
        ..OneSidedUnitCell::default()
    };
    let vector = VectorUnitCell {
        unit_cell_devices: vec![soft(0.0), soft(0.3), soft(0.0)],
        update_policy: VectorUnitCellUpdatePolicy::SingleRandom,
        ..VectorUnitCell::default()
    };
    let inner: Crosspoint = CellConfig::OneSidedUnitCell(pair()).into();
    let nested =
        VectorUnitCell { unit_cell_devices: vec![inner, soft(0.3)], ..VectorUnitCell::default() };
    let reference = ReferenceUnitCell { unit_cell_devices: two(), ..ReferenceUnitCell::default() };
    let transfer = TransferCompound {
        unit_cell_devices: vec![soft(0.3), soft(0.0), soft(0.0)],
        gamma: 0.5,
        units_in_mbatch: false,
        transfer_forward: IoParameters {
            noise_management: NoiseManagement::None,
            out_noise_std: 0.1,
            v_offset_std: 0.05,
            ..IoParameters::default()
        },
        ..TransferCompound::default()
    };
    let buffered = BufferedTransferCompound {
        unit_cell_devices: two(),
        ..BufferedTransferCompound::default()
    };
    let chopped = ChoppedTransferCompound {
        unit_cell_devices: two(),
        auto_scale: true,
        in_chop_prob: 0.4,
        out_chop_prob: 0.3,
        ..ChoppedTransferCompound::default()
    };
    let dynamic = DynamicTransferCompound {
        unit_cell_devices: two(),
        auto_scale: true,
        in_chop_prob: 0.4,
        ..DynamicTransferCompound::default()
    };
    let mixed = MixedPrecisionCompound { device: soft(0.3), ..MixedPrecisionCompound::default() };
    vec![
        ("one_sided", of_cell(CellConfig::OneSidedUnitCell(pair()))),
        ("vector", of_cell(CellConfig::VectorUnitCell(vector))),
        ("nested", of_cell(CellConfig::VectorUnitCell(nested))),
        ("reference", of_cell(CellConfig::ReferenceUnitCell(reference))),
        ("transfer", of_cell(CellConfig::TransferCompound(transfer))),
        ("buffered", of_cell(CellConfig::BufferedTransferCompound(buffered))),
        ("chopped", of_cell(CellConfig::ChoppedTransferCompound(chopped))),
        ("dynamic", of_cell(CellConfig::DynamicTransferCompound(dynamic))),
        ("mixed", of_cell(CellConfig::MixedPrecisionCompound(mixed))),
    ]
}

/// All kinds, by name.
pub fn all() -> Vec<(&'static str, AnyConfig)> {
    let tile = |name| TileConfig {
        device: busy(name),
        forward: lines(),
        backward: lines(),
        ..TileConfig::default()
    };
    let mut found: Vec<_> = DeviceConfig::names()
        .into_iter()
        .map(|name| (name, AnyConfig::Devices(tile(name))))
        .collect();
    let with_update = |pulse_type| {
        let update = UpdateParameters { pulse_type, ..UpdateParameters::default() };
        AnyConfig::Devices(TileConfig { update, ..tile("SoftBounds") })
    };
    found.push(("exact", with_update(PulseType::NoneWithDevice)));
    found.push(("without_devices", with_update(PulseType::None)));
    found.extend(cells());
    found
}
