"""Choices that parameters are made of; member names and values equal aihwkit's."""

from enum import Enum

import torch

from mho.documented import documented


@documented
class RPUDataType(Enum):
    """Floating-point type a tile computes in."""

    FLOAT = "float"
    """Numbers of 32 bits."""

    DOUBLE = "double"
    """Numbers of 64 bits."""

    HALF = "half"
    """Numbers of 16 bits."""

    def as_torch(self) -> torch.dtype:
        """Return the torch dtype of the same width."""
        return _TORCH_DTYPES[self]


_TORCH_DTYPES = {
    RPUDataType.FLOAT: torch.float32,
    RPUDataType.DOUBLE: torch.float64,
    RPUDataType.HALF: torch.float16,
}


@documented
class AnalogContextDataViewMode(Enum):
    """What `AnalogContext.data` shows of the weights of its tile."""

    PLACEHOLDER = "placeholder"
    """A single element of the right dtype and device."""

    DATA_VIEW = "data_view"
    """A read-only view of the weights."""

    BUFFER = "buffer"
    """The weights themselves, writable."""


@documented
class BoundManagementType(Enum):
    """What happens when the output of a product exceeds the range of the converter."""

    NONE = "None"
    """Nothing: the output is clipped."""

    ITERATIVE = "Iterative"
    """Repeat with the input halved until no output is clipped."""

    ITERATIVE_WORST_CASE = "IterativeWorstCase"
    """As `ITERATIVE`, starting with `ABS_MAX_NP_SUM` noise management after the first clip."""

    SHIFT = "Shift"
    """Known by name only; no engine implements it."""


@documented
class NoiseManagementType(Enum):
    """How the scale of the input of a product is chosen."""

    NONE = "None"
    """No scaling."""

    ABS_MAX = "AbsMax"
    """Largest absolute value of the input vector."""

    ABS_MAX_NP_SUM = "AbsMaxNPSum"
    """Bound on the output derived from the sums of positive and of negative inputs."""

    MAX = "Max"
    """Largest value of the input vector, sign included."""

    CONSTANT = "Constant"
    """The constant `nm_thres`."""

    AVERAGE_ABS_MAX = "AverageAbsMax"
    """Running average of the largest absolute values seen so far."""


@documented
class WeightNoiseType(Enum):
    """Kind of the noise on the weights that each product draws anew."""

    NONE = "None"
    """No noise."""

    ADDITIVE_CONSTANT = "AdditiveConstant"
    """Normal noise of one strength for all weights."""

    PCM_READ = "PCMRead"
    """Read noise that grows with the square root of the weight, as in phase-change memory."""

    RELATIVE = "Relative"
    """Normal noise proportional to each weight; aihwkit does not have it."""


@documented
class PulseType(Enum):
    """How an update is turned into pulses."""

    NONE = "None"
    """Exact digital update; the device is replaced by an ideal one."""

    STOCHASTIC_COMPRESSED = "StochasticCompressed"
    """Stochastic pulse trains whose coincidences of one sample are applied in one step."""

    STOCHASTIC = "Stochastic"
    """Stochastic pulse trains, one coincidence after the other."""

    NONE_WITH_DEVICE = "NoneWithDevice"
    """Exact digital update, clipped to the bounds of the devices; their steps play no part."""

    MEAN_COUNT = "MeanCount"
    """Expected number of coincidences, rounded."""

    DETERMINISTIC_IMPLICIT = "DeterministicImplicit"
    """Coincidences of evenly spread, discretised pulse trains."""


@documented
class UpdateMode(Enum):
    """How weights follow an update if steps are infinitely fine (`dw_min = 0`)."""

    FLOW = "Flow"
    """Along the response of the device: the limit of many small pulses, in closed form."""

    EULER = "Euler"
    """By one step for each sample, of the size that the response has at the old weight."""


