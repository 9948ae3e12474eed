"""What the core takes as memory: a call checks all of its tensors before it reads or writes any."""

import pytest
import torch
from torch import Tensor

from mho import _core
from mho.exceptions import InputError
from mho.simulator.configs import (
    ConstantStepDevice,
    SingleRPUConfig,
    UnitCellRPUConfig,
    VectorUnitCell,
)

OUT, IN, SAMPLES = 3, 4, 2


class Memory:
    """Tensors of a tile and of the calls on it."""

    def __init__(self) -> None:
        config = SingleRPUConfig(device=ConstantStepDevice())
        self.spec = _core.TileSpec(config.core_json(), OUT, IN)
        self.weight = torch.full((OUT, IN), 0.05)
        planes = self.spec.construct(1)
        self.hidden = {
            name: torch.frombuffer(plane, dtype=torch.float32).clone().reshape(OUT, IN)
            for name, plane in planes.items()
            if not isinstance(plane, float)
        }
        self.seed, self.calls = torch.tensor([5]), torch.tensor([0])
        self.x, self.d = torch.ones(SAMPLES, IN), torch.ones(SAMPLES, OUT)
        self.y = torch.zeros(SAMPLES, OUT)
        self.mask = torch.zeros(SAMPLES, OUT, dtype=torch.uint8)
        self.counts = torch.zeros(2, OUT, IN, dtype=torch.int64)

    def mvm(self) -> None:
        _core.mvm(
            self.spec,
            False,
            self.x,
            self.weight,
            self.y,
            self.seed,
            1,
            False,
            None,
            None,
            self.mask,
        )

    def update(self) -> None:
        _core.update(
            self.spec,
            self.weight,
            self.hidden,
            self.x,
            self.d,
            0.1,
            self.seed,
            self.calls,
            None,
            self.counts,
        )


def tail_of(tensor: Tensor, dtype: torch.dtype, *shape: int) -> Tensor:
    """Return a tensor of another type in the last bytes of `tensor`."""
    count = torch.Size(shape).numel()
    return tensor.flatten().view(torch.uint8)[-count * dtype.itemsize :].view(dtype).reshape(shape)


def test_written_memory_is_borrowed_once() -> None:
    """No tensor that a call writes shares memory with another one of the call."""
    m = Memory()
    m.mvm()
    m.update()
    m.weight = m.hidden["max_bound"]
    before = m.weight.clone()
    with pytest.raises(InputError, match=r"max_bound.*shares memory with weight"):
        m.update()
    with pytest.raises(InputError, match="shares memory"):
        _core.decay(m.spec, m.weight, m.hidden, 1.0, m.seed, m.calls)
    assert torch.equal(m.weight, before)

    m = Memory()
    m.counts = torch.zeros(2, OUT, IN, dtype=torch.int64)
    m.weight = tail_of(m.counts, torch.float32, OUT, IN)
    with pytest.raises(InputError, match="counts"):
        m.update()
    m = Memory()
    m.mask = tail_of(m.y, torch.uint8, SAMPLES, OUT)
    with pytest.raises(InputError, match="mask"):
        m.mvm()
    m = Memory()
    m.y = m.x[:, :OUT].clone()
    m.x = torch.cat([m.y.flatten(), torch.zeros(2)]).reshape(SAMPLES, IN)
    m.y = m.x.flatten()[: SAMPLES * OUT].reshape(SAMPLES, OUT)
    with pytest.raises(InputError, match="y"):
        m.mvm()


def test_seed_and_counter_are_borrowed_as_well() -> None:
    """What is written shares no memory with the position in the random numbers either."""
    m = Memory()
    m.calls = m.counts.flatten()[:1]
    with pytest.raises(InputError, match=r"counts.*shares memory with calls"):
        m.update()
    m = Memory()
    m.seed = m.counts.flatten()[-1:]
    with pytest.raises(InputError, match=r"counts.*shares memory with seed"):
        m.update()
    m = Memory()
    position = torch.tensor([5, 0])
    m.seed, m.calls = position[:1], position[1:]
    m.update()
    assert position.tolist() == [5, 1]
    m.seed = m.calls
    with pytest.raises(InputError, match=r"calls.*shares memory with seed"):
        m.update()
    assert position.tolist() == [5, 1]
    m.seed = m.y.flatten()[:2].view(torch.int64)
    with pytest.raises(InputError, match=r"seed.*shares memory with y"):
        m.mvm()


