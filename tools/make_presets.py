"""Write the presets of both languages: ``python tools/make_presets.py [--check]``.

``src/presets/table.json`` has all values, sources and descriptions, with the names of the Python
classes. From it come the modules of ``mho.simulator.presets`` and the constructors of
``mho_core::presets``, each as their formatters leave it. With ``--check`` nothing is written; the
exit code is 1 if a file is not what the table says.
"""

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PYTHON, RUST = ROOT / "python/mho/simulator/presets", ROOT / "src/presets"
WIDTH = 100
WARNING = "Written by tools/make_presets.py from src/presets/table.json."
Entry = dict[str, Any]


class Number(str):
    """A number as the table spells it."""


# --- Python -----------------------------------------------------------------------------------

PARAMETERS = "mho.simulator.parameters"
DEVICES = "mho.simulator.presets.devices"
HOMES = {
    "BaseDriftCompensation": "mho.inference.compensation.base",
    "BaseNoiseModel": "mho.inference.noise.base",
    "BoundManagementType": f"{PARAMETERS}.enums",
    "ConstantStepDevice": "mho.simulator.devices.constant_step",
    "DigitalRankUpdateRPUConfig": "mho.simulator.tiles.analog",
    "ExpStepDevice": "mho.simulator.devices.exp_step",
    "GlobalDriftCompensation": "mho.inference.compensation.drift",
    "IOParameters": f"{PARAMETERS}.io",
    "InferenceRPUConfig": "mho.simulator.tiles.inference",
    "InputRangeParameter": f"{PARAMETERS}.pre_post",
    "LinearStepDevice": "mho.simulator.devices.linear_step",
    "MappingParameter": f"{PARAMETERS}.mapping",
    "NoiseManagementType": f"{PARAMETERS}.enums",
    "PCMLikeNoiseModel": "mho.inference.noise.pcm",
    "PCMPresetUnitCell": "mho.simulator.presets.compounds",
    "PrePostProcessingParameter": f"{PARAMETERS}.pre_post",
    "PresetIOParameters": "mho.simulator.presets.utils",
    "PulseType": f"{PARAMETERS}.enums",
    "SingleRPUConfig": "mho.simulator.tiles.analog",
    "SoftBoundsReferenceDevice": "mho.simulator.devices.soft_bounds_reference",
    "TorchInferenceRPUConfig": "mho.simulator.tiles.inference_torch",
    "UnitCellRPUConfig": "mho.simulator.tiles.analog",
    "UpdateParameters": f"{PARAMETERS}.training",
    "WeightClipParameter": f"{PARAMETERS}.inference",
    "WeightClipType": f"{PARAMETERS}.enums",
    "WeightNoiseType": f"{PARAMETERS}.enums",
    "WeightRemapParameter": f"{PARAMETERS}.inference",
    "WeightRemapType": f"{PARAMETERS}.enums",
    "agad": "mho.simulator.presets.cell_factories",
    "mixed_precision": "mho.simulator.presets.cell_factories",
    "register_config_class": f"{PARAMETERS}.registry",
    "tiki_taka": "mho.simulator.presets.cell_factories",
    "training_preset": "mho.simulator.presets.cell_factories",
    "ttv2": "mho.simulator.presets.cell_factories",
    "vector": "mho.simulator.presets.cell_factories",
}
CENTRED = "_CentredReRamSB"


def imports(body: str, defined: set[str], standard: str) -> str:
    """Return the import lines of the names that a module uses but does not define."""
    code = re.sub(r'"""(?:.|\n)*?"""', "", body)
    used = set(re.findall(r"\b\w+\b", code)) - defined
    homes: dict[str, list[str]] = {}
    for name in used:
        home = DEVICES if name.endswith("PresetDevice") else HOMES.get(name)
        if home:
            homes.setdefault(home, []).append(name)
    # Constants before classes before functions, as isort has them.
    lines = []
    for home, names in sorted(homes.items()):
        names.sort(key=lambda name: (name[0].islower(), name))
        line = f"from {home} import {', '.join(names)}"
        broken = "".join(f"    {name},\n" for name in names)
        lines.append(line if len(line) <= WIDTH else f"from {home} import (\n{broken})")
    return f"{standard}\n\n" + "\n".join(lines) + "\n"


