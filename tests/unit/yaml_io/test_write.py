"""The writer: what it writes is read back as the same value by every reader, and no value changes the structure of a document."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping

import jinja2
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kubectl_mesh.yaml_io.manifest import build_block, document_text
from kubectl_mesh.yaml_io.read import load_document
from kubectl_mesh.yaml_io.scalars import find_invalid_character
from kubectl_mesh.yaml_io.templates import Manifests
from kubectl_mesh.yaml_io.write import Block, dump_yaml, expand_blocks, scalar_text, string_text
from tests.conftest import SPELT_OUT

MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = [
    *SPELT_OUT,
    "true",
    "True",
    "TRUE",
    "false",
    "False",
    "FALSE",
    "null",
    "Null",
    "NULL",
    "~",
    "nan",
    "NaN",
    "NAN",
    "inf",
    "Inf",
    "INF",
    "infinity",
    "none",
    "None",
    ".nan",
    ".NaN",
    ".inf",
    ".Inf",
    "-.inf",
    "+.INF",
    "=",
    "<<",
    "-",
    "--",
    "---",
    "...",
    "?",
    ":",
    ",",
    "#",
    "&",
    "*",
    "!",
    "|",
    ">",
    "'",
    '"',
    "%",
    "@",
    "`",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "[a]",
    "{a}",
    "&a",
    "*a",
    "!a",
    "!!str",
    "%YAML",
    "0",
    "1",
    "-1",
    "+1",
    "00",
    "01",
    "007",
    "08",
    "0o7",
    "0O7",
    "0x1F",
    "0XFF",
    "0b1",
    "1_000",
    "1e3",
    "1E3",
    "12e5",
    "1.5e3",
    ".5",
    "5.",
    "1.0",
    "-0",
    "1:2",
    "12:30:45",
    "190:20:30",
    "1.2.3",
    "1.30",
    "0x",
    "0o",
    "2001-01-01",
    "2001-1-1",
    "2001-12-14T21:59:43Z",
    "e1",
    "E1",
    "_1",
    "_",
    "__",
    "/1",
    "///",
    "a:",
    "a:b",
    ":a",
    "a#",
    "#a",
    "-a",
    "?a",
    "a-",
    "a/b",
    "a.b",
    "a..b",
    "a:",
    "-1",
    "9223372036854775808",
    "1e400",
    "1__0",
    "0b_",
    "-_",
    "+_",
    ".e1",
    "._",
    "0.e",
    "0.e1",
    ".1_",
    "0x_",
    "1e",
    "1e+",
    "e+1",
    "_0x1",
    "_1e3",
    "/0o7",
    "TRUEx",
    "xTRUE",
    "nULL",
    "yEs",
]
WHITE = [
    "",
    " ",
    "  ",
    "\t",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    " \n",
    "\n ",
    "\n\t",
    "a\n",
    "a\n\n",
    "\na",
    "a \n",
    "a\nb",
    "a\nb\n",
    " a\nb",
    "a\n b\nc",
    "a\n\nb\n",
    "a\t\nb",
    "---\na",
    "a\n---\nb",
    "a\n...\n",
]
ALPHABET = (
    *"aByneExoT_-./0179:#,&*!|>'\"%@`{}[]?=~\\ \t\n\réß世",
    *("\\n", "  ", "\n\n", ": ", " #", "- ", "? ", "<<", "---", "..."),
    # Letters that combine or run to the left, spaces that are none, line breaks of YAML 1.1.
    *"\u0301\u05d0\u0627\u00a0\u00ad\x85\u2028\u2029\u3000\u180e\u061c",
    # Invisible characters, what is no character, the ends of ranges, and what lies beyond them.
    *"\ufeff\u200b\u200f\u202e\u2066\ufffd\ufffe\uffff\ufdd0\ud7ff\ue000\U0001f600\U0001fffe\U0010ffff\U000e0001",
    *"\x00\x01\x07\x08\x0b\x0c\x1b\x1f\x7f\x80\x9f",
)
COUNT = 100_000 if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else 25_000
"""How many texts each reader gets; random examples are as many as the profile of hypothesis says."""


def nasty(count: int, seed: int = 1) -> list[str]:
    """Texts that YAML readers stumble over, the same ones in every run."""
    chance = random.Random(seed)
    found = [*WORDS, *WHITE]
    found += [a + b for a in WORDS[:60] for b in (" ", "\n", ":", ": ", "\t", "x", " #")] + [
        b + a for a in WORDS[:60] for b in (" ", "\n", "-", "- ", ":", "\t", "#")
    ]
    while len(found) < count:
        kind = chance.random()
        if kind < 0.15:
            piece = (
                chance.choice(WORDS) + chance.choice(("", *ALPHABET)) + chance.choice(("", *WORDS))
            )
        elif kind < 0.3:
            piece = "\n".join(
                "".join(chance.choices("ab c:-#'\"", k=chance.randrange(6)))
                for _ in range(chance.randrange(1, 5))
            )
        elif kind < 0.4:
            piece = "".join(chance.choices("0123456789_.:eExXobB+-,", k=chance.randrange(1, 8)))
        elif kind < 0.5:
            piece = "".join(
                chr(c) for c in chance.choices(range(0x10FFFF), k=3) if not 0xD800 <= c < 0xE000
            )
        else:
            piece = "".join(chance.choices(ALPHABET, k=chance.randrange(1, 9)))
        found.append(piece)
    return found[:count]


def shaped(texts: list[str]) -> object:
    """The texts as values, keys, items of lists, and deeper."""
    third = len(texts) // 3
    values, items, deep = texts[:third], texts[third : 2 * third], texts[2 * third :]
    return {
        "values": {f"k{i}": v for i, v in enumerate(values)},
        "items": items,
        "keys": dict.fromkeys(texts, 0),
        "deep": [{"a": [[v]], "b": {v: {v: v}}} for v in deep],
    }


def allowed(value: str) -> bool:
    """Whether the strict loader takes a text, however it is quoted: one without controls and invisible characters."""
    return not find_invalid_character(value)


def batches(texts: list[str], size: int) -> Iterator[list[str]]:
    """The texts in lists of one size."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def told(meant: object, got: object, path: str = "") -> str:
    """The first place where two values differ."""
    if isinstance(meant, Mapping) and isinstance(got, Mapping) and list(meant) == list(got):
        return next(filter(None, (told(meant[k], got[k], f"{path}.{k!r}") for k in meant)), "")
    if isinstance(meant, list) and isinstance(got, list) and len(meant) == len(got):
        return next(
            filter(
                None,
                (
                    told(a, b, f"{path}[{i}]")
                    for i, (a, b) in enumerate(zip(meant, got, strict=True))
                ),
            ),
            "",
        )
    return "" if type(meant) is type(got) and meant == got else f"{path}: {meant!r} became {got!r}"


