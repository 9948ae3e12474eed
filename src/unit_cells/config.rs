//! Configuration of what can stand at a crosspoint: one device, or a cell of several.
//!
//! Names and defaults are those of the Python dataclasses. Cells hold crosspoints, so all of them are in
//! one file. What values are possible is said where the rule of the cell is.

use serde::de::Error as _;
use serde::de::value::MapDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::config::{IoParameters, UpdateParameters, params};
use crate::devices::DeviceConfig;

/// Configuration of a crosspoint. In JSON both kinds are `{"type": .., "params": ..}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Crosspoint {
    /// One device.
    Device(Box<DeviceConfig>),
    /// Several.
    Cell(Box<CellConfig>),
}

impl From<DeviceConfig> for Crosspoint {
    fn from(device: DeviceConfig) -> Self {
        Self::Device(Box::new(device))
    }
}

impl From<CellConfig> for Crosspoint {
    fn from(cell: CellConfig) -> Self {
        Self::Cell(Box::new(cell))
    }
}

/// Reads the tag first, for of an untagged enum nobody learns which field is wrong.
impl<'de> Deserialize<'de> for Crosspoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let Value::Object(fields) = Value::deserialize(deserializer)? else {
            return Err(D::Error::custom("expected a device or a cell, with type and params"));
        };
        let tag = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
        // Behind the tag, parameters are read as they are, and errors know where.
        fields.sort_by_key(|(name, _)| name != "type");
        let fields = MapDeserializer::<_, serde_json::Error>::new(fields.into_iter());
        let read = if CellConfig::NAMES.contains(&&*tag) {
            serde_path_to_error::deserialize(fields).map(|cell| Self::Cell(Box::new(cell)))
        } else {
            serde_path_to_error::deserialize(fields).map(|device| Self::Device(Box::new(device)))
        };
        read.map_err(|error| match error.path().to_string().as_str() {
            "." => D::Error::custom(error.inner()),
            path => D::Error::custom(format!("{path}: {}", error.inner())),
        })
    }
}

macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Configuration of a cell of several devices.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "params", deny_unknown_fields)]
        #[non_exhaustive]
        pub enum CellConfig {
            $($(#[$doc])* $name($name),)*
        }

        impl CellConfig {
            /// Tags of all cells: the names of the Python classes.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The tag of this cell.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }

            /// The seed of the variations between devices; 0 takes that of the tile.
            #[must_use]
            pub fn construction_seed(&self) -> i64 {
                match self {
                    $(Self::$name(cell) => cell.construction_seed,)*
                }
            }
        }
    };
}

cells! {
    /// Devices that are read together.
    VectorUnitCell,
    /// A device and a reference that gets no pulses.
    ReferenceUnitCell,
    /// Two devices that are pulsed upwards only.
    OneSidedUnitCell,
    /// Tiki-Taka.
    TransferCompound,
    /// Tiki-Taka with a digital buffer.
    BufferedTransferCompound,
    /// Buffered Tiki-Taka with chopped signs.
    ChoppedTransferCompound,
    /// Chopped Tiki-Taka with a reference on the fly.
    DynamicTransferCompound,
    /// A device whose updates are collected digitally.
    MixedPrecisionCompound,
}

/// Which devices of a cell an update reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum VectorUnitCellUpdatePolicy {
    /// All of them.
    All,
    /// One, until another is chosen.
    SingleFixed,
    /// One after another, sample by sample.
    SingleSequential,
    /// A random one for each sample.
    SingleRandom,
}

params! {
    /// Cell whose weight is a weighted sum of the weights of its devices.
    pub struct VectorUnitCell {
        /// Devices of the cell, in order.
        unit_cell_devices: Vec<Crosspoint> = Vec::new();
        /// Seed of the variations between devices; 0 takes that of the tile.
        construction_seed: i64 = 0;
        /// Which devices an update reaches.
        update_policy: VectorUnitCellUpdatePolicy = VectorUnitCellUpdatePolicy::All;
        /// Device that policies of a single one start from.
        first_update_idx: i64 = 0;
        /// Weight of each device in the sum; empty gives all the same and the sum 1.
        gamma_vec: Vec<f64> = Vec::new();
    }
}