def test_counters_of_cells_are_not_that_of_the_calls() -> None:
    device = VectorUnitCell(unit_cell_devices=[ConstantStepDevice(), ConstantStepDevice()])
    spec = _core.TileSpec(UnitCellRPUConfig(device=device).core_json(), OUT, IN)
    weight, seed, calls = torch.zeros(OUT, IN), torch.tensor([5]), torch.tensor([0])
    state = {name: torch.zeros(OUT, IN) for name in spec.hidden_names}
    state = {k: v for k, v in state.items() if spec.hidden_constant(k) is None}
    state |= {k: torch.zeros(n, dtype=getattr(torch, dtype)) for k, dtype, n in spec.cell_entries}
    spec.construct_into(5, weight, state)
    x, d = torch.ones(SAMPLES, IN), torch.ones(SAMPLES, OUT)
    _core.update(spec, weight, state, x, d, 0.1, seed, calls)
    before = weight.clone()
    state["current_update_idx"] = calls
    for call in (
        lambda: _core.update(spec, weight, state, x, d, 0.1, seed, calls),
        lambda: _core.diffuse(spec, weight, state, seed, calls),
        lambda: _core.clip_to_bounds(spec, weight, state, seed, calls),
    ):
        with pytest.raises(InputError, match=r"current_update_idx.*shares memory with calls"):
            call()
    assert torch.equal(weight, before) and calls.tolist() == [1]


def test_what_is_only_read_may_be_shared() -> None:
    """Inputs and errors may be one tensor."""
    m = Memory()
    both = torch.ones(SAMPLES, IN)
    m.x, m.d = both, both.flatten()[: SAMPLES * OUT].reshape(SAMPLES, OUT)
    m.update()
    assert int(m.counts.sum()) > 0


@pytest.mark.parametrize("name", ["x", "weight", "y", "mask"])
def test_storage_smaller_than_the_shape(name: str) -> None:
    """A storage that was made smaller is refused, not read beyond its end."""
    m = Memory()
    tensor = getattr(m, name).clone()
    setattr(m, name, tensor)
    tensor.untyped_storage().resize_(tensor.nbytes - 1)
    with pytest.raises(InputError, match=rf"{name}.*storage"):
        m.mvm()


def test_negative_bit() -> None:
    """A view whose values are negated when they are read is refused: the memory has other ones."""
    spec = _core.TileSpec(SingleRPUConfig().core_json(), 1, 1)
    one = torch.ones(1, 1)
    x = torch.complex(one, one).conj().imag
    assert x.is_neg() and x.is_contiguous()
    with pytest.raises(InputError, match=r"x.*resolve_neg"):
        _core.mvm(spec, False, x, one, torch.zeros(1, 1), torch.tensor([5]), 1, False)
    longer = torch.complex(torch.ones(2, 4), torch.ones(2, 4)).conj().imag
    assert not longer.is_contiguous()


def test_alignment() -> None:
    """An address between two numbers is refused."""
    m = Memory()
    memory = bytearray(4 * IN * SAMPLES + 4)
    m.x = torch.frombuffer(memory, dtype=torch.float32, count=IN * SAMPLES, offset=1)
    m.x = m.x.reshape(SAMPLES, IN)
    assert m.x.data_ptr() % 4 != 0
    with pytest.raises(InputError, match=r"x.*aligned"):
        m.mvm()


@pytest.mark.parametrize("name", ["x", "weight", "y", "seed"])
def test_sparse_tensors_have_no_memory_of_their_own(name: str) -> None:
    m = Memory()
    setattr(m, name, getattr(m, name).to_sparse())
    with pytest.raises(InputError, match=f"{name}.*memory"):
        m.mvm()


# What torch says about them.
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("name", ["x", "weight", "y"])
def test_nested_tensors_are_refused(name: str) -> None:
    m = Memory()
    setattr(m, name, torch.nested.nested_tensor(list(getattr(m, name))))
    with pytest.raises(InputError, match=f"{name}.*nested"):
        m.mvm()


def test_objects_that_look_like_tensors() -> None:
    """Only tensors of torch are memory, whatever else an object says of itself."""

    class Pretender:
        dtype, is_cpu = torch.float32, True

        def is_contiguous(self) -> bool:
            return True

        def numel(self) -> int:
            return IN * SAMPLES

        def data_ptr(self) -> int:
            return torch.ones(IN * SAMPLES).data_ptr()

        def storage_offset(self) -> int:
            return 0

    m = Memory()
    m.x = Pretender()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"x.*must be a tensor, got Pretender"):
        m.mvm()
