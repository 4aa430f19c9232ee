"""The loader: no input gives anything but a `Document` or a `MeshError`, and nothing that YAML readers disagree about gets in unquoted."""
# ruff: noqa: PT017 -- where an error is one of two right answers, it is looked at where it is caught

import math
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from kubectl_mesh.credentials.api_servers import find_servers, parse_contexts
from kubectl_mesh.credentials.logins import parse_token, token_problems
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Document, Topology
from kubectl_mesh.topology.names import derive_cluster_name
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import MAX_BYTES, MAX_DEPTH, MAX_KEY, MAX_NODES, load_document
from tests.conftest import SPELT_OUT

SCHEMA = assets.load_schema("topology.schema.json")
MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
VALID = b"""\
# A mesh.
mesh_id: acme
organization: "Acme, Inc."
networks:
  network-east:
    gateways:
    - address: 203.0.113.1
      port: 443
contexts:
  context-east-1: {network: network-east, peers: [context-west-1]}
  "arn:aws:eks:us-east-1:111122223333:cluster/a":
    network: network-east
    server: https://203.0.113.11:6443
    certificateAuthority: |
      -----BEGIN CERTIFICATE-----
      bm8=
      -----END CERTIFICATE-----
  context-west-1:
    network: network-west
    disableRegistryJoin: false
"""


def loaded(text: "bytes | str", *, typed: bool = True, aliases: bool = False) -> object:
    """The value of a text."""
    return load_document(
        "x.yaml", text if isinstance(text, bytes) else text.encode(), typed=typed, aliases=aliases
    ).value


def refused(text: "bytes | str", *, typed: bool = True, aliases: bool = False) -> Problem:
    """The one problem for which a text is refused."""
    with pytest.raises(MeshError) as caught:
        loaded(text, typed=typed, aliases=aliases)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def survives(text: bytes) -> None:
    """Loads a text in each mode, and validates what loads: a `MeshError` is the only way to say no."""
    for typed, aliases, lenient in (
        (True, False, False),
        (True, False, True),
        (True, True, False),
        (True, True, True),
        (False, False, False),
    ):
        try:
            document = load_document("x.yaml", text, typed=typed, aliases=aliases, lenient=lenient)
        except MeshError as error:
            assert all(p.where.file == "x.yaml" and p.what for p in error.problems)
            continue
        assert isinstance(document, Document)
        assert lenient or not document.problems
        lines = text.decode().removeprefix("\ufeff").count("\n") + 2
        # PyYAML counts \r, U+0085, U+2028 and U+2029 as line breaks too.
        lines += sum(map(text.decode().count, "\r\x85\u2028\u2029"))
        assert all(
            1 <= line <= lines and column >= 1 for line, column in document.positions.values()
        )
        try:
            assert isinstance(validate_document(document, SCHEMA), Topology)
            assert not document.problems
        except MeshError as error:
            assert set(document.problems) <= set(error.problems)


# --- Whatever comes in


@MANY
@given(st.binary(max_size=300))
def test_bytes(text: bytes) -> None:
    """Random bytes give a document or a `MeshError`."""
    survives(text)


@MANY
@given(st.text(max_size=300))
def test_text(text: str) -> None:
    """Random text gives a document or a `MeshError`."""
    survives(text.encode("utf-8", "surrogatepass"))


PIECES = st.sampled_from(
    (
        *(
            "a",
            "b",
            "mesh_id",
            "contexts",
            "network",
            "- ",
            "-",
            ": ",
            ":",
            "? ",
            "\n",
            "\n  ",
            "\n    ",
            " ",
            "\t",
            "{",
            "}",
            "[",
            "]",
            ", ",
        ),
        *(
            "&x ",
            "*x",
            "<<",
            "!!str ",
            "!x ",
            "! ",
            "|",
            ">",
            "|-\n",
            "|2+\n",
            "'",
            '"',
            "''",
            "\\",
            "#",
            " # c",
            "@",
            "`",
            "---\n",
            "...\n",
        ),
        *(
            "%YAML 1.1\n",
            "%TAG ! x\n",
            "~",
            "null",
            "1",
            "01",
            "1e3",
            "0o7",
            "yes",
            "y",
            "=",
            ".inf",
            "2001-01-01",
            "\r",
            "\r\n",
            "\x85",
        ),
        *(
            "\u2028",
            "\u00e9",
            "\U0001f600",
            "\ufeff",
            "\x00",
            "\x1b",
            "\u202e",
            '"\\ud800"',
            '"\\x00"',
            '"\\U0010ffff"',
        ),
    )
)


