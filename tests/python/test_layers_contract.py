"""Modules import only from what stands before them in the design, and never in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mho

PACKAGE = Path(mho.__file__).parent

# Lowest first; a module may import from its own line and the lines above it. The longest prefix
# counts.
ORDER = [
    ["mho._core", "mho.exceptions", "mho.version"],
    ["mho.settings", "mho.compat", "mho.adapters"],
    ["mho.cloud", "mho.experiments", "mho.extension", "mho.simulator.digital_low_precision"],
    ["mho.simulator.parameters"],
    ["mho.inference"],
    ["mho.simulator.configs"],
    ["mho.simulator.presets"],
    ["mho.optim"],
    ["mho.simulator.tiles", "mho.simulator.rpu_base"],
    ["mho.nn.modules"],
    ["mho.nn"],
    ["mho.inference.calibration", "mho.linalg", "mho.utils", "mho.simulator.noise_models"],
    ["mho"],
]
RANKS = {prefix: rank for rank, prefixes in enumerate(ORDER) for prefix in prefixes}


def module_name(path: Path) -> str:
    parts = ("mho", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt) and is_type_checking(child):
            continue
        yield child
        yield from walk(child)


def imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports, also inside functions."""
    found = set()
    for node in walk(ast.parse(SOURCES[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide the order"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in SOURCES or inner == "mho._core" else str(node.module))
    return {target for target in found if target == "mho" or target.startswith("mho.")}


def rank(name: str) -> int:
    prefix = name
    while prefix not in RANKS:
        prefix = prefix.rpartition(".")[0]
    return RANKS[prefix]


def test_every_module_has_a_place_in_the_order() -> None:
    # The root is only a place for the root itself and for markers of a folder.
    unplaced = [
        n for n in SOURCES if rank(n) == len(ORDER) - 1 and n not in ("mho", "mho.simulator")
    ]
    assert unplaced == []


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "mho"])
def test_imports_follow_the_order(name: str) -> None:
    above = {target for target in imports(name) if rank(target) > rank(name)}
    assert above == set(), f"{name} imports what is built on it"


def test_there_are_no_cycles() -> None:
    # Packages only re-export, so a module and the package that it is in are one-way by
    # construction.
    graph = {name: imports(name) & set(SOURCES) for name in SOURCES}
    while True:
        leaves = [name for name, targets in graph.items() if not targets & set(graph)]
        if not leaves:
            break
        for name in leaves:
            del graph[name]
    assert set(graph) == set(), "these modules import each other, or one of them does so twice"


def test_the_root_imports_neither_torch_nor_layers() -> None:
    assert all(rank(target) <= RANKS["mho.settings"] for target in imports("mho"))
