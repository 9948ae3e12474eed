"""Bad input, edge cases, named metrics, and what is noted."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

import mho
from evaluation_cases import batches, inference_config, one_layer, outputs, two_layers
from mho.evaluation import Calibrate, Evaluation, Metric
from mho.evaluation.keys import key
from mho.evaluation.moments import check_moments, label
from mho.exceptions import ArgumentError, ConfigError
from mho.inference import (
    GlobalDriftCompensation,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    ReRamWan2022NoiseModel,
)
from mho.inference.compensation.drift import PerColumnDriftCompensation
from mho.nn import AnalogLinear, convert_to_analog
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig


def evaluated(model: nn.Module | None = None, **arguments: Any) -> Evaluation:
    given: dict[str, Any] = {
        "data": batches(), "metric": outputs, "times": ["programmed"], "n_programmings": 2,
        "progress": False,
    }  # fmt: skip
    model = two_layers(inference_config()) if model is None else model
    return mho.evaluate(model, **given | arguments)


# --- keys and times -------------------------------------------------------------------------------


def test_keys_are_the_hash_that_the_format_says() -> None:
    """The text and its hash spelled out, so that results of this version can be had again."""
    import hashlib

    text = b"mho-evaluate-1|7|drift|3|0.analog_module|0x1.c200000000000p+11|1"
    expected = int.from_bytes(hashlib.blake2b(text).digest()[:8], "little") & (2**63 - 1)
    assert key(7, "drift", 3, "0.analog_module", 3600.0, 1) == expected
    bare = hashlib.blake2b(b"mho-evaluate-1|0|metric||||").digest()[:8]
    assert key(0, "metric") == int.from_bytes(bare, "little") & (2**63 - 1)
    assert key(0, "a", 1, "", None, 2) != key(0, "a", 1, "", 0.0, 2)


def test_times() -> None:
    found = check_moments(["1 y", 3600, "programmed", "30 d", 0, "1.5 h", "2 min"])
    assert found == [None, 0.0, 120.0, 3600.0, 5400.0, 30 * 86400.0, 31536000.0]
    shown = ["programmed", "0 s", "2 min", "1 h", "90 min", "30 d", "1 y"]
    assert [label(moment) for moment in found] == shown
    assert check_moments("1 d") == [86400.0] and check_moments(5) == [5.0]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "at least one"),
        (["1 h", 3600], "'1 h' is there twice"),
        ([-1.0], "times: "),
        (["soon"], "times: .*soon"),
        ([math.inf], "times: "),
        ([None], "times: "),
    ],
)
def test_refused_times(times: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        evaluated(times=times)


def test_zero_seconds_are_not_programmed() -> None:
    rows = evaluated(times=["programmed", 0]).samples
    values = {row["time"]: row["value"] for row in rows if row["programming"] == 0}
    assert values["programmed"] != values["0 s"]


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_programmings": 0}, "n_programmings"),
        ({"n_reads": 1.5}, "n_reads"),
        ({"vary": "all"}, "vary: expected 'programming' or 'chip', got 'all'"),
        ({"programming": "old"}, "programming"),
        ({"programming": "keep"}, "n_programmings: programming='keep'"),
        ({"programming": "keep", "n_programmings": 1, "vary": "chip"}, "vary"),
        ({"noise_model": "PCM"}, "noise_model"),
        ({"compensation": "none"}, "compensation"),
        ({"calibrate": 3}, "calibrate"),
        ({"reference": "exact"}, "reference"),
        ({"layer_error": -1}, "layer_error"),
        ({"confidence": 95.0}, "confidence"),
        ({"interval": "normal"}, "interval"),
        ({"interval": "bootstrap"}, "n_programmings of 20"),
        ({"seed": "a"}, "seed"),
        ({"workers": -1}, "workers"),
        ({"workers": "all"}, "workers"),
        ({"torch_threads": 0}, "torch_threads"),
        ({"resume": 3}, "resume"),
        ({"progress": "bar"}, "progress"),
        ({"on_error": "ignore"}, "on_error"),
        ({"metric": "f1"}, "metric: expected 'accuracy'"),
        ({"metric": None}, "metric"),
        ({"data": []}, "data: is empty"),
        ({"data": iter(batches())}, "iterator"),
        ({"data": 3}, "data"),
        ({"data": lambda: iter(batches())}, "iterator"),
        ({"data": lambda: 3}, "data"),
        ({"data": [torch.ones(2, 12)], "metric": "accuracy"}, r"\(inputs, targets\)"),
    ],
)
def test_refused_arguments(arguments: dict[str, Any], message: str) -> None:
    """Before anything is measured."""

    def never(model: nn.Module, data: Any) -> float:
        pytest.fail("a unit has begun")

    with pytest.raises(ArgumentError, match=message):
        evaluated(**{"metric": never} | arguments)


def test_the_model_must_be_one() -> None:
    with pytest.raises(ArgumentError, match="model"):
        mho.evaluate(3, batches())  # type: ignore[arg-type]


def test_refused_records() -> None:
    for make in (lambda: Metric(3), lambda: Calibrate(3)):  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="function"):
            make()
    with pytest.raises(ArgumentError, match="when"):
        Calibrate(outputs, when="later")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["data", "metric", "calibrate", "ablation", "model"])
def test_what_cannot_be_sent_is_named(name: str) -> None:
    local = {
        "data": Unsendable(),
        "metric": lambda model, data: 0.0,
        "calibrate": lambda model: None,
        "ablation": {"mine": lambda config: None},
    }
    model = two_layers(inference_config())
    if name == "model":
        model[0].register_forward_hook(lambda *_: None)
    arguments = {name: local[name]} if name in local else {}
    with pytest.raises(ArgumentError, match=rf"{name}.*: .*workers=0"):
        evaluated(model, workers=2, **arguments)


class Unsendable(list[Any]):
    """Batches that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__(batches())

    def __reduce__(self) -> Any:
        raise TypeError("as the test wants it")


