//! Building blocks of the training presets: what an algorithm makes of a device.

use super::devices::pcm_device;
use super::parameters::{preset_io_parameters, preset_update_parameters};
use crate::config::{BoundManagement, IoParameters, NoiseManagement, TileConfig, UpdateParameters};
use crate::devices::DeviceConfig;
use crate::unit_cells::{
    CellConfig, CellTileConfig, ChoppedTransferCompound, Crosspoint, DynamicTransferCompound,
    MixedPrecisionCompound, OneSidedUnitCell, TransferCompound, VectorUnitCell,
    VectorUnitCellUpdatePolicy,
};

/// What transfers through a digital buffer differ in.
pub(super) struct Buffered {
    /// Learning rate of the fast device.
    pub(super) fast_lr: f64,
    /// Updates that fill the buffer up to one pulse.
    pub(super) auto_granularity: f64,
    /// Probability, or frequency, of a flip of the sign of an input.
    pub(super) in_chop_prob: f64,
}

/// A tile of devices.
pub(super) fn single(device: DeviceConfig, desired_bl: i64) -> TileConfig {
    TileConfig {
        device,
        forward: preset_io_parameters(),
        backward: preset_io_parameters(),
        update: UpdateParameters { desired_bl, ..preset_update_parameters() },
    }
}

/// A tile of cells.
pub(super) fn cells(device: CellConfig, desired_bl: i64) -> CellTileConfig {
    CellTileConfig {
        device,
        forward: preset_io_parameters(),
        backward: preset_io_parameters(),
        update: UpdateParameters { desired_bl, ..preset_update_parameters() },
    }
}

/// Pair of phase-change memories, one for increases and one for decreases.
///
/// Saturation is checked, and the pair refreshed, after every mini-batch (Nandakumar et al., Front.
/// Neurosci. 14:406, 2020).
#[must_use]
pub fn pcm_unit_cell() -> CellConfig {
    CellConfig::OneSidedUnitCell(OneSidedUnitCell {
        unit_cell_devices: vec![pcm_device().into(), pcm_device().into()],
        refresh_every: 1,
        refresh_forward: preset_io_parameters(),
        refresh_update: preset_update_parameters(),
        ..OneSidedUnitCell::default()
    })
}

/// Cells in which each update reaches one of several devices at random.
pub(super) fn vector(device: &DeviceConfig, n_devices: usize) -> CellConfig {
    CellConfig::VectorUnitCell(VectorUnitCell {
        unit_cell_devices: vec![device.clone().into(); n_devices],
        update_policy: VectorUnitCellUpdatePolicy::SingleRandom,
        ..VectorUnitCell::default()
    })
}

/// Cells for Tiki-Taka (Gokmen and Haensch, Front. Neurosci. 14:103, 2020).
pub(super) fn tiki_taka(device: DeviceConfig) -> CellConfig {
    CellConfig::TransferCompound(TransferCompound {
        unit_cell_devices: pair(device),
        transfer_forward: unmanaged_io(),
        transfer_update: preset_update_parameters(),
        ..TransferCompound::default()
    })
}

/// Cells for Tiki-Taka with a digital buffer, without choppers (version 2: Gokmen, Front. Artif. Intell.
/// 4:699148, 2021) or with them (chopped version 2: Rasch et al., Nat. Commun. 15, 2024).
pub(super) fn ttv2(device: DeviceConfig, rates: Buffered) -> CellConfig {
    let Buffered { fast_lr, auto_granularity, in_chop_prob } = rates;
    CellConfig::ChoppedTransferCompound(ChoppedTransferCompound {
        unit_cell_devices: pair(device),
        transfer_forward: unmanaged_io(),
        transfer_update: single_pulse(),
        auto_scale: true,
        fast_lr,
        auto_granularity,
        in_chop_prob,
        ..ChoppedTransferCompound::default()
    })
}

/// Cells for AGAD (Rasch et al., Nat. Commun. 15, 2024). `tail_weightening` is how much the mean readout
/// favours the end of a chopper period.
pub(super) fn agad(device: DeviceConfig, rates: Buffered, tail_weightening: f64) -> CellConfig {
    let Buffered { fast_lr, auto_granularity, in_chop_prob } = rates;
    CellConfig::DynamicTransferCompound(DynamicTransferCompound {
        unit_cell_devices: pair(device),
        transfer_forward: unmanaged_io(),
        transfer_update: single_pulse(),
        auto_scale: true,
        fast_lr,
        auto_granularity,
        in_chop_prob,
        tail_weightening,
        ..DynamicTransferCompound::default()
    })
}

/// Cells with a digital accumulator (Nandakumar et al., Front. Neurosci. 14:406, 2020).
pub(super) fn mixed_precision(device: impl Into<Crosspoint>) -> CellConfig {
    let device = device.into();
    CellConfig::MixedPrecisionCompound(MixedPrecisionCompound {
        device,
        ..MixedPrecisionCompound::default()
    })
}

/// A device whose symmetry point reads as zero: transfers drive the fast device there.
pub(super) fn centred(device: DeviceConfig) -> DeviceConfig {
    match device {
        DeviceConfig::SoftBoundsReference(mut device) => {
            device.subtract_symmetry_point = true;
            DeviceConfig::SoftBoundsReference(device)
        }
        other => other,
    }
}

/// A fast and a slow device.
fn pair(device: DeviceConfig) -> Vec<Crosspoint> {
    vec![device.clone().into(), device.into()]
}

/// Transfers ignore both kinds of management; switching them off here says so.
fn unmanaged_io() -> IoParameters {
    IoParameters {
        bound_management: BoundManagement::None,
        noise_management: NoiseManagement::None,
        ..preset_io_parameters()
    }
}

/// One pulse per transferred element.
fn single_pulse() -> UpdateParameters {
    UpdateParameters {
        desired_bl: 1,
        update_bl_management: false,
        update_management: false,
        ..preset_update_parameters()
    }
}