@settings(MANY, max_examples=400)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_yaml_like_text(text: str) -> None:
    """Texts made of the pieces of YAML give a document or a `MeshError`."""
    survives(text.encode())


@MANY
@given(st.data())
def test_mutated_topologies(data: st.DataObject) -> None:
    """A valid topology with bytes struck out, doubled or replaced gives a document or a `MeshError`."""
    text = VALID
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        text = (
            text[:start]
            + data.draw(
                st.one_of(
                    st.just(b""),
                    st.just(text[start:end] * 2),
                    st.binary(max_size=4),
                    PIECES.map(str.encode),
                )
            )
            + text[end:]
        )
    survives(text)


WORDS = st.one_of(
    st.sampled_from(
        [
            "",
            "a",
            "network-east",
            "127.0.0.1",
            "::1",
            "1:2",
            "https://x:1",
            "https://[",
            "[",
            "℀",
            "pending",
            "1.4",
            "a" * 70,
            "A b",
        ]
    ),
    st.text(max_size=8),
)
FIELDS = sorted(
    {
        *SCHEMA["properties"],
        *SCHEMA["properties"]["contexts"]["additionalProperties"]["properties"],
        "address",
        "port",
        "store",
        "tool",
        "tokenFile",
        "version",
    }
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70000),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(FIELDS), WORDS), inner, max_size=4),
    ),
    max_leaves=12,
)