# --- models ---------------------------------------------------------------------------------------


def test_nothing_to_program() -> None:
    torch.manual_seed(1)
    pulsed = convert_to_analog(nn.Sequential(nn.Linear(12, 4)), SingleRPUConfig())
    with pytest.raises(ConfigError, match="n_programmings=1"):
        evaluated(pulsed)
    result = evaluated(pulsed, n_programmings=1, n_reads=3)
    assert len({row["value"] for row in result.samples}) == 3
    assert any("have no noise model" in note for note in result.notes)
    assert evaluated(nn.Linear(12, 4), n_programmings=1).samples


def test_pulsed_layers_beside_others_are_noted() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        AnalogLinear(12, 8, rpu_config=inference_config()),
        AnalogLinear(8, 4, rpu_config=SingleRPUConfig()),
    )
    result = evaluated(model)
    assert any("1 tiles have no noise model" in note and "'1." in note for note in result.notes)


def test_tied_layers_are_programmed_once() -> None:
    torch.manual_seed(1)
    layer = AnalogLinear(12, 12, rpu_config=inference_config())
    seen: list[Tensor] = []

    def metric(model: nn.Module, data: Any) -> float:
        assert model[0] is model[1]
        seen.append(next(model[0].analog_tiles()).get_weights()[0])
        return outputs(model, data)

    evaluated(nn.Sequential(layer, layer), metric=metric, reference=None)
    assert len(seen) == 2 and not torch.equal(*seen)


def test_targets_that_are_gone() -> None:
    model = two_layers(inference_config()).eval()
    mho.inference.program_analog_weights(model)
    state = {k: v for k, v in model.state_dict().items() if "reference_combined" not in k}
    broken = two_layers(inference_config()).eval()
    broken.load_state_dict(state)
    with pytest.raises(ConfigError, match=r"tile '0\.analog_module.*programming='keep'"):
        evaluated(broken)
    assert evaluated(broken, programming="keep", n_programmings=1).samples


def test_kept_programmings() -> None:
    """Programmed weights are those of the model, before and after it has drifted."""
    model = two_layers(inference_config()).eval()
    with pytest.raises(ConfigError, match="nothing is programmed"):
        evaluated(model, programming="keep", n_programmings=1)
    mho.inference.program_analog_weights(model)
    programmed = [tile.get_weights()[0] for tile in model.analog_tiles()]
    mho.inference.drift_analog_weights(model, "1 year")

    def metric(model: nn.Module, data: Any) -> float:
        tiles = list(model.analog_tiles())
        weights = [tile.get_weights()[0] for tile in tiles]
        same = all(map(torch.equal, weights, programmed))
        return float(same) + float(all(float(t.alpha) == 1.0 for t in tiles))

    result = evaluated(
        model, metric=metric, programming="keep", n_programmings=1, times=["programmed", "1 d"],
        reference=None,
    )  # fmt: skip
    assert [row["value"] for row in result.samples] == [2.0, 0.0]
    assert math.isnan(result.table[0]["low"]) and result.table[0]["mean"] == 2.0
    assert any("one programming" in note for note in result.notes)


def test_other_noise_model_and_compensation() -> None:
    def metric(model: nn.Module, data: Any) -> float:
        config = next(model.analog_tiles()).rpu_config
        assert type(config.noise_model) is HermesNoiseModel
        assert type(config.drift_compensation) is PerColumnDriftCompensation
        return float(next(model.analog_tiles()).alpha.numel())

    result = evaluated(
        metric=metric, noise_model=HermesNoiseModel(), compensation=PerColumnDriftCompensation(),
        times="1 d", reference=None,
    )  # fmt: skip
    assert result.table[0]["mean"] == 10.0
    assert evaluated(compensation=GlobalDriftCompensation()).samples == evaluated().samples


