"""Find import circles between the files of a crate: ``python tools/check_cycles.py [src]``.

A file uses another one when it names an item that is defined there, whichever way the name came:
paths of ``use`` and of the code are followed through re-exports to the file of the definition. A
method that another file adds to a type counts as well where it is called on ``self``. ``mod x;``,
re-exports and tests are no uses. Each circle is printed with the lines that make it; the exit code
is 1 if there is one.

The reader knows as much Rust as this takes. It expands no macros: what stands in ``macro_rules!``
counts as code of its file. It knows no types: methods of other objects are not followed.
"""

import re
import sys
from pathlib import Path

Module = tuple[str, ...]

# Comments, strings and characters.
HIDDEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|b?r(#*)\".*?\"\1|b?\"(?:\\.|[^\"\\])*\"|b?'(?:\\.[^']*|[^\\'\n])'",
    re.DOTALL,
)
TEST = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\](?:\s*#\[[^\]]*\])*")
ITEM = re.compile(
    r"\b(?:struct|enum|union|trait|type|mod|static|const(?! fn)|fn|macro_rules!)\s+(?:mut\s+)?(\w+)"
)
MODULE = re.compile(r"\bmod\s+(\w+)\s*;")
USE = re.compile(r"(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:.$])([A-Za-z_]\w*)((?:\s*::\s*[A-Za-z_]\w*)*)")
IMPL = re.compile(r"\bimpl(?:<[^{]*?>)?\s+(?:[\w:]+::)?(\w+)(?:<[^{]*?>)?\s*(?:where[^{]*)?\{")


def blank(text: str) -> str:
    """Return as many spaces and line breaks as `text` has."""
    return re.sub(r"[^\n]", " ", text)


def end_of(text: str, at: int) -> int:
    """Return where the item ends that starts at `at`: with its block, or with a semicolon."""
    depth = 0
    for found in re.finditer("[{};]", text[at:]):
        depth += {"{": 1, "}": -1, ";": 0}[found[0]]
        if depth <= 0:
            return at + found.end()
    return len(text)


def leaves(tree: str, head: Module = ()) -> list[tuple[Module, str]]:
    """Return path and local name of everything that one `use` brings."""
    tree = tree.strip()
    if brace := re.match(r"(.*?)\{(.*)\}$", tree, re.DOTALL):
        head += tuple(part.strip() for part in brace[1].split("::") if part.strip())
        parts, depth = [""], 0
        for char in brace[2]:
            depth += (char == "{") - (char == "}")
            parts[-1:] = [parts[-1], ""] if char == "," and depth == 0 else [parts[-1] + char]
        return [leaf for part in parts if part.strip() for leaf in leaves(part, head)]
    path, _, alias = (part.strip() for part in re.sub(r"\s+as\s+", "@", tree).partition("@"))
    names = head + tuple(part.strip() for part in path.split("::") if part.strip())
    names = names[:-1] if names[-1] == "self" and len(names) > 1 else names
    return [(names, alias or names[-1])]


class File:
    """What one file defines, imports and names."""

    def __init__(self, path: Path, module: Module) -> None:
        self.path, self.module = path, module
        text = HIDDEN.sub(lambda found: blank(found[0]), path.read_text())
        while found := TEST.search(text):
            end = end_of(text, found.end())
            text = text[: found.start()] + blank(text[found.start() : end]) + text[end:]
        self.children = set(MODULE.findall(text))
        self.imports: dict[str, Module] = {}
        self.named: list[tuple[Module, int]] = []
        for found in USE.finditer(text):
            line = text.count("\n", 0, found.start(2)) + 1
            for names, local in leaves(found[2]):
                self.imports[local] = names
                if not found[1]:
                    self.named.append((names, line))
        code = USE.sub(lambda found: blank(found[0]), text)
        self.items = set(ITEM.findall(code)) - self.children
        for found in PATH.finditer(code):
            names = (found[1], *re.findall(r"\w+", found[2]))
            if names[1:] or names[0] in self.imports:
                self.named.append((names, code.count("\n", 0, found.start()) + 1))
        self.methods: dict[str, set[str]] = {}
        self.calls: list[tuple[str, str, int]] = []
        for found in IMPL.finditer(code):
            body = code[found.end() : end_of(code, found.end() - 1)]
            self.methods.setdefault(found[1], set()).update(re.findall(r"\bfn\s+(\w+)", body))
            for call in re.finditer(r"\b(?:self\.|Self::)(\w+)\s*\(", body):
                line = code.count("\n", 0, found.end() + call.start()) + 1
                self.calls.append((found[1], call[1], line))


def read(root: Path) -> dict[Module, File]:
    """Return all files of the crate below `root` by their modules."""
    files = {}
    others = [manifest.parent for manifest in root.rglob("*/Cargo.toml")]
    for path in sorted(root.rglob("*.rs")):
        if any(other in path.parents for other in others):
            continue
        parts = path.relative_to(root).with_suffix("").parts
        module = parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts
        files[module] = File(path, module)
    return files


def defined(
    files: dict[Module, File], module: Module, names: Module, depth: int = 0
) -> Module | None:
    """Return the module whose file defines what `names` mean in `module`; None for other crates."""
    while names and names[0] in ("crate", "self", "super"):
        module = {"crate": (), "self": module, "super": module[:-1]}[names[0]]
        names = names[1:]
    # An import of another crate by its own name leads back to itself.
    if not names or module not in files or depth > 20:
        return None
    file, first = files[module], names[0]
    if first in file.children:
        return defined(files, (*module, first), names[1:], depth + 1)
    if first in file.imports:
        return defined(files, module, file.imports[first] + names[1:], depth + 1)
    return module if first in file.items else None


def adding(files: dict[Module, File], module: Module, name: str, method: str) -> Module | None:
    """Return the module of another file that adds `method` to the type `name` of `module`."""
    if method in files[module].methods[name]:
        return None
    home = defined(files, module, (name,))
    others = (other for other, file in files.items() if method in file.methods.get(name, ()))
    return next(
        (other for other in others if home and defined(files, other, (name,)) == home), None
    )


def graph(files: dict[Module, File]) -> dict[Module, dict[Module, str]]:
    """Return for each module those that it uses, with the first line that does."""
    uses: dict[Module, dict[Module, str]] = {module: {} for module in files}
    for module, file in files.items():
        found = [(defined(files, module, names), line, names) for names, line in file.named]
        for name, method, line in file.calls:
            found.append((adding(files, module, name, method), line, (name, method)))
        for other, line, names in found:
            if other is not None and other != module:
                uses[module].setdefault(other, f"{file.path}:{line}: {'::'.join(names)}")
    return uses


def circles(uses: dict[Module, dict[Module, str]]) -> list[list[Module]]:
    """Return a shortest circle through each file that is in one, every circle once."""
    found: dict[frozenset[Module], list[Module]] = {}
    for start in uses:
        paths = [[start]]
        seen: set[Module] = set()
        while paths:
            path = paths.pop(0)
            if start in uses[path[-1]]:
                found.setdefault(frozenset(path), path)
                break
            paths += [[*path, other] for other in uses[path[-1]] if other not in seen]
            seen.update(uses[path[-1]])
    return list(found.values())


def main(root: Path) -> int:
    """Print the circles below `root` and return the exit code."""
    uses = graph(read(root))
    found = circles(uses)
    for circle in found:
        print("circle: " + " -> ".join("::".join(("crate", *module)) for module in circle))
        for module, other in zip(circle, [*circle[1:], circle[0]], strict=True):
            print(f"  {uses[module][other]}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "src")))