def near_topology(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Values that look like a topology, with anything in any place."""
    fields = SCHEMA["properties"]["contexts"]["additionalProperties"]["properties"]

    def either(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(right, right, right, values)

    gateway = st.fixed_dictionaries(
        {"address": either(WORDS)}, optional={"port": either(st.integers(0, 70000))}
    )
    listed = either(st.lists(either(gateway), max_size=3))
    peers = either(st.lists(either(st.sampled_from(["a", "b", "c"])), max_size=3))
    special: dict[str, st.SearchStrategy[Any]] = {
        "gateways": listed,
        "peers": peers,
        "network": either(st.sampled_from(["n", "m"])),
        "disableRegistryJoin": either(st.booleans()),
    }
    entry = st.fixed_dictionaries(
        {"network": special["network"]},
        optional={k: special.get(k, values) for k in fields if k != "network"},
    )
    contexts = either(
        st.dictionaries(
            st.one_of(st.sampled_from(["a", "b", "c", "A"]), WORDS), either(entry), max_size=4
        )
    )
    networks = either(
        st.dictionaries(
            st.one_of(st.sampled_from(["n", "m"]), WORDS),
            either(st.fixed_dictionaries({"gateways": listed})),
            max_size=2,
        )
    )
    optional = {
        k: values for k in SCHEMA["properties"] if k not in ("mesh_id", "contexts", "networks")
    } | {"networks": networks}
    return st.fixed_dictionaries(
        {"mesh_id": either(st.just("acme")), "contexts": contexts}, optional=optional
    )


@settings(MANY, max_examples=400)
@given(st.one_of(VALUES, near_topology(VALUES)))
@example(
    {
        "mesh_id": "acme",
        "contexts": {"a": {"network": "net", "gateways": [{"address": "[", "port": 1}]}},
    }
)
@example(
    {
        "mesh_id": "acme",
        "contexts": {"a": {"network": "net", "gateways": [{"address": "a", "port": []}]}},
    }
)
def test_any_value_validates_or_is_refused(value: object) -> None:
    """Whatever the value of a document, validation gives a `Topology` or a `MeshError`."""
    try:
        topology = validate_document(Document("x.yaml", value, {(): (1, 1)}), SCHEMA)
    except MeshError as error:
        assert all(p.what for p in error.problems)
    else:
        names = [c.name for c in topology.clusters]
        assert names == sorted(set(names))
        assert all(peer in names for c in topology.clusters for peer in c.peers or ())


KUBE = st.sampled_from(
    [
        "name",
        "cluster",
        "contexts",
        "context",
        "clusters",
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "tls-server-name",
    ]
)
KUBE_WORDS = st.one_of(
    st.sampled_from(
        ["a", "b", "https://203.0.113.1", "https://[::1", "http://x", "LS0t", "true", "é"]
    ),
    st.text(max_size=6),
)
KUBE_VALUES = st.recursive(
    KUBE_WORDS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KUBE, inner, max_size=5)),
    max_leaves=20,
)
ITEM = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b"]),
        "cluster": st.dictionaries(KUBE, KUBE_VALUES, max_size=4),
        "context": st.dictionaries(KUBE, KUBE_VALUES, max_size=2),
    }
)
KUBECONFIGS = st.one_of(
    KUBE_VALUES,
    st.fixed_dictionaries(
        {
            "contexts": st.lists(st.one_of(ITEM, KUBE_VALUES), max_size=3),
            "clusters": st.lists(st.one_of(ITEM, KUBE_VALUES), max_size=3),
        }
    ),
)


@MANY
@given(KUBECONFIGS)
@example({"contexts": [{"name": "a", "context": {"cluster": ["x"]}}]})
def test_any_kubeconfig_is_read_or_refused(value: object) -> None:
    """Whatever a kubeconfig holds, it gives servers whose parts are texts, or a `MeshError`."""
    topology = validate_document(
        load_document("t.yaml", b"mesh_id: acme\ncontexts: {a: {network: net}}\n"), SCHEMA
    )
    document = Document("k.yaml", value, {(): (1, 1)})
    try:
        parse_contexts(document)
        read = find_servers(topology, document, {})
    except MeshError as error:
        assert all(p.what for p in error.problems)
    else:
        assert set(read.servers) | set(read.faults) <= {"a"}
        assert all(
            isinstance(s.url, str) and isinstance(s.tls_server_name, str | None)
            for s in read.servers.values()
        )


@MANY
@given(
    st.one_of(
        st.binary(max_size=80), st.from_regex(rb"\s*[A-Za-z0-9._~+/-]{0,20}=?\s*", fullmatch=True)
    )
)
def test_any_token_file_is_read_or_refused(body: bytes) -> None:
    """A token file gives a token without white space, or a problem that shows nothing of it."""
    problems = token_problems("x.token", body, "COMMAND")
    if problems:
        words = [w for w in body.decode("latin-1").split() if len(w) > 12]
        assert not [w for w in words if w in str(problems[0])]
    else:
        assert parse_token(body) == body.decode().strip()
        assert parse_token(body).split() == [parse_token(body)]


@MANY
@given(st.text(max_size=80))
def test_name_of(context: str) -> None:
    """A context's name is made of the characters of a label, with none but letters and digits at its ends."""
    name = derive_cluster_name(context)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name == name.strip("-")
    assert derive_cluster_name(name) == name


# --- Hostile documents


NINES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 10)}]}}\n"
    for a, b in zip("abcdef", "bcdefg", strict=True)
)
HOSTILE: dict[str, tuple[bytes | str, str]] = {
    "an alias bomb": (NINES, "has an anchor"),
    "a merge bomb": (MERGES, "has an anchor"),
    "an alias of itself": ("a: &a [*a]\n", "has an anchor"),
    "brackets without end": ("[" * 200_000, "is nested more than"),
    "braces without end": ("{a: " * 200_000, "is nested more than"),
    "dashes without end": ("- " * 200_000, "is nested more than"),
    "brackets and their end": ("[" * 5_000 + "]" * 5_000, "is nested more than"),
    "complex keys without end": ("? " * 5_000, "a key must be a text"),
    "a merge key": ("a:\n  <<: {b: 1}\n", "is a merge key"),
    "a merge key in a flow": ("{<<: {b: 1}}", "is a merge key"),
    "a duplicate key": ("a: 1\nb: 2\na: 3\n", "stands twice"),
    "a duplicate key, quoted": ("a: 1\n'a': 3\n", "stands twice"),
    "a huge key": (f"{'k' * 600}: 1\n", "a key is longer than"),
    "a huge quoted key": (f'"{"k" * 600}": 1\n', "a key is longer than"),
    "NUL": ("a: b\x00c\n", "is not YAML: "),
    "a control character": ("a: b\x1bc\n", "is not YAML: "),
    "a bidirectional override": ("a: \u202eb\n", "holds the invisible character U+202E"),
    "an Arabic letter mark": ("a: \u061cb\n", "holds the invisible character U+061C"),
    "a tag character": ("a: \U000e0041b\n", "holds the invisible character U+E0041"),
    "an isolate": ("a: \u2066b\n", "holds the invisible character U+2066"),
    "an escaped override": ('a: "\\u202eb"\n', "holds the character U+202E"),
    "an escaped control character": ('a: "b\\x08"\n', "holds the character U+0008"),
    "an escaped NUL in a key": ('"a\\0": b\n', "holds the character U+0000"),
    "a zero-width space": ("a\u200b: b\n", "holds the invisible character U+200B"),
    "a mark in the middle": ("a: b\ufeff\n", "holds the invisible character U+FEFF"),
    "UTF-16": ("a: b\n".encode("utf-16"), "is not UTF-8"),
    "UTF-16 without a mark": ("a: b\n".encode("utf-16-le"), "is not YAML: "),
    "UTF-32": ("a: b\n".encode("utf-32"), "is not UTF-8"),
    "Latin-1": ("a: é\n".encode("latin-1"), "is not UTF-8"),
    "a surrogate in UTF-8": (b"a: \xed\xa0\x80\n", "is not UTF-8"),
    "an overlong NUL": (b"a: \xc0\x80\n", "is not UTF-8"),
    "an escaped surrogate": ('a: "\\ud800"\n', "is not YAML: "),
    "a Python object": ("a: !!python/object/apply:os.system [id]\n", "has a YAML tag"),
    "a Python name": ("a: !!python/name:os.system\n", "has a YAML tag"),
    "a binary": ("a: !!binary YQ==\n", "has a YAML tag"),
    "a set": ("a: !!set {b, c}\n", "has a YAML tag"),
    "an own tag": ("a: !secret b\n", "has a YAML tag"),
    "a tag on a key": ("!!str a: b\n", "has a YAML tag"),
    "a tag on the document": ("!!map {a: b}\n", "has a YAML tag"),
    "an anchor on a key": ("&x a: b\n", "has an anchor"),
    "an alias as a key": ("a: b\n*x : c\n", "is an alias"),
    "a key that is a list": ("? [a]\n: b\n", "a key must be a text"),
    "a key that is a mapping": ("{{a: b}: c}\n", "a key must be a text"),
    "two documents": ("a: b\n---\na: c\n", "a second document"),
    "two documents, the second empty": ("a: b\n---\n", "a second document"),
    "a tab": ("a:\n\tb: c\n", "is not YAML: "),
    "too large": (b"#" * (MAX_BYTES + 1), "is larger than"),
    "too many values": ("[" + "a," * (MAX_NODES + 1) + "]", "holds more than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused(name: str) -> None:
    """Each hostile document of the fact sheet is refused, for its own reason, with its place."""
    text, what = HOSTILE[name]
    problem = refused(text)
    assert problem.what.startswith(what)
    assert problem.where.line >= 1 or name == "too large"


def test_depth_without_end_does_not_end_the_interpreter() -> None:
    """What crashes libyaml's composer is refused by a process that lives on."""
    program = "from kubectl_mesh.yaml_io.read import load_document\nfrom kubectl_mesh.errors import MeshError\n"
    program += "for t in (b'[' * 2_000_000, b'{a: ' * 500_000, b'- ' * 500_000, b'? ' * 500_000):\n  try: load_document('x', t)\n  except MeshError: print('refused')\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.split()) == (0, ["refused"] * 4)


def test_what_is_odd_and_harmless_loads() -> None:
    """A byte order mark, Windows line ends, comments only, an explicit document and the tag `!` are no reason to refuse."""
    assert loaded(b"\xef\xbb\xbfa: b\n") == {"a": "b"}
    assert loaded("a: b\r\nc:\r\n- d\r\n") == {"a": "b", "c": ["d"]}
    assert loaded("# nothing\n") is None
    assert loaded("") is None
    assert loaded("%YAML 1.2\n---\na: b\n...\n") == {"a": "b"}
    assert loaded("a: \U0001f600\n") == {"a": "\U0001f600"}


def test_the_limits_themselves_are_allowed() -> None:
    """Depth, size of a key and number of values are allowed up to the limit, and not beyond."""
    assert loaded("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert loaded(f"{'k' * MAX_KEY}: a\n") == {"k" * MAX_KEY: "a"}
    assert refused(f"{'k' * (MAX_KEY + 1)}: a\n")


def test_places() -> None:
    """A problem names the line and the column of its token, from 1, and the path of its field."""
    problem = refused('mesh_id: acme\ncontexts:\n  "é x":\n    network: no\n')
    assert str(problem.where) == 'x.yaml:4:14: contexts."é x".network'
    document = load_document("x.yaml", VALID)
    assert (
        str(document.field_place("networks", "network-east", "gateways", 0, "port"))
        == "x.yaml:8:7: networks.network-east.gateways[0].port"
    )
    assert (
        str(document.field_place("networks", "network-east", "gateways", 0, "name"))
        == "x.yaml:7:7: networks.network-east.gateways[0].name"
    )
    assert (
        str(document.field_place("contexts", "context-east-1", "peers", 0))
        == "x.yaml:10:51: contexts.context-east-1.peers[0]"
    )


def test_every_trap_is_told_at_once() -> None:
    """All texts that need quotes are named in one go, in their order."""
    with pytest.raises(MeshError) as caught:
        loaded("a: no\nb: [yes, 001]\nc:\n  1: d\n")
    assert [str(p.where) for p in caught.value.problems] == [
        "x.yaml:1:4: a",
        "x.yaml:2:5: b[0]",
        "x.yaml:2:10: b[1]",
        "x.yaml:4:3: c.1",
    ]


def test_a_lenient_load_tells_the_rest() -> None:
    """A lenient load gives the document with the first of two equal keys, and its problems beside it; what is worse is still refused."""
    document = load_document(
        "x.yaml", b"a: no\nb: {c: 1, c: {d: 2}, e: 3}\nb: 4\nf: 5\n", lenient=True
    )
    assert document.value == {"a": "no", "b": {"c": 1, "e": 3}, "f": 5}
    assert [f"{p.where}: {p.what}" for p in document.problems] == [
        'x.yaml:1:4: a: the unquoted "no" is not read alike by every program',
        "x.yaml:2:11: b.c: stands twice; it is on line 2 already",
        "x.yaml:3:1: b: stands twice; it is on line 2 already",
    ]
    for name, (text, what) in HOSTILE.items():
        if "duplicate" not in name:
            with pytest.raises(MeshError, match="(?s)^.*" + re.escape(what)):
                load_document(
                    "x.yaml", text if isinstance(text, bytes) else text.encode(), lenient=True
                )


def test_no_key_is_swallowed() -> None:
    """A key that looks like the loader's own mark for a second key is refused, and not dropped with the second ones."""
    assert refused('"\\0twice1": a\n').what.startswith("holds the character U+0000")


def test_what_is_wrong_below_a_second_key_is_told_under_its_name() -> None:
    """A second key is named as it is written, in its own problem and in those of what stands below it."""
    document = load_document("x.yaml", b"a: b\na: no\n", lenient=True)
    assert [str(p.where) for p in document.problems] == ["x.yaml:2:1: a", "x.yaml:2:4: a"]


# --- Aliases, for base.yaml


def test_aliases_are_copied_where_they_are_allowed() -> None:
    """In base.yaml an alias stands for a copy of what its anchor holds."""
    value = loaded("a: &a {b: [c, 1]}\nd: *a\ne: [*a, &s text, *s]\n", aliases=True)
    assert value == {
        "a": {"b": ["c", 1]},
        "d": {"b": ["c", 1]},
        "e": [{"b": ["c", 1]}, "text", "text"],
    }
    assert isinstance(value, dict)
    value["d"]["b"].append("more")
    assert value["a"] == {"b": ["c", 1]}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (NINES, "holds more than"),
        ("a: &a [*a]\n", "the alias *a names no anchor above it"),
        ("a: *b\nb: &b c\n", "the alias *b names no anchor above it"),
        ("a: &a {b: c}\nd:\n  <<: *a\n", "is a merge key"),
        ("a: &a b\n*a : c\n", "a key must be a text, not an alias"),
        (
            "a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "*a" + "]" * 30 + "\n",
            "is nested more than",
        ),
        ("a: &a !!binary YQ==\n", "has a YAML tag"),
    ],
)
def test_aliases_do_no_harm(text: str, what: str) -> None:
    """Where aliases are allowed, bombs, loops, merge keys and depth by way of them are refused all the same."""
    assert refused(text, aliases=True).what.startswith(what)