def test_models_with_times_of_their_own() -> None:
    """Those are the default; others are refused before anything is measured."""
    model = two_layers(InferenceRPUConfig(noise_model=ReRamWan2022NoiseModel()))
    result = mho.evaluate(model, batches(), outputs, n_programmings=2, progress=False)
    assert [row["time"] for row in result.table] == ["programmed", "1 s", "1 d", "2 d"]
    with pytest.raises(ArgumentError, match="times: '1 h' is refused by ReRamWan2022NoiseModel"):
        evaluated(model, times=["1 s", "1 h"])


def test_other_chips() -> None:
    """Frozen values of lines are those of the model, or of another chip for each programming."""
    config = inference_config(out_noise_std=0.5)
    model = two_layers(config)
    own = next(model.analog_tiles()).get_forward_parameters()["out_noise_values"]
    seen: list[Tensor] = []

    def metric(model: nn.Module, data: Any) -> float:
        seen.append(next(model.analog_tiles()).get_forward_parameters()["out_noise_values"])
        return outputs(model, data)

    evaluated(model, metric=metric, reference=None)
    assert len(seen) == 2 and all(torch.equal(values, own) for values in seen)
    seen.clear()
    evaluated(model, metric=metric, reference=None, vary="chip")
    assert not torch.equal(seen[0], own) and not torch.equal(seen[0], seen[1])


def test_devices_of_other_chips() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        AnalogLinear(12, 8, rpu_config=inference_config()),
        AnalogLinear(8, 4, rpu_config=SingleRPUConfig()),
    )
    weights, seen = model[1].get_weights()[0], []

    def metric(model: nn.Module, data: Any) -> float:
        tile = next(model[1].analog_tiles())
        seen.append(tile.get_hidden_parameters()["max_bound"])
        torch.testing.assert_close(model[1].get_weights()[0], weights)
        return 0.0

    evaluated(model, metric=metric, reference=None, vary="chip")
    assert not torch.equal(*seen)


@pytest.mark.parametrize(("when", "count"), [("before", 1), ("programmed", 2), ("drifted", 4)])
def test_calibration(when: str, count: int) -> None:
    """Called when it is said, in evaluation mode; what it does lasts as long as it should."""
    calls: list[bool] = []

    def calibrate(model: nn.Module) -> None:
        tile = next(model.analog_tiles())
        calls.append(tile.programmed_weights is not None and not model.training)
        model[2].bias.data.add_(1.0)

    def metric(model: nn.Module, data: Any) -> float:
        return float(model[2].bias.sum())

    model = two_layers(inference_config())
    bias = float(model[2].bias.sum())
    result = evaluated(
        model, metric=metric, calibrate=Calibrate(calibrate, when=when), times=["programmed", "1 d"]
    )
    assert len(calls) == count and all(calls) == (when != "before")
    assert [row["value"] for row in result.samples] == pytest.approx([bias + 4.0] * 4)


def test_calibration_of_ranges() -> None:
    def calibrate(model: nn.Module) -> None:
        with mho.calibrate(model, quantile=1.0, absolute=True):
            for x, _ in batches():
                model(x)

    largest = max(float(x.abs().max()) for x, _ in batches())

    def metric(model: nn.Module, data: Any) -> float:
        return float(next(model.analog_tiles()).input_range)

    result = evaluated(metric=metric, calibrate=calibrate, reference=None)
    assert result.table[0]["mean"] == pytest.approx(largest)


# --- metrics --------------------------------------------------------------------------------------


def test_named_metrics() -> None:
    """Against torch on all samples at once, on the digital network."""
    model = two_layers(inference_config())
    x, y = (torch.cat(part) for part in zip(*batches(), strict=True))
    (w0, b0), (w2, b2) = (model[i].get_weights() for i in (0, 2))
    z = (x @ w0.T + b0).relu() @ w2.T + b2
    expected = {
        "accuracy": 100.0 * float((z.argmax(1) == y).float().mean()),
        "top5": 100.0,
        "cross_entropy": float(functional.cross_entropy(z, y)),
    }
    for name, value in expected.items():
        assert evaluated(model, metric=name).reference[name] == pytest.approx(value, rel=1e-5), name
    pairs = [(a, torch.zeros(len(a), 4)) for a, _ in batches()]
    found = evaluated(model, metric="mse", data=pairs).reference["mse"]
    assert found == pytest.approx(float(z.square().mean()), rel=1e-5)
    with pytest.raises(ArgumentError, match="same shape"):
        evaluated(model, metric="mse")


def test_reference_of_the_user_and_none() -> None:
    other = two_layers(inference_config(perfect=True))
    assert evaluated(reference=None).reference == {}
    own = evaluated(reference=other).reference
    assert own == pytest.approx(evaluated(two_layers(inference_config())).reference, rel=1e-5)