params! {
    /// Cell whose weight is that of the first device minus that of the second, which gets no pulses. A
    /// single device is used for both, devices beyond the second are ignored.
    pub struct ReferenceUnitCell {
        /// Devices of the cell, in order.
        unit_cell_devices: Vec<Crosspoint> = Vec::new();
        /// Seed of the variations between devices; 0 takes that of the tile.
        construction_seed: i64 = 0;
        /// Which devices an update reaches.
        update_policy: VectorUnitCellUpdatePolicy = VectorUnitCellUpdatePolicy::SingleFixed;
        /// The updated device.
        first_update_idx: i64 = 0;
        /// Weight of each device in the sum.
        gamma_vec: Vec<f64> = vec![1.0, -1.0];
    }
}

params! {
    /// Cell with one device for increases (the second) and one for decreases, refreshed when both
    /// saturate.
    pub struct OneSidedUnitCell {
        /// The two devices, or one that is used for both.
        unit_cell_devices: Vec<Crosspoint> = Vec::new();
        /// Seed of the variations between devices; 0 takes that of the tile.
        construction_seed: i64 = 0;
        /// Period of the check for saturation; 0 is never.
        refresh_every: i64 = 0;
        /// Count that period in mini-batches instead of samples.
        units_in_mbatch: bool = true;
        /// Fraction of `w_max` that the larger device must exceed.
        refresh_upper_thres: real = 0.75;
        /// Fraction of `w_max` that the smaller device must exceed.
        refresh_lower_thres: real = 0.25;
        /// How devices are read for a refresh.
        refresh_forward: IoParameters = IoParameters::default();
        /// How the difference is written back.
        refresh_update: UpdateParameters = UpdateParameters::default();
        /// Make the second device the mirror image of the first.
        copy_inverted: bool = false;
    }
}

params! {
    /// Cell with a digital accumulator (Nandakumar et al., Front. Neurosci. 14:406, 2020).
    pub struct MixedPrecisionCompound {
        /// Device that holds the weight.
        device: Crosspoint =
            CellConfig::VectorUnitCell(VectorUnitCell::default()).into();
        /// Seed of the variations between devices; 0 takes that of the tile.
        construction_seed: i64 = 0;
        /// Period of the writes, in mini-batches; 0 is never.
        transfer_every: i64 = 1;
        /// Rows per write; negative is all.
        n_rows_per_transfer: i64 = -1;
        /// Start each write at a random row.
        random_row: bool = false;
        /// Accumulated change that becomes one pulse; 0 takes the step of the device.
        granularity: real = 0.0;
        /// Factor on the writes.
        transfer_lr: real = 1.0;
        /// Levels that inputs are quantised to; 0 is off.
        n_x_bins: i64 = 0;
        /// Levels that errors are quantised to; 0 is off.
        n_d_bins: i64 = 0;
        /// Round inputs stochastically.
        stoc_round_x: bool = true;
        /// Round errors stochastically.
        stoc_round_d: bool = true;
    }
}

/// What the cells of the Tiki-Taka family have in common.
#[derive(Debug)]
pub(super) struct Common<'a> {
    pub(super) unit_cell_devices: &'a [Crosspoint],
    pub(super) gamma: f64,
    pub(super) gamma_vec: &'a [f64],
    pub(super) transfer_every: f64,
    pub(super) no_self_transfer: bool,
    pub(super) transfer_every_vec: &'a [f64],
    pub(super) units_in_mbatch: bool,
    pub(super) n_reads_per_transfer: i64,
    pub(super) transfer_columns: bool,
    pub(super) with_reset_prob: f64,
    pub(super) random_selection: bool,
    pub(super) fast_lr: f64,
    pub(super) transfer_lr: f64,
    pub(super) transfer_lr_vec: &'a [f64],
    pub(super) scale_transfer_lr: bool,
    pub(super) scale_fast_lr: bool,
    pub(super) transfer_forward: &'a IoParameters,
    pub(super) transfer_update: &'a UpdateParameters,
}

