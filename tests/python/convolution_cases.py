"""Arguments of convolutions that tests draw, and the layers by their number of axes."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from torch import nn

from mho.nn import (
    AnalogConv1d,
    AnalogConv1dMapped,
    AnalogConv2d,
    AnalogConv2dMapped,
    AnalogConv3d,
    AnalogConv3dMapped,
)

PLAIN: dict[int, Any] = {1: AnalogConv1d, 2: AnalogConv2d, 3: AnalogConv3d}
MAPPED: dict[int, Any] = {1: AnalogConv1dMapped, 2: AnalogConv2dMapped, 3: AnalogConv3dMapped}
DIGITAL: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class Case:
    """Arguments of a convolution and the shape of its input."""

    rank: int
    arguments: dict[str, Any]
    shape: tuple[int, ...]


@st.composite
def cases(draw: Any) -> Case:
    """Draw arguments that torch takes."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))

    def sizes(low: int, high: int) -> Any:
        """One size, or one for each axis."""
        one = st.integers(low, high)
        return draw(st.one_of(one, st.tuples(*[one] * rank)))

    def each(value: Any) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * rank

    kernel, dilation = sizes(1, 3), sizes(1, 2)
    padding: Any = draw(st.sampled_from(["same", "valid", None, None]))
    stride = 1 if padding == "same" else sizes(1, 3)
    padding = sizes(0, 2) if padding is None else padding
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    # Large enough for every kernel and for every mode of padding.
    image = [draw(st.integers(5, 7 if rank == 3 else 9)) for _ in range(rank)]
    channels = groups * draw(st.integers(1, 3))
    batch = draw(st.sampled_from([(), (1,), (2,), (3,)]))
    arguments = {
        "in_channels": channels,
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": mode,
    }
    assert all(d * (k - 1) < 5 for k, d in zip(each(kernel), each(dilation), strict=True))
    return Case(rank, arguments, (*batch, channels, *image))