# --- Readers


def test_libyaml_reads_every_text() -> None:
    """Thousands of nasty texts, as values, keys and items, are read back by PyYAML's C loader, whose reading every document is checked by."""
    for part in batches(nasty(COUNT), 5000):
        meant = shaped(part)
        assert not told(meant, yaml.load(dump_yaml(meant), Loader=yaml.CSafeLoader))


def test_pyyaml_reads_every_text() -> None:
    """PyYAML's own parser reads back a third of them."""
    texts = nasty(COUNT)
    for part in batches(texts[:1500] + texts[1500::3], 1500):
        meant = {"values": list(part), "keys": dict.fromkeys(part, 0)}
        assert not told(meant, yaml.load(dump_yaml(meant), Loader=yaml.SafeLoader))


def test_ruamel_reads_every_text() -> None:
    """ruamel.yaml, which reads YAML 1.2, reads back another third."""
    from ruamel.yaml import YAML

    texts = nasty(COUNT)
    for part in batches(texts[:1500] + texts[1501::3], 1500):
        meant = {"values": list(part), "keys": dict.fromkeys(part, 0)}
        assert not told(meant, YAML(typ="safe", pure=True).load(dump_yaml(meant)))


def test_our_loader_reads_every_text() -> None:
    """The strict loader reads back every text without controls and invisible characters."""
    for part in batches([t for t in nasty(COUNT // 2, 3) if allowed(t)], 5000):
        meant = {"values": list(part), "keys": dict.fromkeys(part, "v")}
        assert not told(meant, load_document("x.yaml", dump_yaml(meant).encode()).value)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")
def test_kubectl_reads_every_text() -> None:
    """kubectl takes every text that a manifest may hold for itself: as data and as annotation of a ConfigMap of 4,000 values."""
    texts = [t for t in nasty(4000) if "\ufffd" not in t]
    meant = {f"k{i}": t for i, t in enumerate(texts)}
    body = dump_yaml(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "n", "annotations": meant},
            "data": meant,
        }
    )
    command = ["kubectl", "annotate", "--local", "-f", "-", "-o", "json", "added=1"]
    done = subprocess.run(
        command, input=body.encode(), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    value = json.loads(done.stdout)
    # JSON of Go's has no characters that UTF-8 has none for; the alphabet holds none but those that it has.
    assert not told(meant, {k: value["data"][k] for k in meant})
    assert not told(meant, {k: value["metadata"]["annotations"][k] for k in meant})


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")
def test_kubectl_reads_every_name() -> None:
    """kubectl takes a name, a label and a data key that look like something else (`y`, `1e3`, `007`) for the texts that they are."""
    words = sorted({w.lower() for w in WORDS if w.isalnum() and w.isascii()})
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": w, "labels": {w: w}},
            "data": {w: "eQ=="},
        }
        for w in words
    ]
    body = "---\n".join(map(dump_yaml, objects))
    done = subprocess.run(
        ["kubectl", "annotate", "--local", "-f", "-", "-o", "json", "added=1"],
        input=body.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    decoder, rest, names = json.JSONDecoder(), done.stdout.decode().strip(), []
    while rest:
        value, end = decoder.raw_decode(rest)
        names += [
            (item["metadata"]["name"], item["metadata"]["labels"], item["data"])
            for item in value.get("items", [value])
        ]
        rest = rest[end:].strip()
    assert names == [(w, {w: w}, {w: "eQ=="}) for w in words]


# --- The writer


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.text(max_size=12),
    st.sampled_from(WORDS),
    st.sampled_from(WHITE),
)
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(WORDS), st.sampled_from(WHITE))
# A document of ours is a mapping or a list; a text alone is none.
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=25,
)


