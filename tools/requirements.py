"""Print what the package and some of its extras need, one requirement a line, for pip.

They can be installed while the extension is still being compiled.
"""

import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with maturin

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = (project["optional-dependencies"][name] for name in sys.argv[1].split(","))
print(*project["dependencies"], *(entry for extra in extras for entry in extra), sep="\n")
