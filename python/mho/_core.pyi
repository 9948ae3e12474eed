"""Types of the extension module."""

from collections.abc import Sequence
from typing import final

from torch import Tensor

__all__ = [
    "GpuTile",
    "Patches",
    "TileSpec",
    "WeightModifier",
    "__version__",
    "all_finite",
    "backward_grid",
    "check_hidden",
    "check_state",
    "clip_to_bounds",
    "clip_weights",
    "decay",
    "default_config",
    "device_names",
    "diffuse",
    "drift",
    "enter_bounds",
    "enter_range",
    "forward",
    "forward_grid",
    "get_num_threads",
    "gpu_adapters",
    "gpu_check",
    "gpu_open",
    "gpu_synchronize",
    "join_openmp",
    "modify_weights",
    "mvm",
    "next_call",
    "panic_in_next_update",
    "pulse_counts",
    "pulse_noise",
    "reset_columns",
    "scale_and_offset",
    "set_num_threads",
    "thread_team",
    "unexpected_dw_min",
    "uniform_weights",
    "update",
]

__version__: str

@final
class TileSpec:
    """Parsed and validated configuration of one tile with its sizes; immutable.

    `x_size` counts all columns of the weights, with that of an analog bias.
    """

    def __new__(
        cls,
        config: str,
        d_size: int,
        x_size: int,
        analog_bias: bool = False,
        dw_min: float | list[float] | None = None,
    ) -> TileSpec: ...
    @property
    def config(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def is_pulsed(self) -> bool: ...
    @property
    def x_size(self) -> int: ...
    @property
    def d_size(self) -> int: ...
    @property
    def weight_granularity(self) -> float: ...
    @property
    def is_cell(self) -> bool: ...
    @property
    def flows(self) -> bool: ...
    @property
    def drifting(self) -> list[str]: ...
    @property
    def counts_pulses(self) -> bool: ...
    @property
    def hidden_names(self) -> list[str]: ...
    @property
    def visible_name(self) -> str | None: ...
    @property
    def weight_names(self) -> list[str]: ...
    @property
    def cell_entries(self) -> list[tuple[str, str, int]]: ...
    @property
    def choices(self) -> int | None: ...
    def hidden_constant(self, name: str) -> float | None: ...
    def construct(self, seed: int) -> dict[str, float | bytearray]: ...
    def line_names(self, backward: bool) -> list[str]: ...
    def construct_into(self, seed: int, weight: Tensor, hidden: dict[str, Tensor]) -> None: ...
    def construct_lines(self, backward: bool, seed: int) -> dict[str, bytearray]: ...

@final
class Patches:
    """Where the patches of a convolution lie in images of one size, with zeros around them.

    An axis is a tuple of size, kernel, stride, dilation, zeros before and zeros behind.
    """

    def __new__(cls, channels: int, axes: list[tuple[int, int, int, int, int, int]]) -> Patches: ...
    @property
    def positions(self) -> int: ...
    @property
    def width(self) -> int: ...
    def unfold(self, images: Tensor, first: int, width: int) -> Tensor:
        """Return patches as rows, with ``width`` elements from ``first`` on of each."""

@final
class WeightModifier:
    """Parsed and validated change of weights in hardware-aware training; immutable."""

    def __new__(cls, config: str) -> WeightModifier: ...
    @property
    def config(self) -> str: ...
    @property
    def acts(self) -> bool: ...

@final
class GpuTile:
    """Tile in the memory of a graphics processor; copies from and to tensors of the host."""

    def __new__(cls, spec: TileSpec, adapter: str | None = None) -> GpuTile: ...
    @property
    def adapter(self) -> tuple[str, str, str, str]: ...
    def write_weights(self, weight: Tensor) -> None: ...
    def read_weights(self, weight: Tensor) -> None: ...
    def write_hidden(self, hidden: dict[str, Tensor]) -> None: ...
    def write_persistent(self, persistent: Tensor) -> None: ...
    def read_persistent(self, persistent: Tensor) -> None: ...
    def write_cells(self, state: tuple[Tensor, dict[str, Tensor]]) -> None: ...
    def read_cells(self, state: tuple[Tensor, dict[str, Tensor]]) -> None: ...
    def write_cell_parameters(self, state: tuple[Tensor, dict[str, Tensor]]) -> None: ...
    def write_lines(self, backward: bool, lines: dict[str, Tensor]) -> None: ...
    def mvm(
        self,
        backward: bool,
        x: Tensor,
        y: Tensor,
        seed: Tensor,
        call: int,
        is_test: bool,
        bias: float | None = None,
        lines: dict[str, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> None: ...
    def update(
        self,
        x: Tensor,
        d: Tensor,
        learning_rate: float,
        seed: Tensor,
        calls: Tensor,
        bias: float | None = None,
        counts: Tensor | None = None,
        state: tuple[Tensor, dict[str, Tensor]] | None = None,
    ) -> None: ...
    def decay(
        self,
        alpha: float,
        seed: Tensor,
        calls: Tensor,
        state: tuple[Tensor, dict[str, Tensor]] | None = None,
    ) -> None: ...
    def diffuse(
        self, seed: Tensor, calls: Tensor, state: tuple[Tensor, dict[str, Tensor]] | None = None
    ) -> None: ...
    def reset_columns(
        self,
        start: int,
        count: int,
        probability: float,
        seed: Tensor,
        calls: Tensor,
        state: tuple[Tensor, dict[str, Tensor]] | None = None,
    ) -> None: ...
    def clip_weights(
        self,
        value: float,
        seed: Tensor,
        calls: Tensor,
        state: tuple[Tensor, dict[str, Tensor]] | None = None,
    ) -> None: ...
    def destroy_device(self) -> None:
        """Test hook: destroy the device as a driver that crashed would."""

def gpu_adapters() -> list[tuple[str, str, str, str]]:
    """Name, kind, driver and programming interface of all adapters, best first."""

def gpu_open(adapter: str | None = None) -> tuple[str, str, str, str]:
    """Open an adapter and describe it as `gpu_adapters` does."""

def gpu_check(spec: TileSpec) -> None:
    """Refuse what tiles on a graphics processor cannot do."""

def gpu_synchronize() -> None:
    """Wait for all work on all opened adapters."""

def next_call(calls: Tensor) -> int:
    """Atomically advance the call counter (int64[1]) and return the number of this call.

    Functions that change weights and take ``calls`` do so themselves: their change and the number
    of the call count together, or neither does.
    """

def forward(
    spec: TileSpec,
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    calls: Tensor,
    is_test: bool,
    bias: float | None = None,
    lines: dict[str, Tensor] | None = None,
    want_mask: bool = False,
    factors: tuple[Tensor, ...] | None = None,
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, int]:
    """Number a call; return its outputs, times the factors and plus the offset, which are clipped
    (uint8) if that is wanted and any is, and its number."""

def enter_range(x: Tensor, range: float) -> Tensor:
    """Return inputs clipped to the range and divided by it."""

def scale_and_offset(
    y: Tensor, width: int, factors: tuple[Tensor, ...] | None = None, offset: Tensor | None = None
) -> None:
    """Scale and offset rows of ``width`` outputs, in place."""

def mvm(
    spec: TileSpec,
    backward: bool,
    x: Tensor,
    weight: Tensor,
    y: Tensor,
    seed: Tensor,
    call: int,
    is_test: bool,
    bias: float | None = None,
    lines: dict[str, Tensor] | None = None,
    mask: Tensor | None = None,
) -> None:
    """Write the analog product of ``x`` into ``y``; 2-D, batch first, contiguous float32."""

_GridTile = tuple[
    TileSpec,
    Tensor,
    int,
    Tensor,
    Tensor,
    Tensor | int,
    dict[str, Tensor] | None,
    Tensor | None,
    tuple[Tensor, ...] | None,
]

def forward_grid(
    parts: list[list[_GridTile]],
    samples: int,
    is_test: bool,
    offset: Tensor | None = None,
    groups: int = 1,
    patches: Patches | None = None,
) -> tuple[Tensor, list[int]]:
    """Number a call of each tile of a layer; return the outputs of all, and the numbers.

    The outputs of one part stand side by side, those of the parts of a group are summed in their
    order, those of groups stand side by side, and the offset is added at last. A tile is a tuple of
    specification, inputs ``[samples, columns]``, the first column that it takes, weights, seed,
    calls, lines, mask and factors. With patches inputs are images, columns elements of a patch, and
    outputs and masks ``[images, outputs, positions]``.
    """

def backward_grid(
    parts: list[list[_GridTile]],
    samples: int,
    is_test: bool,
    groups: int = 1,
    patches: Patches | None = None,
) -> Tensor:
    """Return transposed products in the same way; tiles have the number of their call.

    With patches inputs are ``[images, outputs, positions]``, and the products are added up in
    images ``[images, elements]``.
    """

def all_finite(*values: Tensor) -> bool:
    """Return whether no value of a contiguous float32 tensor is NaN or infinite."""

def update(
    spec: TileSpec,
    weight: Tensor,
    hidden: dict[str, Tensor],
    x: Tensor,
    d: Tensor,
    learning_rate: float,
    seed: Tensor,
    calls: Tensor,
    bias: float | None = None,
    counts: Tensor | None = None,
) -> None:
    """Apply the update of all samples in order, in place; on any error nothing is changed."""

def pulse_counts(
    spec: TileSpec,
    x: Tensor,
    d: Tensor,
    learning_rate: float,
    seed: Tensor,
    call: int,
    at: int,
    counts: Tensor,
    bias: float | None = None,
) -> None:
    """Write the pulses of sample ``at`` into ``counts`` (int64, as the weights); up is positive."""

def pulse_noise(out: Tensor, columns: int, seed: Tensor, call: int, index: int) -> None:
    """Fill rows of ``columns`` elements with standard normals number ``index`` of a call."""

def clip_to_bounds(
    spec: TileSpec, weight: Tensor, hidden: dict[str, Tensor], seed: Tensor, calls: Tensor
) -> None:
    """Bring freshly written weights into the device bounds (and redraw write noise)."""

def enter_bounds(spec: TileSpec, weight: Tensor, hidden: dict[str, Tensor]) -> None:
    """Bring the (persistent) weights into device bounds that were changed."""

def check_hidden(spec: TileSpec, hidden: dict[str, Tensor]) -> None:
    """Raise for hidden parameters that are missing, unknown, not finite or crossed bounds."""

def check_state(spec: TileSpec, weight: Tensor, hidden: dict[str, Tensor]) -> None:
    """Raise for the state of a cell that cannot be used: entries missing, or counters outside."""

def unexpected_dw_min(spec: TileSpec, hidden: dict[str, Tensor]) -> float | list[float] | None:
    """Return the ``dw_min`` that hidden parameters show, if the configuration has another one.

    For a cell it is a list with that of each device.
    """

def drift(
    spec: TileSpec,
    weight: Tensor,
    hidden: dict[str, Tensor],
    state: dict[str, Tensor],
    delta_t: float,
    seed: Tensor,
    calls: Tensor,
) -> None:
    """Drift for ``delta_t``; ``state`` is what drift remembers, changed in place."""

def decay(
    spec: TileSpec,
    weight: Tensor,
    hidden: dict[str, Tensor],
    alpha: float,
    seed: Tensor,
    calls: Tensor,
) -> None: ...
def diffuse(
    spec: TileSpec, weight: Tensor, hidden: dict[str, Tensor], seed: Tensor, calls: Tensor
) -> None: ...
def reset_columns(
    spec: TileSpec,
    weight: Tensor,
    hidden: dict[str, Tensor],
    start: int,
    count: int,
    probability: float,
    seed: Tensor,
    calls: Tensor,
) -> None: ...
def clip_weights(
    spec: TileSpec,
    weight: Tensor,
    hidden: dict[str, Tensor],
    value: float,
    seed: Tensor,
    calls: Tensor,
) -> None: ...
def modify_weights(
    spec: TileSpec,
    modifier: WeightModifier,
    weight: Tensor,
    modified: Tensor,
    seed: Tensor,
    calls: Tensor,
) -> None:
    """Write what a modifier makes of the weights of a tile, as a call of its own."""

def uniform_weights(weight: Tensor, low: float, high: float, seed: Tensor, calls: Tensor) -> None:
    """Fill with uniform draws in [low, high)."""

def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def join_openmp(path: str) -> bool: ...
def thread_team() -> tuple[str, int]: ...
def default_config(device: str) -> str:
    """JSON of the default tile configuration with the named device."""

def device_names() -> Sequence[str]: ...
def panic_in_next_update() -> None:
    """Test hook: make a kernel of the next update panic half-way."""
