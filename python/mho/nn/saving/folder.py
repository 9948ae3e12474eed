"""The files of a saved model in their folder: names, and writing them all or none."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mho.exceptions import ArgumentError, StateError
from mho.nn.saving.shards import INDEX, is_shard_name
from mho.simulator.parameters.checking import describe

MAP = "analog_map.json"
"""Name of the file with the map, and with what else is needed to load the folder."""

CONFIG = "config.json"
"""Name of the file with the configuration of the model itself, if it has one."""

GENERATION = "generation_config.json"
"""Name of the file that says how the model generates, if it does."""


class Writing:
    """Files that are written under other names until all of them are complete."""

    def __init__(self, folder: Path) -> None:
        """Write into a folder.

        Args:
            folder: Folder, which is there.
        """
        self.folder = folder
        number = secrets.token_hex(4)
        self._ending, self._ending_of_old = f".{number}.tmp", f".{number}.old"
        self._names: list[str] = []

    def path(self, name: str) -> Path:
        """Return where a file is to be written.

        Args:
            name: Name that it will have.
        """
        if name not in self._names:
            self._names.append(name)
        return self.folder / (name + self._ending)

    def json(self, name: str, content: Any) -> None:
        """Write a file of JSON text.

        Args:
            name: Name that it will have.
            content: What is in it.
        """
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        self.path(name).write_text(text, encoding="utf-8")

    def finish(self) -> None:
        """Give all files their names, and remove the files of an earlier save.

        They step aside first and come back if anything goes wrong, an interruption included.

        Raises:
            ArgumentError: There is a folder of one of the names.
        """
        for name in self._names:
            if (self.folder / name).is_dir():
                raise ArgumentError(f"folder: there is a folder {name!r} in {str(self.folder)!r}")
        present = [name for name in self._names if (self.folder / name).exists()]
        try:
            for name in present:
                os.replace(self.folder / name, self.folder / (name + self._ending_of_old))
            for name in self._names:
                os.replace(self.folder / (name + self._ending), self.folder / name)
        except BaseException:
            self._put_back(present)
            raise
        for path in list(self.folder.iterdir()):
            is_weights = is_shard_name(path.name) or path.name == INDEX
            is_left = is_weights and path.name not in self._names
            if is_left or path.name.endswith(self._ending_of_old):
                path.unlink()

    def _put_back(self, present: list[str]) -> None:
        """Give the files of an earlier save their names again, and take away what is new."""
        for name in self._names:
            old = self.folder / (name + self._ending_of_old)
            if old.exists():
                os.replace(old, self.folder / name)
            elif name not in present:
                (self.folder / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove what was written."""
        for name in self._names:
            with suppress(OSError):
                (self.folder / (name + self._ending)).unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[Writing]:
    """Write files in the block; on any error in it the folder is as before.

    Args:
        folder: Folder, made if it is not there.

    Raises:
        ArgumentError: There is a file of that name.
    """
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"folder: {str(folder)!r} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    files = Writing(folder)
    try:
        yield files
        files.finish()
    except BaseException:
        files.remove()
        raise


def check_folder(folder: Any) -> Path:
    """Return a path.

    Args:
        folder: Text or a path.

    Raises:
        ArgumentError: It is something else, or empty.
    """
    if not isinstance(folder, (str, os.PathLike)) or not isinstance(os.fspath(folder), str):
        raise ArgumentError(f"folder: expected the path of a folder, got {describe(folder)}")
    if not os.fspath(folder):
        raise ArgumentError("folder: expected the path of a folder, got an empty text")
    return Path(folder)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file of JSON text.

    Args:
        path: File.

    Raises:
        StateError: It cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise StateError(f"{path}: is damaged: {error}") from error
    if not isinstance(content, dict):
        raise StateError(f"{path}: is damaged: expected an object, got {describe(content)}")
    return content


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
