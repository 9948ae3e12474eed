"""Every place with `unsafe` is on the page docs/unsafe.md, and has its argument beside it."""

import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "unsafe.md").read_text()

sys.path.insert(0, str(ROOT / "tools"))
from check_cycles import HIDDEN, blank  # noqa: E402

Places = Counter[tuple[str, str]]

# What a place is in, and the place itself.
NAMED = re.compile(r"\b(?:fn|struct|type|impl\s+\w+\s+for)\s+(\w+)")
OWN = re.compile(r"unsafe\s+(?:extern\s+\S*\s*)?(?:fn\s+(\w+)|impl\s+\w+\s+for\s+(\w+))")
# Lines above a place in which its argument stands.
NEAR = 12


def code(text: str) -> str:
    """Return a source without comments and texts, as long as before."""
    return HIDDEN.sub(lambda found: blank(found[0]), text)


def places(source: str) -> list[tuple[str, int]]:
    """Return what each `unsafe` is in, and its line."""
    bare = code(source)
    found = []
    for place in re.finditer(r"\bunsafe\b(?!\s*_code)", bare):
        rest = bare[place.start() :]
        # `unsafe fn name`, `unsafe impl Trait for Name`: the name comes after it.
        own = OWN.match(rest)
        name = (own[1] or own[2]) if own else NAMED.findall(bare[: place.start()])[-1]
        found.append((name, bare.count("\n", 0, place.start())))
    return found


def in_sources() -> Places:
    """Return how many places each item of each file has."""
    found: Places = Counter()
    for path in sorted((ROOT / "src").rglob("*.rs")):
        name = str(path.relative_to(ROOT))
        found.update((name, item) for item, _ in places(path.read_text()))
    return found


def on_page(page: str) -> Places:
    """Return how many places the page lists."""
    found: Places = Counter()
    for file, items, count in re.findall(r"^\| `(\S+\.rs)` \| ([^|]+) \| (\d+)", page, re.M):
        for item in re.findall(r"`(\w+)`", items):
            found[file, item] += int(count)
    return found


def test_page_lists_what_there_is() -> None:
    assert on_page(PAGE) == in_sources()


def test_every_place_has_its_argument() -> None:
    for path in sorted((ROOT / "src").rglob("*.rs")):
        source = path.read_text()
        lines = source.splitlines()
        for item, line in places(source):
            near = "\n".join(lines[max(line - NEAR, 0) : line])
            is_type = lines[line].startswith("type ")
            assert is_type or "SAFETY:" in near or "# Safety" in near, f"{path}:{line + 1}: {item}"


def test_new_places_are_found() -> None:
    source = """
    // unsafe in a comment
    fn one() { let text = "unsafe"; unsafe { two() } }
    unsafe fn two() {}
    unsafe impl Sync for Three {}
    type Four = unsafe extern "C" fn();
    #[allow(unsafe_code)]
    fn five() {}
    """
    assert [item for item, _ in places(source)] == ["one", "two", "Three", "Four"]
    assert on_page("| `src/a.rs` | `one`, `two` | 2 each | why | how |") == {
        ("src/a.rs", "one"): 2,
        ("src/a.rs", "two"): 2,
    }


def test_only_this_page_allows_it() -> None:
    """The lint is off in files and items with such places only."""
    manifest = (ROOT / "Cargo.toml").read_text()
    assert 'unsafe_code = "deny"' in manifest
    files = {file for file, _ in in_sources()}
    allowed = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.rs")
        if re.search(r"allow\(\s*unsafe_code", code(path.read_text()))
    }
    assert allowed == files
