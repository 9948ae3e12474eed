"""What is drawn: numbers and tensors that depend on a seed and on nothing else."""

import random
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

ItemT = TypeVar("ItemT")


class Dice(random.Random):
    """Random numbers that leave those of torch alone."""

    def chance(self, probability: float) -> bool:
        """Whether something happens."""
        return self.random() < probability

    def one(self, items: Sequence[ItemT]) -> ItemT:
        """Return one of several items."""
        return items[self.randrange(len(items))]

    def some(self, items: Sequence[ItemT], most: int) -> list[ItemT]:
        """Return up to `most` different items."""
        return self.sample(list(items), min(len(items), self.randint(0, most)))

    def seed_of(self) -> int:
        """Return a seed for another generator."""
        return self.getrandbits(62)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Return normal draws."""
        generator = torch.Generator().manual_seed(self.seed_of())
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float32)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return uniform draws."""
        generator = torch.Generator().manual_seed(self.seed_of())
        drawn = torch.rand(*shape, generator=generator, dtype=torch.float32)
        return low + (high - low) * drawn
