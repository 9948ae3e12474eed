//! Names of the entries of a saved tile, the same as in Python.

/// Raw weights, `[d_size, x_size]`.
pub const WEIGHTS: &str = "analog_tile_weights";
/// Seed, `[1]`.
pub const SEED: &str = "analog_tile_seed";
/// Number of calls so far, `[1]`.
pub const CALLS: &str = "analog_tile_calls";
/// Pulses down and up, `[2, d_size, x_size]`.
pub const COUNTS: &str = "analog_tile_pulse_counters";
/// Group of the hidden parameters, weights and buffers of devices, `[d_size, x_size]` each.
pub const HIDDEN: &str = "analog_tile_hidden";
/// Group of what a cell has beside matrices.
pub const CELL: &str = "analog_tile_cell";
/// Group of what drift remembers.
pub const DRIFT: &str = "analog_tile_drift";
/// Group of the frozen values of the product.
pub const FORWARD: &str = "analog_tile_forward";
/// Group of the frozen values of the transposed product.
pub const BACKWARD: &str = "analog_tile_backward";
/// Class, configuration and learning rate, as JSON text in UTF-8.
pub const CONFIG: &str = "analog_tile_config";

/// What a device that drifts remembers, without the ending of its names.
pub(super) mod drift {
    pub const CLOCK: &str = "current_t";
    pub const START: &str = "t";
    pub const WRITTEN: &str = "w0";
    pub const PREVIOUS: &str = "previous_weights";
}

/// Groups of tiles whose devices or rules are Python code, which no other program can run.
pub(super) const OF_PYTHON: [&str; 3] =
    ["analog_tile_device", "analog_tile_devices", "analog_tile_rule"];

/// Name of an entry of a group.
pub(crate) fn in_group(group: &str, name: &str) -> String {
    format!("{group}.{name}")
}
