"""The fake-quantised digital layers of aihwkit; not available yet."""

raise ImportError(
    "mho.simulator.digital_low_precision: quantised digital layers are not available in this"
    " version of mho"
)