@documented
class WeightModifierType(Enum):
    """Change of the weights that the passes of hardware-aware training see.

    Formulas are those of tiles of the core, with normal `xi` and `q(v, res)` the nearest multiple
    of `res`; `docs/hardware_aware.md` has those of torch tiles.
    """

    NONE = "None"
    """No change, whatever the other fields say."""

    DISCRETIZE = "Discretize"
    """`wmax q(w / wmax, res)`."""

    MULT_NORMAL = "MultNormal"
    """`w + w std_dev wmax xi`, in torch tiles without `wmax`."""

    ADD_NORMAL = "AddNormal"
    """`w + std_dev wmax xi`."""

    DISCRETIZE_ADD_NORMAL = "DiscretizeAddNormal"
    """`DISCRETIZE`, then `ADD_NORMAL`."""

    DOREFA = "DoReFa"
    """`q(tanh(w) |dorefa_clip / tanh(wmax)|, res)`, see Zhou et al., arXiv:1606.06160."""

    POLY = "Poly"
    """`w + wmax std_dev p(|w| / wmax) xi` with the polynomial `p` of `coeffs`."""

    PCM_NOISE = "PCMNoise"
    """Programming noise, variation of the drift and read noise of phase-change memory."""

    PROG_NOISE = "ProgNoise"
    """`|w + wmax std_dev / g_max p(|w| / wmax) xi|` with the sign of `w`."""

    DROP_CONNECT = "DropConnect"
    """No change but dropped connections (`pdrop`)."""

    COPY = "Copy"
    """The same as `DROP_CONNECT`."""


@documented
class WeightClipType(Enum):
    """How weights are clipped after an update."""

    NONE = "None"
    """Not at all."""

    FIXED_VALUE = "FixedValue"
    """At a constant."""

    LAYER_GAUSSIAN = "LayerGaussian"
    """At a multiple of the standard deviation over the whole matrix."""

    AVERAGE_CHANNEL_MAX = "AverageChannelMax"
    """At the mean over rows of the largest absolute value in a row."""


@documented
class WeightRemapType(Enum):
    """How weights and their scales are balanced again after an update."""

    NONE = "None"
    """Not at all."""

    LAYERWISE_SYMMETRIC = "LayerwiseSymmetric"
    """One factor for the whole matrix."""

    CHANNELWISE_SYMMETRIC = "ChannelwiseSymmetric"
    """One factor per output."""


@documented
class VectorUnitCellUpdatePolicy(Enum):
    """Which devices of a unit cell an update reaches."""

    ALL = "All"
    """All of them, with the same pulses."""

    SINGLE_FIXED = "SingleFixed"
    """One that is chosen by `tile.set_hidden_update_index`."""

    SINGLE_SEQUENTIAL = "SingleSequential"
    """The next one for each sample."""

    SINGLE_RANDOM = "SingleRandom"
    """One drawn for each sample."""


@documented
class AnalogMVType(Enum):
    """How a product is split into passes through the array."""

    IDEAL = "Ideal"
    """Exact product, as with `is_perfect`."""

    ONE_PASS = "OnePass"
    """Positive and negative inputs together."""

    POS_NEG_SEPARATE = "PosNegSeparate"
    """One pass each for positive and negative inputs, subtracted before the converter."""

    POS_NEG_SEPARATE_DIGITAL_SUM = "PosNegSeparateDigitalSum"
    """One pass each for positive and negative inputs, subtracted after the converter."""

    SPLIT_MODE = "SplitMode"
    """Upper and lower bits of the input in separate passes."""

    BIT_WISE = "BitWise"
    """One pass per input bit."""


@documented
class CountLRFeedbackPolicy(Enum):
    """How pulse counts feed back on the learning rate of a compound; no field takes it."""

    NONE = "None"
    """Not at all."""

    PAST_MOMENTUM = "PastMomentum"
    """By a running average of the past."""

    EXTERN = "Extern"
    """By a value that is given."""


@documented
class RangeEstimators(Enum):
    """How the range of a quantiser is estimated from data."""

    current_minmax = 0
    """From the last batch."""

    allminmax = 1
    """From all batches so far."""

    running_minmax = 2
    """From a running average over batches."""

    MSE = 3
    """The range with the smallest squared error."""

    cross_entropy = 4
    """The range with the smallest change of the cross entropy."""


@documented
class OptMethod(Enum):
    """How an estimator searches for the best range."""

    grid = 1
    """Among evenly spaced ranges."""

    golden_section = 2
    """By a golden-section search."""