macro_rules! transfer {
    (
        $(#[$doc:meta])* pub struct $name:ident {
            units_in_mbatch = $units:expr;
            scale_fast_lr = $scale:expr;
            transfer_update = $update:expr;
            $($own:tt)*
        }
    ) => {
        params! {
            $(#[$doc])*
            pub struct $name {
                /// Devices of the cell, in order: the fast one, then the slow ones, which are copies of
                /// the second.
                unit_cell_devices: Vec<Crosspoint> = Vec::new();
                /// Seed of the variations between devices; 0 takes that of the tile.
                construction_seed: i64 = 0;
                /// Device `k` of `n` has the weight `gamma^(n - 1 - k)`; 0 hides all but the last.
                gamma: real = 0.0;
                /// Weight of each device, instead of `gamma`.
                gamma_vec: Vec<f64> = Vec::new();
                /// Period of the transfer from the first device; 0 is never.
                transfer_every: real = 1.0;
                /// Switch the transfer from the last device off.
                no_self_transfer: bool = true;
                /// Period for each device, instead of `transfer_every`.
                transfer_every_vec: Vec<f64> = Vec::new();
                /// Count periods in mini-batches instead of samples.
                units_in_mbatch: bool = $units;
                /// Columns or rows per transfer; at most all.
                n_reads_per_transfer: i64 = 1;
                /// Transfer columns instead of rows.
                transfer_columns: bool = true;
                /// Probability that a transferred column is reset.
                with_reset_prob: real = 0.0;
                /// Start each transfer at a random column or row.
                random_selection: bool = false;
                /// Learning rate of the first device; 0 or less takes that of the optimizer.
                fast_lr: real = 1.0;
                /// Learning rate of the transfer.
                transfer_lr: real = 1.0;
                /// Learning rate of the transfer from each device, instead of `transfer_lr`.
                transfer_lr_vec: Vec<f64> = Vec::new();
                /// Multiply `transfer_lr` by the learning rate of the optimizer.
                scale_transfer_lr: bool = true;
                /// Multiply `fast_lr` by the learning rate of the optimizer.
                scale_fast_lr: bool = $scale;
                /// How columns or rows are read; noise and bound management do not act.
                transfer_forward: IoParameters = IoParameters::default();
                /// How they are written.
                transfer_update: UpdateParameters = $update;
                $($own)*
            }
        }

        impl $name {
            pub(super) fn common(&self) -> Common<'_> {
                Common {
                    unit_cell_devices: &self.unit_cell_devices,
                    gamma: self.gamma,
                    gamma_vec: &self.gamma_vec,
                    transfer_every: self.transfer_every,
                    no_self_transfer: self.no_self_transfer,
                    transfer_every_vec: &self.transfer_every_vec,
                    units_in_mbatch: self.units_in_mbatch,
                    n_reads_per_transfer: self.n_reads_per_transfer,
                    transfer_columns: self.transfer_columns,
                    with_reset_prob: self.with_reset_prob,
                    random_selection: self.random_selection,
                    fast_lr: self.fast_lr,
                    transfer_lr: self.transfer_lr,
                    transfer_lr_vec: &self.transfer_lr_vec,
                    scale_transfer_lr: self.scale_transfer_lr,
                    scale_fast_lr: self.scale_fast_lr,
                    transfer_forward: &self.transfer_forward,
                    transfer_update: &self.transfer_update,
                }
            }
        }
    };
}

/// One pulse per transferred element.
fn single_pulse() -> UpdateParameters {
    UpdateParameters {
        desired_bl: 1,
        update_bl_management: false,
        update_management: false,
        ..UpdateParameters::default()
    }
}

transfer! {
    /// Cell that transfers from each device to the next: Tiki-Taka (Gokmen and Haensch, Front. Neurosci.
    /// 14:103, 2020).
    pub struct TransferCompound {
        units_in_mbatch = true;
        scale_fast_lr = true;
        transfer_update = UpdateParameters::default();
    }
}

