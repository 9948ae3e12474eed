"""The script that looks for import circles in the crate, on made-up crates."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "check_cycles.py"

# Imports run one way: `top` uses `low` through the re-export of their folder, tests use all.
CLEAN = {
    "lib.rs": "pub mod folder;\npub use folder::Top;\n",
    "folder/mod.rs": """
//! super::low::Low stands in a comment, "crate::folder::top::Top" in a string.
mod low;
mod top;
pub use low::Low;
pub use top::Top;
""",
    "folder/low.rs": """
pub struct Low;
impl Low {
    pub fn new() -> Self { Self::made() }
    fn made() -> Self { Low }
}
const TEXT: &str = "crate::folder::Top";
#[cfg(test)]
mod tests {
    use crate::folder::Top;
    fn both() { Top::new(super::Low); }
}
""",
    "folder/top.rs": """
use super::Low;
pub struct Top(Low);
impl Low {
    pub fn twice(&self) {}
}
""",
}


def run(folder: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, str(SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_imports_that_run_one_way_pass(tmp_path: Path) -> None:
    result = run(tmp_path, CLEAN)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


LOW, TOP = CLEAN["folder/low.rs"], CLEAN["folder/top.rs"]
CIRCLES = {
    "use": {"folder/low.rs": "use super::{top::Top, super::other::{A, B as C}};\n" + LOW},
    "re-export of the crate": {"folder/low.rs": LOW + "fn f(_: crate::Top) {}\n"},
    "inline path": {"folder/low.rs": LOW + "fn f() { super::top::Top::new(); }\n"},
    "method of another file": {"folder/low.rs": LOW + "impl Low { fn f(&self) { self.twice(); } }"},
    "child and its folder": {
        "folder/mod.rs": CLEAN["folder/mod.rs"] + "pub struct Own(Low);\n",
        "folder/low.rs": LOW + "fn f(_: super::Own) {}\n",
    },
    "three files": {
        "folder/low.rs": LOW + "fn f() { crate::third::g(); }\n",
        "third.rs": "pub fn g() { let _ = crate::folder::Top::new; }\n",
        "lib.rs": CLEAN["lib.rs"] + "mod third;\n",
    },
}  # fmt: skip


@pytest.mark.parametrize("what", CIRCLES)
def test_circles_are_found_with_their_lines(tmp_path: Path, what: str) -> None:
    result = run(tmp_path, CLEAN | CIRCLES[what])
    assert result.returncode == 1, result.stderr
    assert result.stdout.count("circle:") == 1
    assert "crate::folder::low" in result.stdout
    assert f"{tmp_path}/folder/low.rs:" in result.stdout