@MANY
@given(NESTED)
@example({"": {"": [[], {}, [[]], [{}], {"a": []}, "a\nb", ["a\nb\n"]]}})
def test_a_nested_value_is_read_back(value: object) -> None:
    """Whatever is nested in whatever, both PyYAML and ruamel.yaml read back the value, in its order."""
    from ruamel.yaml import YAML

    meant = {"value": value, "list": [value]}
    body = dump_yaml(meant)
    assert not told(meant, yaml.load(body, Loader=yaml.CSafeLoader))
    assert not told(meant, YAML(typ="safe", pure=True).load(body))
    assert body.endswith("\n")


@MANY
@given(
    st.recursive(
        st.one_of(TEXTS.filter(allowed), st.integers(-99999, 99999), st.booleans(), st.none()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(TEXTS.filter(allowed), inner, max_size=3)
        ),
        max_leaves=15,
    )
)
def test_dump_and_load_are_inverse(value: object) -> None:
    """The strict loader gives back what the writer was given."""
    for meant in ({"value": value}, [value]):
        assert not told(meant, load_document("x.yaml", dump_yaml(meant).encode()).value)


@MANY
@given(NESTED)
def test_a_block_is_written_as_what_it_stands_for(value: object) -> None:
    """A value that is written once and shared stands in a document exactly as if it were written there."""
    value = {"value": value}
    shared = Block(value)
    assert dump_yaml({"a": shared, "b": [shared, {"c": shared}]}) == dump_yaml(
        {"a": value, "b": [value, {"c": value}]}
    )
    assert expand_blocks({"a": shared, "b": [shared]}) == {"a": value, "b": [value]}
    assert document_text({"a": build_block(value)}) == dump_yaml({"a": value})


@pytest.mark.parametrize("number", [0, -1, 443, 2**63 - 1, 0.5, -1.25, 1.5e-7, 123456789.125, 1e16])
def test_numbers_are_numbers(number: float) -> None:
    """An integer or a float is read back as one of the same kind by both generations of YAML."""
    from ruamel.yaml import YAML

    body = dump_yaml({"a": number})
    for value in (yaml.safe_load(body)["a"], YAML(typ="safe", pure=True).load(body)["a"]):
        assert (type(value), value) == (type(number), number)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_without_a_spelling(value: float) -> None:
    """What readers spell differently is not written."""
    with pytest.raises(ValueError, match="JSON"):
        dump_yaml({"a": value})


@pytest.mark.parametrize("value", [b"bytes", object(), {1, 2}])
def test_no_other_types(value: object) -> None:
    """What is no YAML is an error of the program's, and not written as something else."""
    with pytest.raises(TypeError):
        dump_yaml({"a": value})


def test_the_look() -> None:
    """Plain where nothing else can be read, quotes elsewhere, literals for clean lines, lists at the level of their key."""
    value = {
        "name": "istio-system",
        "no": "1.4",
        "list": [{"a": "b", "c": ["d"]}, []],
        "pem": "-----BEGIN\nx\n-----END\n",
        "cut": "a\nb",
        "odd": "a \nb",
        "e": {},
    }
    assert dump_yaml(value) == (
        'name: istio-system\n"no": "1.4"\nlist:\n- a: b\n  c:\n  - d\n- []\npem: |\n  -----BEGIN\n  x\n  -----END\ncut: |-\n  a\n  b\nodd: "a \\nb"\ne: {}\n'
    )
    assert string_text("gke_acme-prod_europe-west1_a") == "gke_acme-prod_europe-west1_a"
    assert string_text("https://203.0.113.11:6443") == "https://203.0.113.11:6443"
    assert string_text("Société") == '"Société"'
    assert scalar_text("\u202e\u2028\x00\U000e0001") == '"\\u202e\\u2028\\x00\\U000e0001"'