def test_several_numbers() -> None:
    def metric(model: nn.Module, data: Any) -> dict[str, Any]:
        value = outputs(model, data)
        return {"a": value, "b": torch.tensor(2.0 * value)}

    result = evaluated(metric=metric)
    assert result.metrics() == ["a", "b"] and len(result.table) == 2
    assert result.table[1]["mean"] == pytest.approx(2.0 * result.table[0]["mean"])
    assert "metric" in repr(result).splitlines()[4]


class Numbered:
    """A metric that does something else each time it is called."""

    def __init__(self, *found: Any) -> None:
        self.found: Iterator[Any] = iter(found)

    def __call__(self, model: nn.Module, data: Any) -> Any:
        value = next(self.found)
        if isinstance(value, Exception):
            raise value
        return value


def test_metrics_that_return_no_number() -> None:
    with pytest.raises(ArgumentError, match="must be a number"):
        evaluated(metric=Numbered("high"), reference=None)
    with pytest.raises(ArgumentError, match=r"metric: has returned \['b'\] for programming 1"):
        evaluated(metric=Numbered({"a": 1.0}, {"b": 1.0}), reference=None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_metrics_that_are_not_finite(value: float) -> None:
    result = evaluated(metric=Numbered(1.0, value, 3.0), n_programmings=3, reference=None)
    assert [row["value"] for row in result.samples][::2] == [1.0, 3.0]
    assert math.isnan(result.table[0]["mean"]) and math.isnan(result.table[0]["high"])
    assert any("NaN or infinity at 'programmed'" in note for note in result.notes)


def test_failing_units() -> None:
    error = ZeroDivisionError("of the test")
    with pytest.raises(ZeroDivisionError) as caught:
        evaluated(metric=Numbered(1.0, error), reference=None)
    if hasattr(error, "add_note"):  # from Python 3.11 on
        assert error.__notes__ == ["in programming 1 of 'full'"]
    assert caught.value is error
    result = evaluated(
        metric=Numbered(1.0, error, 3.0), n_programmings=3, reference=None, on_error="record"
    )
    first, failed, last = (row["value"] for row in result.samples)
    assert (first, last) == (1.0, 3.0) and math.isnan(failed)
    assert result.table[0]["mean"] == 2.0 and result.table[0]["n"] == 2
    (row,) = result.failures
    assert row == {"variant": "full", "programming": 1, "error": "ZeroDivisionError: of the test"}
    assert any("1 units have failed" in note for note in result.notes)
    every = evaluated(metric=Numbered(error, error), reference=None, on_error="record")
    assert len(every.failures) == 2 and math.isnan(every.table[0]["mean"]) and repr(every)


def test_skewed_results_are_noted() -> None:
    values = [0.0] * 9 + [100.0]
    result = evaluated(metric=Numbered(*values), n_programmings=10, reference=None)
    assert any("skewed" in note for note in result.notes)


class Stream(IterableDataset[Any]):
    """Data without a length."""

    def __iter__(self) -> Iterator[Any]:
        yield from ((x[0], y[0]) for x, y in batches())


def test_data_without_a_length(tmp_path: Path) -> None:
    loader = DataLoader(Stream(), batch_size=2)
    first = evaluated(data=loader, resume=tmp_path / "run.jsonl")
    assert evaluated(data=loader, resume=tmp_path / "run.jsonl").samples == first.samples


def test_constant_weights_and_zeros() -> None:
    for weight in (torch.zeros(3, 4), torch.ones(3, 4)):
        data = [(torch.ones(2, 4), torch.zeros(2))]
        result = evaluated(one_layer(weight, inference_config()), data=data, times=["1 d"])
        assert math.isfinite(result.table[0]["mean"])


def test_errors_against_a_reference_of_the_user() -> None:
    """Its layers are found by name; where it has none, or another one, there is no error."""
    model = two_layers(inference_config())
    same = evaluated(model, layer_error=6, reference=two_layers(inference_config(perfect=True)))
    usual = evaluated(model, layer_error=6)
    for ours, theirs in zip(same.layers, usual.layers, strict=True):
        assert ours["propagated"] == pytest.approx(theirs["propagated"], rel=1e-4)
        assert ours["error"] == theirs["error"]
    other = evaluated(model, layer_error=6, reference=nn.Sequential(nn.Linear(12, 4)))
    assert all(math.isnan(row["propagated"]) for row in other.layers)
    assert [row["error"] for row in other.layers] == [row["error"] for row in usual.layers]


def test_user_noise_models_need_no_registration() -> None:
    class Own(PCMLikeNoiseModel):
        pass

    result = evaluated(noise_model=Own(g_max=25.0), ablation={"programming": None})
    assert math.isfinite(result.table[0]["mean"])
