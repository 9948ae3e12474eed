"""The cloud client of aihwkit; out of scope of this package."""

raise ImportError(
    "mho.cloud: the cloud client and the no-code composer are out of scope of mho;"
    " run the model locally"
)
