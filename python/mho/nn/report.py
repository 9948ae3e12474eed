"""What of a model is analog, and why the rest is not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from mho.documented import documented
from mho.nn.conversion_table import (
    CONVERSIONS,
    WITH_SUBCLASSES,
    base_in,
    counterpart,
    keys_of,
    overridden,
)
from mho.nn.inheritance import digital_class
from mho.nn.modules.base import AnalogLayerBase
from mho.nn.ties import UNTIED
from mho.simulator.parameters.signatures import checked


@documented
@dataclass(frozen=True)
class ReportEntry:
    """One layer of a model."""

    name: str
    """Full name of the layer, empty for the model itself."""

    layer_class: str
    """Name of its class."""

    converted: bool
    """Whether it is analog."""

    reason: str
    """Why not, empty if it is."""

    remark: str = ""
    """What an analog layer has that the digital one had not, or the other way round."""


class ConversionReport(Sequence[ReportEntry]):
    """Layers of a model in the order of its modules; `str` of it is a table."""

    @checked
    def __init__(self, entries: Sequence[ReportEntry]) -> None:
        """Keep the entries.

        Args:
            entries: One per layer.
        """
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._entries[index]

    @property
    def converted(self) -> tuple[ReportEntry, ...]:
        """Layers that are analog."""
        return tuple(entry for entry in self if entry.converted)

    @property
    def digital(self) -> tuple[ReportEntry, ...]:
        """Layers that are not."""
        return tuple(entry for entry in self if not entry.converted)

    def __str__(self) -> str:
        rows = [(e.name or "(root)", e.layer_class, _said_of(e)) for e in self]
        widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
        count = f"{len(self.converted)} of {len(self)} layers are analog"
        return "\n".join([*lines, count])

    __repr__ = __str__


@checked
def conversion_report(model: nn.Module) -> ConversionReport:
    """Return which layers of a model are analog, and for every other one why it is not.

    Layers are modules with parameters of their own; what has none, such as activations, is left
    out, and so is what stands inside of an analog layer.

    Args:
        model: Model, converted or not; not changed.

    Raises:
        ArgumentError: It is no module.
    """
    return ConversionReport(list(_entries(model, "", set())))


def _entries(module: nn.Module, name: str, seen: set[int]) -> Iterator[ReportEntry]:
    if id(module) in seen:
        return
    seen.add(id(module))
    if isinstance(module, AnalogLayerBase) and not module.IS_CONTAINER:
        yield ReportEntry(name, type(module).__name__, True, "", _remark(module))
        return
    cls = digital_class(module)
    is_parametrised = cls is not type(module)
    if is_parametrised or _is_layer(module):
        yield ReportEntry(name, cls.__name__, False, _reason(cls))
        if is_parametrised:
            return
    for child_name, child in module._modules.items():
        if child is not None:
            yield from _entries(child, f"{name}.{child_name}" if name else child_name, seen)


def _is_layer(module: nn.Module) -> bool:
    """Return whether a module has parameters of its own; what has analog layers for it is none."""
    if isinstance(module, AnalogLayerBase) and module.STANDS_FOR_LAYER:
        return False
    return any(value is not None for value in module._parameters.values())


def _said_of(entry: ReportEntry) -> str:
    if not entry.converted:
        return entry.reason
    return f"analog; {entry.remark}" if entry.remark else "analog"


def _remark(layer: nn.Module) -> str:
    untied: dict[str, str] = vars(layer).get(UNTIED, {})
    return "; ".join(
        f"{name} was tied to {source!r} and is a copy of its own" for name, source in untied.items()
    )


def _reason(cls: type[nn.Module]) -> str:
    if cls is NonDynamicallyQuantizableLinear:
        return "belongs to MultiheadAttention, which multiplies with its weights itself"
    if counterpart(cls, CONVERSIONS) is not None:
        return (
            "was not converted: excluded, left digital by a rule, not in the conversion map, or"
            " added later"
        )
    if issubclass(cls, LazyModuleMixin):
        return "has no weights yet: call the model once before the conversion"
    if issubclass(cls, (nn.Embedding, nn.EmbeddingBag)):
        return f"there is no analog layer for {cls.__name__}: a table is read by index, no product"
    base = base_in(cls, CONVERSIONS)
    if base is None:
        return f"there is no analog layer for {cls.__name__}"
    analog = counterpart(base, CONVERSIONS).__name__
    if not WITH_SUBCLASSES.isdisjoint(keys_of(base)):
        names = ", ".join(overridden(cls, base))
        return (
            f"is a subclass of {base.__name__} that computes something of its own ({names}); if"
            " its weights are used as those of its base, it is converted after"
            f" mho.nn.register_analog({cls.__name__})({analog})"
        )
    return (
        f"is a subclass of {base.__name__}: only exact classes are converted; if it"
        " computes the same, it is converted too after"
        f" mho.nn.register_analog({cls.__name__})({analog})"
    )
