"""Writes the words that name lines of tables: stores, delivery tools, issuers, key types, kinds of control planes and of east-west gateways.

`make docs` runs it after a line was added to a table of the package: it writes these words into the schema of topology.yaml, the
schema of `describe -o json`, and the kinds and issuers that the command line offers. A test compares. Existing words keep their order; new ones
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
OPTIONS = TOP / "kubectl_mesh/cli/kinds.py"
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
    from kubectl_mesh.model.issuers import ISSUERS
    from kubectl_mesh.stores import STORES
    from kubectl_mesh.targets import KINDS
    from kubectl_mesh.x509.certificates import KEY_TYPES

    words: dict[str, Iterable[str]] = {
        '"keyType"': KEY_TYPES,
        '"issuer"': ISSUERS,
        '"store"': STORES,
        '"tool"': TOOLS,
        GATEWAY: dict.fromkeys(kind for target in KINDS.values() for kind in target.GATEWAYS),
    }
    for field, known in words.items():
        text = replace_words(text, field, known)
    return text


def generate_description(text: str) -> str:
    """The schema of `describe -o json` with the words of the tables."""
    from kubectl_mesh.model.issuers import ISSUERS
    from kubectl_mesh.stores import STORES

    return replace_words(replace_words(text, '"issuer"', ISSUERS), '"store"', STORES)


def replace_tuple(text: str, name: str, words: Iterable[str]) -> str:
    """A module whose tuple of a name has these words."""
    listed = [json.dumps(word) for word in words]
    one = f"{name} = ({', '.join(listed)})\n"
    many = f"{name} = (\n" + "".join(f"    {word},\n" for word in listed) + ")\n"
    new = one if len(one) <= 101 else many
    return re.sub(rf"^{name} = \(.*?\)\n", lambda _: new, text, flags=re.DOTALL | re.MULTILINE)


def generate_options(text: str) -> str:
    """The module with the words that options of the command line take, which loads no table."""
    from kubectl_mesh.model.issuers import ISSUERS
    from kubectl_mesh.targets import KINDS

    issuers = [name for name, issuer in ISSUERS.items() if not issuer.in_clusters]
    return replace_tuple(replace_tuple(text, "KINDS", KINDS), "ISSUERS", issuers)


FILES = {SCHEMA: generate_schema, DESCRIBE: generate_description, OPTIONS: generate_options}
"""Each file with generated words, and what generates them in it."""


if __name__ == "__main__":
    sys.path.insert(0, str(TOP))
    for path, generate in FILES.items():
        path.write_text(generate(path.read_text()))
