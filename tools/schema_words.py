"""Writes the words of `schemas/topology.schema.json` that name classes: stores, tools that apply the tree, kinds of east-west gateways.

`python tools/schema_words.py` writes them from the tables of the package, `make docs` does it, and a test compares. Words that a
schema has keep their order; new ones come last.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SCHEMA = TOP / "schemas/topology.schema.json"
TEXT = r'"(?:[^"\\]|\\.)*"'


def list_words() -> Mapping[str, Iterable[str]]:
    """The words by the field that has them."""
    from kubectl_mesh.delivery import TOOLS
    from kubectl_mesh.stores import STORES
    from kubectl_mesh.targets import KINDS

    gateways = dict.fromkeys(kind for target in KINDS.values() for kind in target.GATEWAYS)
    return {'"store"': STORES, '"tool"': TOOLS, r'"eastWestGateway": {\s*"type".*?"kind"': gateways}


def generate_schema(text: str) -> str:
    """A schema with the words of the tables."""
    for field, words in list_words().items():
        enum = re.compile(
            rf'({field}: {{\s*"description": {TEXT},\s*"enum": )(\[[^]]*\])', re.DOTALL
        )
        found = enum.search(text)
        if found is None:
            raise ValueError(f"the schema has no enum for {field}")
        old = json.loads(found[2])
        new = [
            *(word for word in old if word in words),
            *(word for word in words if word not in old),
        ]
        text = text[: found.start(2)] + json.dumps(new) + text[found.end(2) :]
    return text


if __name__ == "__main__":
    sys.path.insert(0, str(TOP))
    SCHEMA.write_text(generate_schema(SCHEMA.read_text()))
