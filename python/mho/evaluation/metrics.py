"""What is measured of a model: named metrics, and functions of users."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mho.documented import documented
from mho.exceptions import ArgumentError
from mho.simulator.parameters.checking import describe

Function = Callable[[nn.Module, Any], Any]


@documented
@dataclass(frozen=True)
class Metric:
    """A function of a model and data, and which direction is the better one."""

    function: Function
    """Called as `f(model, data)` in evaluation mode and without gradients; returns a number, or a
    dictionary of numbers by name."""

    higher_is_better: bool | Mapping[str, bool] = True
    """Direction, or directions by name if there are several numbers."""

    name: str = ""
    """Name in tables, that of the function by default."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ArgumentError(f"function: expected f(model, data), got {self.function!r}")
        if not self.name:
            known = getattr(self.function, "__name__", type(self.function).__name__)
            object.__setattr__(self, "name", "metric" if known == "<lambda>" else known)

    def sign(self, name: str) -> float:
        """Return 1 if more of a number is better, else -1.

        Args:
            name: Name of the number.
        """
        known = self.higher_is_better
        is_up = known if isinstance(known, bool) else known.get(name, True)
        return 1.0 if is_up else -1.0

    def measure(self, model: nn.Module, data: Any) -> dict[str, float]:
        """Return the numbers by name.

        Args:
            model: Model in evaluation mode.
            data: Data as the user gave it.

        Raises:
            ArgumentError: The function has returned something else.
        """
        with torch.no_grad():
            found = self.function(model, data)
        if isinstance(found, Mapping):
            return {str(name): _number(f"{self.name}[{name!r}]", v) for name, v in found.items()}
        return {self.name: _number(self.name, found)}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError(
            f"metric: {name} must be a number, or a dictionary of numbers, got {describe(value)}"
        ) from None


def pairs(data: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    """Yield inputs and targets of every batch.

    Args:
        data: Batches.

    Raises:
        ArgumentError: A batch is no pair.
    """
    for batch in data:
        if not isinstance(batch, (list, tuple)) or len(batch) != 2:
            raise ArgumentError(
                "data: named metrics need batches (inputs, targets), got"
                f" {describe(batch)}; for others hand over metric=f(model, data)"
            )
        yield batch[0], batch[1]


def _outputs(model: nn.Module, data: Iterable[Any]) -> Iterable[tuple[Tensor, Tensor]]:
    device = next((value.device for value in model.parameters()), torch.device("cpu"))
    for inputs, targets in pairs(data):
        moved = inputs.to(device) if isinstance(inputs, Tensor) else inputs
        found = model(moved)
        if not isinstance(found, Tensor) or not isinstance(targets, Tensor):
            raise ArgumentError(
                "metric: named metrics compare tensors, got"
                f" {describe(found)} and {describe(targets)}; hand over metric=f(model, data)"
            )
        yield found, targets.to(found.device)


def _share(model: nn.Module, data: Iterable[Any], best: int) -> float:
    right = total = 0
    for scores, classes in _outputs(model, data):
        ranked = scores.topk(min(best, scores.shape[1]), dim=1).indices
        right += int((ranked == classes.unsqueeze(1)).any(dim=1).sum())
        total += classes.numel()
    return 100.0 * right / total if total else float("nan")


def accuracy(model: nn.Module, data: Iterable[Any]) -> float:
    """Return the percentage of targets that have the largest score.

    Args:
        model: Its outputs are scores, shape `[batch, classes, ...]`.
        data: Batches of inputs and classes, `[batch, ...]`.
    """
    return _share(model, data, 1)


def top5(model: nn.Module, data: Iterable[Any]) -> float:
    """Return the percentage of targets that are among the five largest scores.

    Args:
        model: As for `accuracy`.
        data: As for `accuracy`.
    """
    return _share(model, data, 5)


def cross_entropy(model: nn.Module, data: Iterable[Any]) -> float:
    """Return the mean cross entropy in nats.

    Args:
        model: As for `accuracy`.
        data: As for `accuracy`; targets may be probabilities, shaped like the scores.
    """
    loss, total = 0.0, 0
    for scores, targets in _outputs(model, data):
        loss += float(functional.cross_entropy(scores, targets, reduction="sum"))
        total += scores.numel() // scores.shape[1]
    return loss / total if total else float("nan")


def mse(model: nn.Module, data: Iterable[Any]) -> float:
    """Return the mean square difference of outputs and targets.

    Args:
        model: Any.
        data: Batches of inputs and targets, these shaped like the outputs.
    """
    square, total = 0.0, 0
    for outputs, targets in _outputs(model, data):
        if outputs.shape != targets.shape:
            raise ArgumentError(
                f"data: 'mse' compares {tuple(outputs.shape)} outputs with {tuple(targets.shape)}"
                " targets; they must have the same shape"
            )
        square += float(functional.mse_loss(outputs, targets, reduction="sum"))
        total += outputs.numel()
    return square / total if total else float("nan")


NAMED = {
    "accuracy": Metric(accuracy),
    "top5": Metric(top5),
    "cross_entropy": Metric(cross_entropy, higher_is_better=False),
    "mse": Metric(mse, higher_is_better=False),
}


def check_metric(metric: Any) -> Metric:
    """Return a metric.

    Args:
        metric: Name, function or `Metric`.

    Raises:
        ArgumentError: It is none of these.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str) and metric in NAMED:
        return NAMED[metric]
    if not callable(metric):
        raise ArgumentError(
            f"metric: expected {', '.join(map(repr, NAMED))}, f(model, data) or Metric(f), got"
            f" {metric!r}"
        )
    return Metric(metric)


def is_named(metric: Metric) -> bool:
    """Return whether a metric is one of the named ones, which need pairs.

    Args:
        metric: Metric.
    """
    return any(metric is known for known in NAMED.values())
