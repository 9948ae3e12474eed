"""Names of the entries of a saved tile."""


class AnalogTileStateNames:
    """Names of the entries of a saved tile, without the prefix of the module."""

    VERSION = "aihwkit_version"
    MHO_VERSION = "mho_version"
    WEIGHTS = "analog_tile_weights"
    HIDDEN = "analog_tile_hidden"
    CELL = "analog_tile_cell"
    DRIFT = "analog_tile_drift"
    COUNTS = "analog_tile_pulse_counters"
    HIDDEN_PARAMETERS = "analog_tile_hidden_parameters"
    HIDDEN_PARAMETER_NAMES = "analog_tile_hidden_parameter_names"
    FORWARD_LINES = "analog_tile_forward"
    BACKWARD_LINES = "analog_tile_backward"
    SEED = "analog_tile_seed"
    CALLS = "analog_tile_calls"
    CONFIG = "analog_tile_config"
    CLASS = "analog_tile_class"
    LR = "analog_lr"
    SHARED_WEIGHTS = "shared_weights"
    CONTEXT = "analog_ctx"
    OUT_SCALING = "out_scaling_alpha"
    MAPPING_SCALES = "mapping_scales"
    RPU_CONFIG = "rpu_config"
    ANALOG_STATE_PREFIX = "analog_tile_state_"
    ANALOG_STATE_NAME = "analog_tile_state"
    EXTRA = "state_extra"

    @staticmethod
    def get_field_names() -> list[str]:
        """Return all names."""
        return [v for k, v in vars(AnalogTileStateNames).items() if k.isupper()]


PERSISTENT = "persistent_weights"
"""Hidden parameter with the weights under the write noise."""