# --- Templates


TEMPLATES = {
    "plain": "name: {{ name | yaml }}\nnested:\n  {{ key | yaml }}: {{ name | yaml }}\n  joined: {{ ('a-' ~ name) | yaml }}\n",
    "list": "items:\n{%- for item in items %}\n- {{ item | yaml }}\n{%- endfor %}\n{%- if extra is not none %}\nextra: {{ extra | yaml }}\n{%- endif %}\n",
    "unquoted": "name: {{ name }}\n",
    "badly-quoted": 'name: "{{ name }}"\n',
    "in-a-comment": "name: fixed\n# {{ name }}\n",
    "in-a-block": "text: |\n  first {{ name }}\n",
    "undefined": "name: {{ nmae | yaml }}\n",
}
NASTY = [
    "",
    "y",
    "1e3",
    "001",
    "a: b",
    "a\nb: c",
    'x"\n  injected: true',
    "x\ninjected: true",
    "' # ",
    "{a: b}",
    "[a]",
    "&a",
    "*a",
    "!!binary a",
    "a" * 100_000,
    "é\U0001f600\u202e\u2028",
    "a\\",
    "%",
    "kubectlMesh0m",
    "kubectlMesh1m",
]


@pytest.fixture
def manifests() -> Manifests:
    """Renders the templates above."""
    return Manifests(TEMPLATES.__getitem__)


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_a_value_stays_a_value(manifests: Manifests, value: str) -> None:
    """Quotes, newlines, would-be fields, Unicode, nothing and very much: in a template each value is one text."""
    key = (
        value[:500] or "k"
    )  # YAML has no keys of more than 1024 characters, and the loader takes none of more than 512.
    meant = {"name": value, "nested": {key: value, "joined": f"a-{value}"}}
    assert yaml.safe_load(manifests.render("plain", name=value, key=key)) == meant
    listed = yaml.safe_load(manifests.render("list", items=(value, "b", value), extra=value))
    assert listed == {"items": [value, "b", value], "extra": value}
    assert yaml.safe_load(manifests.render("list", items=(value,), extra=None)) == {
        "items": [value]
    }


@MANY
@given(
    name=st.text(max_size=20),
    key=st.text(min_size=1, max_size=20).filter(lambda k: k != "joined"),
    items=st.lists(st.text(max_size=10), max_size=4),
)
def test_any_value_stays_a_value(name: str, key: str, items: list[str]) -> None:
    """The same for whatever hypothesis thinks of, through one renderer that remembers what it has made."""
    for _ in range(2):
        assert yaml.safe_load(SHARED.render("plain", name=name, key=key)) == {
            "name": name,
            "nested": {key: name, "joined": f"a-{name}"},
        }
        found = yaml.safe_load(SHARED.render_once("list", items=tuple(items), extra=None))
        assert found == {"items": items or None}


SHARED = Manifests(TEMPLATES.__getitem__)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("unquoted", "x\ninjected: true"),
        ("unquoted", "001"),
        ("unquoted", "no"),
        ("unquoted", "1e400.5: x" + "\nb: c"),
        ("unquoted", " a"),
        ("badly-quoted", 'x"\ninjected: "true'),
        ("badly-quoted", "a\nb"),
        ("badly-quoted", "a\\x41"),
        ("in-a-comment", "x\ninjected: true"),
        ("in-a-block", "a\nb: c"),
    ],
)
def test_a_template_that_does_not_quote_is_caught(
    manifests: Manifests, template: str, value: str
) -> None:
    """A template whose text would be read as something else than was meant does not leave the stage."""
    with pytest.raises((AssertionError, yaml.YAMLError)):
        manifests.render(template, name=value)


def test_a_template_that_does_not_quote_is_caught_with_harmless_neighbours(
    manifests: Manifests,
) -> None:
    """A harmless value before it does not make a harmful one pass."""
    assert manifests.render("unquoted", name="harmless") == "name: harmless\n"
    with pytest.raises(AssertionError):
        manifests.render("unquoted", name="x\ninjected: true")


def test_an_unknown_value_is_an_error(manifests: Manifests) -> None:
    """A name that a template has and its values have not is an error, not an empty text."""
    with pytest.raises((jinja2.UndefinedError, TypeError)):
        manifests.render("undefined", name="x")
