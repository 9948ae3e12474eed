"""Makes `golden_state.json`: entries of saved states, order of parameters, and random streams.

Usage: PYTHONPATH=tests/python python make_golden_state.py. It overwrites what earlier versions of
the package did: only for new kinds of tiles, or for a change that users are told about.
"""

import json
from pathlib import Path

from golden import CASES, STREAMS, described, made, stream

if __name__ == "__main__":
    content = {
        "states": {name: described(made(case)) for name, case in CASES.items()},
        "streams": {name: stream(config()) for name, config in STREAMS.items()},
    }
    text = json.dumps(content, indent=1) + "\n"
    Path(__file__).with_name("golden_state.json").write_text(text)