transfer! {
    /// Cell that collects transfers digitally and writes them in whole pulses (Gokmen, Front. Artif.
    /// Intell. 4:699148, 2021).
    pub struct BufferedTransferCompound {
        units_in_mbatch = true;
        scale_fast_lr = true;
        transfer_update = single_pulse();
        /// Threshold of the buffer, in steps of the target device.
        thres_scale: real = 1.0;
        /// Size of a write, in steps of the target device.
        step: real = 1.0;
        /// Fraction of the buffer that stays after a write.
        momentum: real = 0.1;
        /// Apply `momentum` to the whole buffer instead of the written part.
        forget_buffer: bool = true;
    }
}

transfer! {
    /// Buffered transfer whose signs flip from time to time, so that offsets of the fast device average
    /// out (Rasch et al., Nat. Commun. 15, 2024).
    pub struct ChoppedTransferCompound {
        units_in_mbatch = false;
        scale_fast_lr = false;
        transfer_update = single_pulse();
        /// Probability or frequency of a flip of the sign of an input after its transfer; 0 is never.
        in_chop_prob: real = 0.1;
        /// Flip at random instead of regularly.
        in_chop_random: bool = true;
        /// Probability of a flip of the sign of each output after all inputs were transferred.
        out_chop_prob: real = 0.0;
        /// Threshold of the buffer, in steps of the fast device.
        buffer_granularity: real = 1.0;
        /// Scale the threshold so that this many updates cross it; 0 is off.
        auto_granularity: real = 0.0;
        /// Size of a write, in steps of the slow device.
        step: real = 1.0;
        /// Fraction of the buffer that stays after a write.
        momentum: real = 0.0;
        /// Apply `momentum` to the whole buffer instead of the written part.
        forget_buffer: bool = true;
        /// Forget the buffer before each transfer.
        no_buffer: bool = false;
        /// Scale `fast_lr` by the running averages of the largest input and error.
        auto_scale: bool = false;
        /// Weight of the past in those averages.
        auto_momentum: real = 0.99;
        /// Scale the buffer so that transfers have the size of the gradients.
        correct_gradient_magnitudes: bool = false;
    }
}

transfer! {
    /// Chopped transfer that subtracts the mean readout of the previous chopper period (Rasch et al.,
    /// Nat. Commun. 15, 2024).
    pub struct DynamicTransferCompound {
        units_in_mbatch = false;
        scale_fast_lr = false;
        transfer_update = single_pulse();
        /// Frequency of the flips of the sign of an input; must be positive.
        in_chop_prob: real = 0.1;
        /// Flip at random in addition to the regular flips.
        in_chop_random: bool = false;
        /// Not used.
        out_chop_prob: real = 0.0;
        /// Threshold of the buffer, in steps of the fast device.
        buffer_granularity: real = 1.0;
        /// Scale the threshold so that this many updates cross it; 0 is off.
        auto_granularity: real = 0.0;
        /// Size of a write, in steps of the slow device.
        step: real = 1.0;
        /// Fraction of the buffer that stays after a write.
        momentum: real = 0.0;
        /// Apply `momentum` to the whole buffer instead of the written part.
        forget_buffer: bool = true;
        /// Not used.
        no_buffer: bool = false;
        /// Scale `fast_lr` by the running averages of the largest input and error.
        auto_scale: bool = false;
        /// Weight of the past in those averages.
        auto_momentum: real = 0.99;
        /// Scale the buffer so that transfers have the size of the gradients.
        correct_gradient_magnitudes: bool = false;
        /// Divide the buffer by the number of transfers since the last flip.
        experimental_correct_accumulation: bool = false;
        /// Limit of the buffer that `forget_buffer = false` keeps, in multiples of the pulse train; 0 is
        /// none.
        buffer_cap: real = 0.0;
        /// How much the mean readout favours the end of a chopper period.
        tail_weightening: real = 5.0;
    }
}
