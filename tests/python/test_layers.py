"""Modules import from their own area or from lower layers, and never in a circle.

Every import counts: those for type checkers, those inside functions, and names of modules in
strings, by which a module can be imported as well.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mho

ROOT = Path(mho.__file__).parent

Arrow = tuple[str, str]
Tree = dict[str, ast.Module]

# Lowest layer first. A layer has one or more areas, an area one or more prefixes; the longest
# prefix of a module counts. Areas of one layer do not know each other.
LAYERS: list[list[set[str]]] = [
    [
        {
            "mho._core",
            "mho.documented",
            "mho.exceptions",
            "mho.simulator",
            "mho.simulator.delegation",
        }
    ],
    [{"mho.version", "mho.settings", "mho.threads", "mho.pending", "mho.interpreters"}],
    [{"mho.adapters"}],
    [{"mho.simulator.parameters"}],
    [
        {"mho.simulator.devices"},
        {"mho.simulator.digital_low_precision"},
        {"mho.simulator.state"},
        {"mho.inference"},
    ],
    [{"mho.optim"}],
    [
        {
            "mho.simulator.raw_tiles.base",
            "mho.simulator.raw_tiles.given_values",
            "mho.simulator.raw_tiles.modifier",
            "mho.simulator.raw_tiles.patches",
            "mho.simulator.raw_tiles.rows",
            "mho.simulator.raw_tiles.weight_limits",
        }
    ],
    [{"mho.simulator.raw_tiles.core"}, {"mho.simulator.raw_tiles.torch"}],
    [
        {
            "mho.simulator.raw_tiles",
            "mho.simulator.raw_tiles.custom",
            "mho.simulator.raw_tiles.custom_compound",
            "mho.simulator.raw_tiles.sliced",
            "mho.simulator.raw_tiles.transfer",
        }
    ],
    [{"mho.simulator.parts"}, {"mho.simulator.rpu_base"}, {"mho.simulator.tuning"}],
    [{"mho.simulator.autograd"}],
    [{"mho.simulator.tiles"}],
    [{"mho.simulator.configs"}],
    [{"mho.simulator.presets"}],
    [{"mho.nn"}],
    [
        {
            "mho",
            "mho.cloud",
            "mho.compat",
            "mho.evaluation",
            "mho.experiments",
            "mho.extension",
            "mho.inference.calibration",
            "mho.inference.converter.wpo",
            "mho.linalg",
            "mho.simulator.noise_models",
            "mho.utils",
        }
    ],
]
PLACES = {
    prefix: (rank, area)
    for rank, layer in enumerate(LAYERS)
    for area, prefixes in enumerate(layer)
    for prefix in prefixes
}
# These are places for themselves only: what else is in the folder has a place of its own.
ALONE = {"mho", "mho.simulator", "mho.simulator.raw_tiles"}
# It gives modules a second name.
MAY_NAME_MODULES = {"mho.compat"}


def read(root: Path) -> Tree:
    """Return the syntax trees of a package by name of the module."""
    tree = {}
    for path in sorted(root.rglob("*.py")):
        parts = ("mho", *path.relative_to(root).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree[name] = ast.parse(path.read_text())
    return tree


def prefix_of(module: str) -> str:
    """Return the longest known prefix of a module."""
    while module not in PLACES:
        module = module.rpartition(".")[0]
    return module


def is_allowed(importer: str, target: str) -> bool:
    """Return whether a module may import another one."""
    own, other = PLACES[prefix_of(importer)], PLACES[prefix_of(target)]
    return own == other or other[0] < own[0]


def nearest(name: str, tree: Tree) -> str:
    """Return the module that a dotted name is, or is a name of."""
    while name not in tree and name not in ("mho._core", ""):
        name = name.rpartition(".")[0]
    return name


def docstrings(module: ast.Module) -> set[int]:
    """Return the identities of all texts that only document, those after fields included."""
    return {id(n.value) for n in ast.walk(module) if isinstance(n, ast.Expr)}


def imported(name: str, tree: Tree) -> Iterator[str]:
    """Yield the modules of the package that a module imports, in whatever way."""
    prose = docstrings(tree[name])
    for node in ast.walk(tree[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide the order"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and id(node) not in prose:
            if name not in MAY_NAME_MODULES and re.fullmatch(r"mho(\.\w+)+", str(node.value)):
                yield str(node.value)


def direct(tree: Tree) -> set[Arrow]:
    """Return all pairs of a module and another one that it imports."""
    found = {(name, nearest(text, tree)) for name in tree for text in imported(name, tree)}
    return {(name, target) for name, target in found if target not in ("", name)}


def upward(tree: Tree) -> set[Arrow]:
    """Return the imports from a higher layer, or from another area of the same."""
    return {arrow for arrow in direct(tree) if not is_allowed(*arrow)}


def arrows(tree: Tree) -> set[Arrow]:
    """Return the same with the packages around a target, which run before it; not with its own."""
    found = direct(tree)
    for name, target in set(found):
        while target := target.rpartition(".")[0]:
            if not f"{name}.".startswith(f"{target}."):
                found.add((name, target))
    return found


def circular(graph: set[Arrow]) -> set[str]:
    """Return the modules that are in a circle, or between two."""
    while True:
        importers, targets = {a for a, _ in graph}, {b for _, b in graph}
        inner = {(a, b) for a, b in graph if b in importers and a in targets}
        if inner == graph:
            return importers
        graph = inner


def unplaced(tree: Tree) -> list[str]:
    """Return the modules that no area is known for."""
    return [name for name in tree if name not in ALONE and prefix_of(name) in ALONE]


def defined(module: ast.Module) -> set[str]:
    """Return the names that a module defines itself, or takes from the extension."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom) and node.module == "mho._core":
            names.update(alias.name for alias in node.names)
    return names


