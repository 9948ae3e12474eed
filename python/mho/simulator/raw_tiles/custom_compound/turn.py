"""One call at a time changes a compound: its devices, states and stream are one transaction."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mho.exceptions import ConfigError


class Turn:
    """Lets threads wait for each other, and refuses a call from within a call."""

    def __init__(self) -> None:
        """Let nobody have the turn."""
        self._lock = threading.Lock()
        self._holder: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have the turn during the block.

        Raises:
            ConfigError: The thread has it already.
        """
        self.check()
        with self._lock:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None

    def check(self) -> None:
        """Refuse a call from within a call.

        Raises:
            ConfigError: The thread has the turn.
        """
        if self._holder == threading.get_ident():
            raise ConfigError(
                "rule: the tile is in a call of its own rule, which can change it by the methods of"
                " t only"
            )
