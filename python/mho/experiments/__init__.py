"""The experiments and runners of aihwkit; not available yet."""

raise ImportError(
    "mho.experiments: experiments and runners are not available in this version of mho; write the"
    " training loop with mho.optim.AnalogSGD"
)
