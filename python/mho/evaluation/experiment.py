"""What all units of an evaluation share."""

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mho.evaluation.ablation import Ablation, remove_groups
from mho.evaluation.calibration import Calibrate
from mho.evaluation.data import opened
from mho.evaluation.digital import digital
from mho.evaluation.keys import key
from mho.evaluation.metrics import Metric


@dataclass
class Experiment:
    """All that units need, ready to be sent to another process."""

    model: nn.Module
    """Prepared model."""

    data: Any
    metric: Metric
    seed: int
    ablation: Ablation
    has_reference: bool = True
    """Whether a reference network is measured."""

    own_reference: nn.Module | None = None
    """That of the user, None for the model with exact products."""

    calibrate: Calibrate | None = None
    new_chips: bool = False
    keep: bool = False
    layer_rows: int = 0
    torch_threads: int = 1
    _opened: Any = field(default=None, repr=False)
    _exact: nn.Module | None = field(default=None, repr=False)
    _variant: tuple[str, nn.Module] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent; other processes open the data themselves."""
        return vars(self) | {"_opened": None, "_exact": None, "_variant": None}

    def batches(self) -> Any:
        """Return the data, opened once in each process."""
        if self._opened is None:
            self._opened = opened(self.data, self.seed)
        return self._opened

    def exact(self) -> nn.Module:
        """Return the model with exact products, made once in each process."""
        if self._exact is None:
            self._exact = digital(self.model)
        return self._exact

    def reference(self) -> nn.Module:
        """Return the reference network."""
        return self.exact() if self.own_reference is None else self.own_reference

    def variant(self, name: str) -> nn.Module:
        """Return the prepared model as a variant; the last one is kept.

        Args:
            name: Name of the variant.
        """
        removed = self.ablation.variants()[name]
        if not removed:
            return self.model
        if self._variant is None or self._variant[0] != name:
            self._variant = None  # before there is another one
            model = copy.deepcopy(self.model)
            remove_groups(model, self.ablation, removed)
            self._variant = name, model
        return self._variant[1]

    def key(self, purpose: str, *where: Any) -> int:
        """Return the seed of a purpose; see `keys.key`."""
        return key(self.seed, purpose, *where)