@MANY
@given(
    st.lists(PIECES, max_size=30).map(lambda pieces: "a: &x {b: c}\nd: [*x]\ne: " + "".join(pieces))
)
def test_what_aliases_give_is_what_pyyaml_gives(text: str) -> None:
    """A text with aliases that loads and has no numbers loads as PyYAML's own loader reads it."""
    try:
        value = loaded(text, typed=False, aliases=True)
    except MeshError:
        return
    try:
        theirs = yaml.load(text, Loader=yaml.CBaseLoader)
    except yaml.composer.ComposerError as error:
        # YAML lets an anchor be set anew; PyYAML does not.
        assert "found duplicate anchor" in str(error)
        return
    assert strings(value) == strings(theirs)


def strings(value: object) -> object:
    """The value with null as PyYAML's BaseLoader has it: the words themselves, which cannot be told apart from here."""
    if isinstance(value, dict):
        return {k: strings(v) for k, v in value.items()}
    if isinstance(value, list):
        return [strings(v) for v in value]
    return None if value in ("", "~", "null", "Null", "NULL", None) else value


# --- Traps


TRAPS = [
    *SPELT_OUT,
    "001",
    "-01",
    "00",
    "08",
    "+1",
    "-0",
    "+0",
    "1e3",
    "1E3",
    "12e5",
    "1.5e3",
    "1e-3",
    "+1.5",
    "1.",
    ".5",
    "-.5",
    "1.50",
    "1.0e3",
    "0.10",
    "0o7",
    "0O7",
    "0x1F",
    "0xff",
    "0X1f",
    "-0x1F",
    "0b101",
    "0B1",
    "0b1_0",
    "1_000",
    "1,000",
    "1_0.5",
    "1__0",
    "12:30",
    "12:30:45",
    "190:20:30",
    "1:2:3.5",
    "-1:30",
    ".inf",
    "-.inf",
    "+.inf",
    ".Inf",
    ".INF",
    ".nan",
    ".NaN",
    ".NAN",
    "2001-01-01",
    "2001-1-1",
    "2001-12-14T21:59:43Z",
    "=",
    "99999999999999999999",
    "9223372036854775808",
    "-9223372036854775809",
    "0.1000000000000000055",
]
WITH_SPACES = ("2001-12-14 21:59:43", "2001-12-14 21:59:43.10 -5")