def has_code(module: ast.Module) -> bool:
    """Return whether a module does more than to hand names on."""
    kept = (ast.Import, ast.ImportFrom, ast.Expr)
    return any(
        not isinstance(node, kept)
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in module.body
    )


def second_hand(tree: Tree) -> dict[str, dict[str, set[str]]]:
    """Return modules with code, and what they import from where it is not defined."""
    found: dict[str, dict[str, set[str]]] = {}
    for name in (name for name in tree if has_code(tree[name])):
        for node in ast.walk(tree[name]):
            source = node.module if isinstance(node, ast.ImportFrom) else None
            if not isinstance(node, ast.ImportFrom) or source is None or source not in tree:
                continue
            names = {a.name for a in node.names} - defined(tree[source])
            if names := {n for n in names if nearest(f"{source}.{n}", tree) == source}:
                found.setdefault(name, {}).setdefault(source, set()).update(names)
    return found


TREE = read(ROOT)


def test_every_module_has_a_place() -> None:
    assert unplaced(TREE) == []


def test_imports_go_down() -> None:
    assert upward(TREE) == set()


def test_there_are_no_circles() -> None:
    assert circular(arrows(TREE)) == set()


def test_own_code_imports_from_the_defining_module() -> None:
    assert second_hand(TREE) == {}


# By `__getattr__` of the root, when it is asked for; a test of the API shows that this is so.
IMPORTED_LATER = {"mho.nn", "mho.nn.noise"}


def test_the_root_imports_neither_torch_nor_layers() -> None:
    own = {target for name, target in direct(TREE) if name == "mho"} - IMPORTED_LATER
    lowest = PLACES["mho.adapters"][0]
    assert all(PLACES[prefix_of(target)][0] <= lowest for target in own)


def tree_of(**sources: str) -> Tree:
    """Return a package of a few modules; two underscores stand for a dot."""
    return {f"mho.{name.replace('__', '.')}": ast.parse(text) for name, text in sources.items()}