def call(head: str, parts: list[str], indent: int) -> str:
    """Return a call with its arguments on one line, on a further one, or on a line each."""
    line, space = f"{head}({', '.join(parts)})", " " * (indent + 4)
    if indent + len(line) <= WIDTH and "\n" not in line:
        return line
    inner = f"{space}{', '.join(parts)}"
    if len(inner) <= WIDTH and "\n" not in inner:
        return f"{head}(\n{inner}\n{' ' * indent})"
    # What is broken itself and alone has no comma.
    comma = "" if len(parts) == 1 and "\n" in parts[0] else ","
    inner = "".join(f"{space}{part}{comma}\n" for part in parts)
    return f"{head}(\n{inner}{' ' * indent})"


def docstring(paragraphs: list[str], indent: int = 4) -> str:
    """Return a docstring with its quotes."""
    space = " " * indent
    quoted = [f'"""{paragraphs[0]}', *paragraphs[1:]]
    text = "\n\n".join(
        textwrap.fill(
            p, WIDTH, initial_indent=space, subsequent_indent=space, break_on_hyphens=False
        )
        for p in quoted
    )
    return f"{text}\n{space}" + '"""\n' if paragraphs[1:] else f'{text}"""\n'


def hint(value: object) -> str:
    """Return the type of the value of a field."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    member = re.fullmatch(r"(\w+Type)\.\w+", str(value))
    return member[1] if member else "float"


def group(name: str, entry: Entry) -> str:
    """Return a dataclass with other defaults than its base."""
    lines = []
    for field, value in entry["values"].items():
        if field in entry.get("comments", {}):
            lines.append(f"    # {entry['comments'][field]}\n")
        lines.append(f"    {field}: {hint(value)} = {value}\n")
    head = f"@register_config_class\n@dataclass\nclass {name}({entry['base']}):\n"
    return f"{head}{docstring(entry['doc'])}\n{''.join(lines)}"


def module(text: list[str], body: str, standard: str, defined: set[str], names: bool) -> str:
    """Return a module with its docstring, imports and list of names."""
    listed = "".join(f'    "{name}",\n' for name in sorted(defined))
    exported = f"\n__all__ = [\n{listed}]\n" if names and len(defined) > 2 else ""
    if names and not exported:
        exported = "\n__all__ = [" + ", ".join(f'"{name}"' for name in sorted(defined)) + "]\n"
    top = docstring([*text, WARNING], 0)
    return f"{top}\n{imports(body, defined, standard)}{exported}{body}"


def python_parameters(table: Entry) -> str:
    """Return `utils.py`."""
    body = "".join(f"\n\n{group(name, entry)}" for name, entry in table["parameters"].items())
    text = ["Parameters of products and updates that presets share."]
    standard = "from dataclasses import dataclass"
    return module(text, body, standard, set(table["parameters"]), False)


def python_devices(table: Entry) -> str:
    """Return `devices.py`."""
    body = "".join(f"\n\n{group(name, entry)}" for name, entry in table["devices"].items())
    text = [
        "Devices fitted to measurements or taken from publications.",
        "Each preset is the device it is based on with other defaults; every field may be given as"
        " usual. All weights are normalised: one is half of the range of the device.",
    ]
    standard = "from dataclasses import dataclass"
    return module(text, body, standard, set(table["devices"]), True)


def python_training(table: Entry) -> str:
    """Return `configs.py`."""
    body = (
        "\n# Transfers drive the fast device to its symmetry point, which must therefore read as"
        f" zero.\n{CENTRED} = partial(ReRamSBPresetDevice, subtract_symmetry_point=True)\n"
    )
    for name, entry in table["training"].items():
        device = entry["device"]
        length = [f"desired_bl={entry['desired_bl']}"] if "desired_bl" in entry else []
        given = entry.get("arguments", {}).items()
        arguments = [device, *(str(v) if k == "n_devices" else f"{k}={v}" for k, v in given)]
        made = f"{entry['cell']}({', '.join(arguments)})" if "cell" in entry else device
        if len(made) + 4 > WIDTH - (1 if length else 0):
            made = call(entry["cell"], arguments, 4)
        decorator = call("@training_preset", [made, *length], 0)
        body += f'\n\n{decorator}\nclass {name}({entry["base"]}):\n    """{entry["doc"]}"""\n'
    text = [
        "Training configurations: a preset device with an algorithm.",
        "All read with `PresetIOParameters` and update with `PresetUpdateParameters`. What the"
        " devices are fitted to stands in `presets.devices`, the papers of the algorithms in"
        " `presets.cell_factories`.",
    ]
    standard = "from functools import partial"
    return module(text, body, standard, set(table["training"]), False)


def python_inference(table: Entry) -> str:
    """Return `inference.py`."""
    functions, classes = "", ""
    for name, entry in table["inference"].items():
        fields = ""
        prefix = "standard" if name.startswith("Standard") else "floating_point"
        for field, made in entry["fields"].items():
            factory = made["class"]
            if "values" in made:
                factory = f"_{prefix}_{field}"
                value = call("return " + made["class"], keywords(made["values"]), 4)
                functions += f"\n\ndef {factory}() -> {made['class']}:\n    {value}\n"
            head = f"{field}: {made['hint']} = field"
            fields += f"\n    {call(head, [f'default_factory={factory}'], 4)}\n"
            fields += docstring([made["doc"]])
        head = f"@register_config_class\n@dataclass\nclass {name}({entry['base']}):\n"
        classes += f"\n\n{head}{docstring(entry['doc'])}{fields}"
    text = ["Configurations for hardware-aware training and for an exact reference."]
    standard = "from dataclasses import dataclass, field"
    return module(text, functions + classes, standard, set(table["inference"]), True)


def keywords(values: Entry) -> list[str]:
    """Return keyword arguments, some of which are calls."""
    return [
        f"{name}={call(value['class'], keywords(value['values']), 8)}"
        if isinstance(value, dict)
        else f"{name}={value}"
        for name, value in values.items()
    ]


# --- Rust -------------------------------------------------------------------------------------

RUST_ENUMS = {
    "BoundManagementType": "BoundManagement",
    "NoiseManagementType": "NoiseManagement",
    "WeightNoiseType": "WeightNoise",
    "PulseType": "PulseType",
    "WeightClipType": "WeightClipType",
    "WeightRemapType": "WeightRemapType",
}
RUST_TYPES = {"IOParameters": "IoParameters", "UpdateParameters": "UpdateParameters"}
WHOLE = {"PrePostProcessingParameter"}
"""Groups of which presets set all fields."""
CHOSEN = {"noise_model": "{}", "drift_compensation": "Some({})"}
"""Fields of `InferenceConfig` that hold one of several classes; all others are groups."""
INFERENCE_FIELDS = ("forward", *CHOSEN, "mapping", "pre_post", "clip", "remap")
"""Fields of `InferenceConfig` that presets set."""


def snake(name: str) -> str:
    """Return the Rust name of a preset."""
    name = re.sub("Preset(?=Device|UnitCell|$)", "", name)
    for written, words in (("TTv2", "Ttv2"), ("HfO2", "Hfo2"), ("IO", "Io")):
        name = name.replace(written, words)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def rust_value(value: object) -> str:
    """Return a value, that of a member of an enumeration in its Rust name."""
    if isinstance(value, bool):
        return str(value).lower()
    member = re.fullmatch(r"(\w+Type)\.(\w+)", str(value))
    if not member:
        return str(value)
    return f"{RUST_ENUMS[member[1]]}::{''.join(w.capitalize() for w in member[2].split('_'))}"


def literal(
    kind: str, fields: Entry, base: str, indent: int, head: str = "", tail: str = ""
) -> str:
    """Return a struct literal, on one line or on one after that of its name if it fits."""
    parts = [name if name == value else f"{name}: {value}" for name, value in fields.items()]
    parts += [f"..{base}"] if base else []
    line = f"{head}{kind} {{ {', '.join(parts)} }}{tail}"
    if indent + len(line) <= WIDTH and "\n" not in line:
        return line
    space = " " * (indent + 4)
    after = f"{space}{line.removeprefix(head)}"
    if head.endswith("= ") and len(after) <= WIDTH and "\n" not in line:
        return f"{head.rstrip()}\n{after}"
    lines = [f"{space}{part}{'' if part.startswith('..') else ','}\n" for part in parts]
    return f"{head}{kind} {{\n{''.join(lines)}{' ' * indent}}}{tail}"


def comment(paragraphs: list[str], table: Entry) -> str:
    """Return a documentation comment, in which devices are their constructors."""
    text = []
    for paragraph in paragraphs:
        plain = re.sub(r"\[(`\w+`)\]\[[\w.]+\]", r"\1", paragraph)
        for name in [*table["devices"], "PCMPresetUnitCell"]:
            plain = plain.replace(f"`{name}`", f"[`{snake(name)}`](super::{snake(name)})")
        text.append(
            textwrap.fill(
                plain,
                WIDTH,
                initial_indent="/// ",
                subsequent_indent="/// ",
                break_on_hyphens=False,
            )
        )
    return "\n///\n".join(text) + "\n"


def function(name: str, doc: list[str], result: str, body: str, table: Entry) -> str:
    """Return a constructor."""
    head = f"#[must_use]\npub fn {snake(name)}() -> {result} {{\n"
    return f"\n{comment(doc, table)}{head}{body}}}\n"


def rust_parameters(table: Entry) -> str:
    """Return `parameters.rs`."""
    text, head = "", "//! Parameters of products and updates that presets share.\n"
    for name, entry in table["parameters"].items():
        kind = RUST_TYPES[entry["base"]]
        fields = {field: rust_value(value) for field, value in entry["values"].items()}
        body = f"    {literal(kind, fields, f'{kind}::default()', 4)}\n"
        text += function(name, entry["doc"], kind, body, table)
    return f"{head}//!\n//! {WARNING}\n\n{config_use(text)}{text}"


def config_use(text: str) -> str:
    """Return the `use` of what a text needs of the groups of parameters and their enumerations."""
    code = re.sub("///.*", "", text)
    kinds = re.findall(r"\b\w+(?=::|\s\{)", code)
    known = {kind for kind in kinds if kind.endswith(("Parameter", "Parameters"))}
    return rust_use("crate::config", sorted(known | {*kinds} & {*RUST_ENUMS.values()}))


def rust_use(path: str, names: list[str]) -> str:
    """Return a `use`, broken as rustfmt does."""
    if len(names) == 1:
        return f"use {path}::{names[0]};\n"
    line = f"use {path}::{{{', '.join(names)}}};"
    if len(line) <= WIDTH:
        return line + "\n"
    inner = textwrap.fill(
        ", ".join(names) + ",", WIDTH, initial_indent="    ", subsequent_indent="    "
    )
    return f"use {path}::{{\n{inner}\n}};\n"


def own_fields(kind: str) -> set[str]:
    """Return the fields of a device that it does not share with all others."""
    stem = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
    source = (ROOT / f"src/devices/{stem}.rs").read_text()
    return set(re.findall(r"^        (\w+): [\w<>]+ =", source, re.MULTILINE)) - {"pulsed"}


def rust_devices(table: Entry) -> str:
    """Return `devices.rs`."""
    text = (
        "//! Devices fitted to measurements or taken from publications.\n//!\n"
        "//! All weights are normalised: one is half of the range of the device.\n"
        f"//!\n//! {WARNING}\n\n"
    )
    kinds = sorted({entry["base"].removesuffix("Device") for entry in table["devices"].values()})
    text += rust_use("crate::devices", sorted(["DeviceConfig", "PulsedParameters", *kinds]))
    for name, entry in table["devices"].items():
        kind = entry["base"].removesuffix("Device")
        own = own_fields(kind)
        values = {field: rust_value(value) for field, value in entry["values"].items()}
        shared = {field: value for field, value in values.items() if field not in own}
        inner = literal("PulsedParameters", shared, "PulsedParameters::default()", 8, "pulsed: ")
        fields = {field: value for field, value in values.items() if field in own}
        base = f"{kind}::default()" if own else ""
        made = literal(kind, {"pulsed": inner.removeprefix("pulsed: "), **fields}, base, 4)
        body = f"    DeviceConfig::{kind}({made})\n"
        text += function(name, entry["doc"], "DeviceConfig", body, table)
    return text


def rust_training(table: Entry) -> str:
    """Return `training.rs`."""
    text = (
        "//! Training configurations: a preset device with an algorithm.\n//!\n"
        "//! All read with [`preset_io_parameters`](super::preset_io_parameters) and update with\n"
        "//! [`preset_update_parameters`](super::preset_update_parameters).\n"
        f"//!\n//! {WARNING}\n\n"
    )
    cells = ["Buffered", "agad", "cells", "centred", "mixed_precision", "pcm_unit_cell", "single"]
    text += rust_use("super::cells", [*cells, "tiki_taka", "ttv2", "vector"])
    named = {entry["device"] for entry in table["training"].values()}
    used = sorted(snake(name) for name in {*named, "ReRamSBPresetDevice"} & set(table["devices"]))
    text += rust_use("super::devices", used)
    text += "use crate::config::TileConfig;\nuse crate::unit_cells::CellTileConfig;\n"
    for name, entry in table["training"].items():
        device = entry["device"]
        made = "centred(re_ram_sb_device())" if device == CENTRED else f"{snake(device)}()"
        arguments = dict(entry.get("arguments", {}))
        length, cell, body = entry.get("desired_bl", 31), entry.get("cell"), ""
        if cell in ("ttv2", "agad"):
            tail = arguments.pop("tail_weightening", None)
            arguments.setdefault("in_chop_prob", "0.0")
            rates = {k: v if "." in str(v) else f"{v}.0" for k, v in arguments.items()}
            body = f"    {literal('Buffered', rates, '', 4, 'let rates = ', ';')}\n"
            made = f"{cell}({made}, rates{'' if tail is None else f', {tail}'})"
        elif cell == "vector":
            made = f"vector(&{made}, {arguments['n_devices']})"
        elif cell:
            made = f"{cell}({made})"
        is_single = entry["base"] == "SingleRPUConfig"
        body += f"    {'single' if is_single else 'cells'}({made}, {length})\n"
        result = "TileConfig" if is_single else "CellTileConfig"
        text += function(name, [entry["doc"]], result, body, table)
    return text


def rust_inference(table: Entry) -> str:
    """Return `inference.rs`."""
    text, chosen = "", {"InferenceConfig"}
    for name, entry in table["inference"].items():
        body, given = "", {}
        for field in INFERENCE_FIELDS:
            made = entry["fields"].get(field)
            if made is None:
                continue
            if field in CHOSEN:
                chosen.add(made["class"])
                given[field] = CHOSEN[field].format(f"{made['class']}::default().into()")
            else:
                body += f"    {rust_group(made, 4, f'let {field} = ', ';')}\n"
                given[field] = field
        body += f"    {literal('InferenceConfig', given, 'InferenceConfig::default()', 4)}\n"
        text += function(name, entry["rust_doc"], "InferenceConfig", body, table)
    head = f"//! Configurations for inference, and for an exact reference.\n//!\n//! {WARNING}\n\n"
    head += rust_use("super::parameters", ["preset_io_parameters"]) + config_use(text)
    return f"{head}{rust_use('crate::inference', sorted(chosen))}{text}"


def rust_group(made: Entry, indent: int, head: str = "", tail: str = "") -> str:
    """Return a group of parameters, some of which may be groups themselves."""
    kind = RUST_TYPES.get(made["class"], made["class"])
    base = f"{kind}::default()"
    if kind == "PresetIOParameters":
        kind, base = "IoParameters", "preset_io_parameters()"
    fields = {
        # `type` is a word of the language.
        "kind" if name == "type" else name: rust_group(value, indent + 4)
        if isinstance(value, dict)
        else rust_value(value)
        for name, value in made["values"].items()
    }
    if kind in WHOLE:
        base = ""
    return literal(kind, fields, base, indent, head, tail)


FILES = {
    PYTHON / "utils.py": python_parameters,
    PYTHON / "devices.py": python_devices,
    PYTHON / "configs.py": python_training,
    PYTHON / "inference.py": python_inference,
    RUST / "parameters.rs": rust_parameters,
    RUST / "devices.rs": rust_devices,
    RUST / "training.rs": rust_training,
    RUST / "inference.rs": rust_inference,
}


def table() -> Entry:
    """Return the table, its numbers as they are spelled there."""
    content: Entry = json.loads((RUST / "table.json").read_text(), parse_float=Number)
    return content


def main(check: bool) -> int:
    """Write the files, or tell which ones are not what the table says."""
    content = table()
    texts = {path: write(content) for path, write in FILES.items()}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: not what src/presets/table.json says" if check else path)
        if not check:
            path.write_text(texts[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
