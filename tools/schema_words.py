"""Writes the words that name classes: stores, delivery tools, kinds of control planes and of east-west gateways.

`make docs` runs it after a class was added to a table of the package: it writes these words into the schema of topology.yaml, the
schema of `describe -o json`, and the kinds that the command line offers. A test compares. Existing words keep their order; new ones
come last.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SCHEMA = TOP / "schemas/topology.schema.json"
DESCRIBE = TOP / "schemas/output/describe.schema.json"
KINDS = TOP / "kubectl_mesh/cli/kinds.py"
TEXT = r'"(?:[^"\\]|\\.)*"'
DESCRIPTION = rf'"description": {TEXT},\s*'
GATEWAY = r'"eastWestGateway": {\s*"type".*?"kind"'


def replace_words(text: str, field: str, words: Iterable[str]) -> str:
    """A schema whose enum of a field, given as a pattern, has these words."""
    found = re.search(rf'({field}: {{\s*(?:{DESCRIPTION})?"enum": )(\[[^]]*\])', text, re.DOTALL)
    if found is None:
        raise ValueError(f"the schema has no enum for {field}")
    old, known = json.loads(found[2]), list(words)
    new = [*(w for w in old if w in known), *(w for w in known if w not in old)]
    body = json.dumps(new)
    if "\n" in found[2]:
        indent = found[2].rpartition("\n")[2].removesuffix("]")
        body = json.dumps(new, indent=2).replace("\n", f"\n{indent}")
    return text[: found.start(2)] + body + text[found.end(2) :]


def generate_schema(text: str) -> str:
    """The schema of topology.yaml with the words of the tables."""
    from kubectl_mesh.delivery import TOOLS
    from kubectl_mesh.stores import STORES
    from kubectl_mesh.targets import KINDS as TARGETS

    gateways = dict.fromkeys(kind for target in TARGETS.values() for kind in target.GATEWAYS)
    for field, words in (('"store"', STORES), ('"tool"', TOOLS), (GATEWAY, gateways)):
        text = replace_words(text, field, words)
    return text


def generate_description(text: str) -> str:
    """The schema of `describe -o json` with the words of the tables."""
    from kubectl_mesh.stores import STORES

    return replace_words(text, '"store"', STORES)


def generate_kinds(text: str) -> str:
    """The module of the command line that names the kinds, which loads no target."""
    from kubectl_mesh.targets import KINDS as TARGETS

    one = f"KINDS = ({', '.join(json.dumps(kind) for kind in TARGETS)})\n"
    many = "KINDS = (\n" + "".join(f"    {json.dumps(kind)},\n" for kind in TARGETS) + ")\n"
    return re.sub(r"KINDS = \(.*?\)\n", one if len(one) <= 101 else many, text, flags=re.DOTALL)


FILES = {SCHEMA: generate_schema, DESCRIBE: generate_description, KINDS: generate_kinds}
"""Each file with generated words, and what generates them in it."""


if __name__ == "__main__":
    sys.path.insert(0, str(TOP))
    for path, generate in FILES.items():
        path.write_text(generate(path.read_text()))