@pytest.mark.parametrize(
    "text",
    [
        "from mho.simulator.tiles.b import B",
        "from mho.simulator.tiles import b",
        "import mho.simulator.tiles.b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mho.simulator.tiles.b",
        "def f():\n    from mho.simulator.tiles.b import B",
        "NAMES = ['mho.simulator.tiles.b']",
        "import_module('mho.simulator.tiles.b.B')",
    ],
)
def test_imports_upwards_are_found(text: str) -> None:
    tree = tree_of(simulator__parameters__a=text, simulator__tiles__b="class B: ...")
    assert upward(tree) == {("mho.simulator.parameters.a", "mho.simulator.tiles.b")}


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("simulator.devices.a", "inference.noise.b", False),  # sideways
        ("simulator.devices.a", "simulator.devices.cells.b", True),
        ("inference.noise.a", "inference.calibration.b", False),
        ("inference.calibration.a", "inference.noise.b", True),
        ("simulator.raw_tiles.base", "simulator.raw_tiles.core.b", False),
        ("simulator.raw_tiles.core.a", "simulator.raw_tiles.torch.b", False),
        ("simulator.raw_tiles.custom", "simulator.raw_tiles.torch.b", True),
        ("simulator.raw_tiles.core.a", "simulator.raw_tiles", False),
        ("simulator.tiles.a", "simulator.configs.b", False),
        ("simulator.rpu_base.a", "simulator.raw_tiles.core.b", True),
        ("nn.modules.a", "mho", False),
    ],
)
def test_longest_prefix_counts(importer: str, target: str, allowed: bool) -> None:
    assert is_allowed(f"mho.{importer}", target if target == "mho" else f"mho.{target}") == allowed


def test_texts_that_only_speak_of_modules_are_no_imports() -> None:
    text = '"""mho.simulator.tiles.b"""\nx = 1\n"""mho.simulator.tiles.b"""\ny = "see mho.nn.b: x"'
    tree = tree_of(simulator__parameters__a=text, simulator__tiles__b="", nn__b="")
    assert upward(tree) == set()
    name = "_ALIAS = 'mho.nn.modules.b'"
    assert upward(tree_of(compat=name, nn__modules__b="")) == set()
    assert upward(tree_of(settings=name, nn__modules__b="")) != set()


def test_circles_are_found() -> None:
    """Also those through the front of a package, which nobody sees in the importing file."""
    two = tree_of(
        nn__a="import mho.nn.b", nn__b="def f():\n    import mho.nn.a", nn__c="import mho.nn.a"
    )
    assert circular(arrows(two)) == {"mho.nn.a", "mho.nn.b"}
    front = tree_of(
        simulator__configs="import mho.simulator.tiles.a",
        simulator__configs__b="",
        simulator__tiles__a="import mho.simulator.configs.b",
    )
    assert circular(direct(front)) == set()
    assert circular(arrows(front)) == {"mho.simulator.configs", "mho.simulator.tiles.a"}
    line = tree_of(nn="import mho.nn.a", nn__a="import mho.nn.b", nn__b="")
    assert circular(arrows(line)) == set()


def test_modules_without_a_place_are_found() -> None:
    assert unplaced(tree_of(new="", simulator__new="", simulator__raw_tiles__new="")) == [
        "mho.new",
        "mho.simulator.new",
        "mho.simulator.raw_tiles.new",
    ]


def test_names_at_second_hand_are_found() -> None:
    sources = {"nn": "from mho.nn.a import A", "nn__a": "class A: ..."}
    handed_on = "from mho.nn import A\n__all__ = ['A']"
    assert second_hand(tree_of(**sources, utils=handed_on)) == {}
    code = tree_of(**sources, utils="from mho.nn import A, a\nclass B(A): ...")
    assert second_hand(code) == {"mho.utils": {"mho.nn": {"A"}}}
    assert second_hand(tree_of(**sources, utils="from mho.nn.a import A\nclass B(A): ...")) == {}


def test_files_are_read_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "nn").mkdir()
    for name in ("__init__.py", "nn/__init__.py", "nn/a.py"):
        (tmp_path / name).write_text("import mho.nn.a\n")
    assert list(read(tmp_path)) == ["mho", "mho.nn", "mho.nn.a"]
    assert direct(read(tmp_path)) == {("mho", "mho.nn.a"), ("mho.nn", "mho.nn.a")}


def test_relative_imports_are_refused() -> None:
    with pytest.raises(AssertionError, match="hide the order"):
        direct(tree_of(nn__a="from . import b", nn__b=""))
