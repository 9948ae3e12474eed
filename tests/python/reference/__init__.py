"""Unit cells in NumPy, one sample after another, as the papers and the standard define them.

A transcription to compare the core with: no stream, no batch, no speed. Devices have constant
steps and no variability, products are perfect, and updates are such that no draw decides about a
pulse. Then every weight, buffer and counter is determined, and a tile of the core must have the
same, up to the rounding of single precision.

Choices that are random all the same (a policy, choppers, resets) take their draws from a generator
of NumPy: such trajectories agree in distribution only.

Weights and buffers have single precision, and their operations the order in which they are written.
Scalars (rates, periods, scales of a buffer) are computed with double precision and rounded once,
where they meet an array.
"""