@pytest.mark.parametrize("word", [*TRAPS, *WITH_SPACES, "-_0"])
def test_what_readers_disagree_about_is_to_be_quoted(word: str) -> None:
    """A word that some reader takes for a number, a date or a boolean is refused with the advice to quote it, as a value, in a list, and as a key."""
    for text, path in (
        (f"a: {word}\n", "a"),
        (f"a: [b, {word}]\n", "a[1]"),
        (f"- {word}\n", "[0]"),
    ):
        if word == "1,000" and "[" in text:
            continue
        problem = refused(text)
        assert problem.where.path == path
        assert "quote it" in problem.fix
    assert "quote it" in refused(f"{word}: a\n").fix


@pytest.mark.parametrize("word", [*TRAPS, *WITH_SPACES, "true", "null", "~", "1", "1.5", "<<", ""])
def test_what_is_quoted_is_kept(word: str) -> None:
    """A word in quotes, or in a block, is that text, as a value and as a key."""
    assert loaded(f"'{word}': \"{word}\"\n") == {word: word}
    if word:
        assert loaded(f"a: |-\n  {word}\n") == {"a": word}
        assert loaded(f"a: >-\n  {word}\n") == {"a": word}


@pytest.mark.parametrize("word", ["true", "null", "~", "1", "-1", "1.5", "True", "NULL"])
def test_keys_are_texts(word: str) -> None:
    """A key that is no text to every reader is refused, though the same word may stand as a value."""
    assert "quote it" in refused(f"{word}: a\n").fix


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[(w, True) for w in ("true", "True", "TRUE")],
        *[(w, False) for w in ("false", "False", "FALSE")],
        *[(w, None) for w in ("", "~", "null", "Null", "NULL")],
        ("0", 0),
        ("-1", -1),
        ("443", 443),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("1.4.10", "1.4.10"),
        ("tRUE", "tRUE"),
        ("yES", "yES"),
        ("nULL", "nULL"),
        ("1.2.3.4", "1.2.3.4"),
        ("::1", "::1"),
        ("v1", "v1"),
        ("1a", "1a"),
        ("0xZZ", "0xZZ"),
        ("a b", "a b"),
        ("-", "-"),
        ("inf", "inf"),
        ("nan", "nan"),
        ("x=y", "x=y"),
        ("12:60:45", "12:60:45"),
        ("203.0.113.1:443", "203.0.113.1:443"),
    ],
)
def test_what_readers_agree_about(word: str, value: object) -> None:
    """Words that mean the same to every reader are taken as they are."""
    if word == "-":
        return
    found = loaded(f"a: {word}\n")
    assert isinstance(found, dict)
    assert found["a"] == value
    assert type(found["a"]) is type(value)


