"""Every example and every code block of the documentation runs, without a network."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("[0-9]*.py"))
# The full run takes half a minute; one epoch shows that everything works.
SHORT = {"37_preset_devices": ("--seeds", "1", "--epochs", "1")}
# Files that the code of a document reads, by their names there.
FILES = {"porting.md": {"checkpoint.pt": "aihwkit/with_sgd.pt.gz"}}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Libraries of others that documents show; not everybody who runs the tests has them.
CLIENTS = ("transformers", "peft")
# What they say about each other.
OF_CLIENTS = "ignore::FutureWarning:transformers.modeling_utils"

OFFLINE = """
import runpy, socket, sys

connect = socket.socket.connect

def refuse(self, *address):
    if self.family == socket.AF_UNIX:  # between the processes of a DataLoader
        return connect(self, *address)
    raise OSError("no network in this test")

socket.socket.connect = refuse
sys.argv = sys.argv[1:]
sys.path.insert(0, __import__("os").path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_offline(script: Path, *arguments: str, folder: Path, timeout: int) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-W", OF_CLIENTS, "-c", OFFLINE, str(script), *arguments],
        cwd=folder,
        timeout=timeout,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return finished.stdout


def code_of(document: Path) -> str:
    """Return the code blocks of a document as one script: later ones build on earlier ones."""
    return "\n".join(re.findall(r"```python\n(.*?)```", document.read_text(), re.S))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    assert run_offline(example, *SHORT.get(example.stem, ()), folder=tmp_path, timeout=60)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_code_runs(document: Path, tmp_path: Path) -> None:
    script = tmp_path / "blocks.py"
    code = code_of(document)
    for client in CLIENTS:
        if f"import {client}" in code:
            pytest.importorskip(client, reason=f"{client}, which {document.name} shows, is missing")
    script.write_text(code)
    for name, source in FILES.get(document.name, {}).items():
        content = (Path(__file__).parent / "data" / source).read_bytes()
        (tmp_path / name).write_bytes(gzip.decompress(content))
    run_offline(script, folder=tmp_path, timeout=100)
