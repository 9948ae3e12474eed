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
    IoParameters::default().with(|p| {
        p.noise_management = NoiseManagement::AverageAbsMax;
        p.out_noise_std = 0.2;
        p.v_offset_std = 0.1;
        p.out_nonlinearity = 0.05;
        p.out_nonlinearity_std = 0.2;
        p.r_series = 0.01;
        p.w_read_asymmetry_dtod = 0.1;
    })
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
        pulsed.drift = DriftParameters::default().with(|p| {
            p.nu = 0.1;
            p.nu_dtod = 0.1;
        });
    }
    if let DeviceConfig::SoftBounds(soft) = &mut device {
        soft.write_noise_std = 0.3;
    }
    device
}

/// A device of a cell, which count no pulses.
fn soft(write_noise_std: f64) -> Crosspoint {
    let mut soft = SoftBounds::default().with(|p| p.write_noise_std = write_noise_std);
    soft.pulsed.dw_min = 0.01;
    soft.pulsed.diffusion = 0.003;
    soft.pulsed.lifetime = 50.0;
    soft.pulsed.drift.nu = 0.1;
    DeviceConfig::SoftBounds(soft).into()
}

fn of_cell(device: CellConfig) -> AnyConfig {
    AnyConfig::Cells(CellTileConfig::new(device).with(|p| {
        p.forward = lines();
        p.backward = lines();
    }))
}

fn cells() -> Vec<(&'static str, AnyConfig)> {
    let two = || vec![soft(0.3), soft(0.0)];
    let pair = || {
        OneSidedUnitCell::default().with(|p| {
            p.unit_cell_devices = vec![soft(0.0), soft(0.0)];
            p.refresh_every = 2;
            p.refresh_upper_thres = 0.05;
            p.refresh_lower_thres = 0.01;
        })
    };
    let vector = VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![soft(0.0), soft(0.3), soft(0.0)];
        p.update_policy = VectorUnitCellUpdatePolicy::SingleRandom;
    });
    let inner: Crosspoint = CellConfig::OneSidedUnitCell(pair()).into();
    let nested = VectorUnitCell::default().with(|p| p.unit_cell_devices = vec![inner, soft(0.3)]);
    let reference = ReferenceUnitCell::default().with(|p| p.unit_cell_devices = two());
    let transfer = TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![soft(0.3), soft(0.0), soft(0.0)];
        p.gamma = 0.5;
        p.units_in_mbatch = false;
        p.transfer_forward = IoParameters::default().with(|p| {
            p.noise_management = NoiseManagement::None;
            p.out_noise_std = 0.1;
            p.v_offset_std = 0.05;
        });
    });
    let buffered = BufferedTransferCompound::default().with(|p| p.unit_cell_devices = two());
    let chopped = ChoppedTransferCompound::default().with(|p| {
        p.unit_cell_devices = two();
        p.auto_scale = true;
        p.in_chop_prob = 0.4;
        p.out_chop_prob = 0.3;
    });
    let dynamic = DynamicTransferCompound::default().with(|p| {
        p.unit_cell_devices = two();
        p.auto_scale = true;
        p.in_chop_prob = 0.4;
    });
    let mixed = MixedPrecisionCompound::default().with(|p| p.device = soft(0.3));
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
    let tile = |name| {
        TileConfig::default().with(|p| {
            p.device = busy(name);
            p.forward = lines();
            p.backward = lines();
        })
    };
    let mut found: Vec<_> = DeviceConfig::names()
        .into_iter()
        .map(|name| (name, AnyConfig::Devices(tile(name))))
        .collect();
    let with_update = |pulse_type| {
        let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
        AnyConfig::Devices(tile("SoftBounds").with(|p| p.update = update))
    };
    found.push(("exact", with_update(PulseType::NoneWithDevice)));
    found.push(("without_devices", with_update(PulseType::None)));
    found.extend(cells());
    found
}