@MANY
@given(
    st.one_of(
        st.from_regex(r"[-+]?[0-9_.:,]{1,8}([eE][-+]?[0-9]{1,3})?", fullmatch=True),
        st.from_regex(r"[A-Za-z=<~.0-9+-]{1,5}", fullmatch=True),
    )
)
def test_an_unquoted_word_is_what_two_readers_say(word: str) -> None:
    """An unquoted word that is let in means the same to PyYAML (YAML 1.1) and to ruamel.yaml (YAML 1.2)."""
    from ruamel.yaml import YAML

    try:
        found = loaded(f"a: {word}\n")
    except MeshError:
        return
    assume(not re.match("[-+]_", word))
    theirs = yaml.load(f"a: {word}\n", Loader=yaml.SafeLoader)
    newer = YAML(typ="safe", pure=True).load(f"a: {word}\n")
    for other in (theirs, newer):
        assert same(found, other), (found, theirs, newer)


def same(one: object, other: object) -> bool:
    """Equality that tells 1, 1.0 and True apart."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def test_a_kubeconfig_is_all_text() -> None:
    """With `typed=False` every scalar but null stays the text that it is, for a kubeconfig may name a context 001."""
    text = "contexts:\n- name: 001\n  yes: no\n- {name: 1e3, when: 2001-01-01, on: true, none: null, empty: }\n"
    first = {"name": "001", "yes": "no"}
    second = {"name": "1e3", "when": "2001-01-01", "on": "true", "none": None, "empty": None}
    assert loaded(text, typed=False) == {"contexts": [first, second]}
    for name in (
        "an alias bomb",
        "a duplicate key",
        "a merge key",
        "brackets without end",
        "a Python object",
    ):
        assert refused(HOSTILE[name][0], typed=False).what.startswith(HOSTILE[name][1])
