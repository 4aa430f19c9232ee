"""Editing a topology: an entry comes or goes, and every other line stays as a person wrote it, byte for byte."""
# ruff: noqa: PT017 -- where an error is one of two right answers, it is looked at where it is caught

import difflib
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kubectl_mesh.errors import MeshError
from kubectl_mesh.yaml_io import edit
from kubectl_mesh.yaml_io.read import load_document
from kubectl_mesh.yaml_io.write import dump_yaml

PEM = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"
NEW = {"network": "network-new"}
STYLES = {
    "plain": """\
mesh_id: acme
contexts:
  east:
    network: network-east
  west:
    network: network-west
""",
    "comments everywhere": """\
# The mesh of Acme.

mesh_id: acme  # never change this

# All clusters.
contexts:  # by name
  # The first one.
  east:  # in Frankfurt
    # Its network.
    network: network-east  # shared

  # The second one.
  west:
    network: network-west

# The end.
""",
    "four spaces": """\
mesh_id: acme
contexts:
    east:
        network: network-east
    west:
        network: network-west
networks:
    network-east:
        gateways:
            - address: 203.0.113.1
""",
    "one space": "mesh_id: acme\ncontexts:\n east:\n  network: network-east\n west:\n  network: network-west\n",
    "mixed indentation": "mesh_id: acme\ncontexts:\n   east:\n      network: network-east\n   west:\n     network: network-west\n",
    "flow contexts": "mesh_id: acme\ncontexts: {east: {network: network-east}, west: {network: network-west}}\n",
    "flow contexts over lines": """\
mesh_id: acme
contexts: {
  east: {network: network-east},  # the first
  west: {network: network-west},
}
""",
    "flow contexts without a last comma": "mesh_id: acme\ncontexts: {\n  east: {network: network-east},\n  west: {network: network-west}\n}\n",
    "flow entries": "mesh_id: acme\ncontexts:\n  east: {network: network-east}  # e\n  west: {network: network-west}  # w\n",
    "flow contexts with a comment at the last": "mesh_id: acme\ncontexts: {\n  east: {network: network-east},  # e\n  west: {network: network-west}  # w\n}\n",
    "all flow": "{mesh_id: acme, contexts: {east: {network: network-east}, west: {network: network-west}}}\n",
    "json": '{"mesh_id": "acme", "contexts": {"east": {"network": "network-east"}, "west": {"network": "network-west"}}}\n',
    "json over lines": """\
{
  "contexts": {
    "east": {
      "network": "network-east"
    },
    "west": {
      "network": "network-west"
    }
  },
  "mesh_id": "acme"
}
""",
    "quoted keys": "\"mesh_id\": 'acme'\n'contexts':\n  \"east\":\n    'network': \"network-east\"\n  'west':\n    \"network\": network-west\n",
    "contexts first": "contexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\nmesh_id: acme\norganization: Acme\n",
    "contexts in the middle": """\
mesh_id: acme
contexts:
  east:
    network: network-east
  west:
    network: network-west
# What is known of the networks.
networks:
  network-east:
    gateways:
    - address: 203.0.113.1
""",
    "no final newline": "mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west",
    "comment without final newline": "mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\n# end",
    "blank lines at the end": "mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\n\n\n",
    "document marks": "%YAML 1.1\n---\nmesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\n",
    "document end": "---\nmesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\n...\n",
    "windows": "mesh_id: acme\r\n# c\r\ncontexts:\r\n  east:\r\n    network: network-east\r\n  west:\r\n    network: network-west\r\n",
    "windows, contexts in the middle": "contexts:\r\n  east:\r\n    network: network-east\r\n  west:\r\n    network: network-west\r\nmesh_id: acme\r\n",
    "inline authority at the end": f"mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\n    certificateAuthority: |\n{''.join(f'      {line}' for line in PEM.splitlines(keepends=True))}",
    "inline authority, kept blank lines": (
        f"mesh_id: acme\ncontexts:\n  east:\n    certificateAuthority: |+\n{''.join(f'      {line}' for line in PEM.splitlines(keepends=True))}\n"
        "    network: network-east\n  west:\n    network: network-west\n"
    ),
    "inline authority then a comment": (
        f"mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\n    certificateAuthority: |\n"
        f"{''.join(f'      {line}' for line in PEM.splitlines(keepends=True))}\n# The rest.\norganization: Acme\n"
    ),
    "folded text": "mesh_id: acme\norganization: >-\n  Acme\n  Inc\ncontexts:\n  east:\n    network: >-\n      network-east\n  west:\n    network: network-west\n",
    "plain text over lines": "mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n  west:\n    network: network-west\n    clusterName:\n      west-1\norganization: Acme\n  and others\n",
    "lists at their key": "mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n    gateways:\n    - address: 203.0.113.1\n    - address: 203.0.113.2\n  west:\n    network: network-west\n    gateways:\n    - address: 203.0.113.3\n",
    "lists below their key": "mesh_id: acme\ncontexts:\n  east:\n    network: network-east\n    peers:\n      - west\n      # none else\n  west:\n    network: network-west\n    peers: []\n",
    "unicode": "mesh_id: acme\norganization: Société Générale \U0001f600  # ça va\ncontexts:\n  east:  # é\n    network: network-east\n  west: {network: network-west}  # \U0001f600\n",
    "complex keys": "mesh_id: acme\ncontexts:\n  ? east\n  : network: network-east\n  west:\n    network: network-west\n",
    "trailing spaces": "mesh_id: acme  \ncontexts:  \n  east:  \n    network: network-east  \n  \n  west:\n    network: network-west  \n",
    "tabs before comments": "mesh_id: acme\t# a\ncontexts:\t# b\n  east:\t# c\n    network: network-east\t# d\n  west:\n    network: network-west\t# e\n",
}
BY_HAND = {"complex keys", "flow contexts with a comment at the last", "flow contexts over lines"}
"""Styles in which an edit may be refused with the lines to write by hand: the comments of a list in braces belong to no line of their own."""
FLOW = {
    "flow contexts": 1,
    "flow contexts over lines": 2,
    "flow contexts without a last comma": 2,
    "flow contexts with a comment at the last": 2,
    "all flow": 1,
    "json": 1,
    "json over lines": 2,
}
"""Styles in which the lines change that an entry is added to, or removed from, and how many."""


def read(text: str) -> Any:
    """The value of a topology."""
    return load_document("topology.yaml", text.encode()).value


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and the lines that came, with their line ends."""
    lines = list(
        difflib.ndiff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), charjunk=None
        )
    )
    return [line[2:] for line in lines if line[0] == "-"], [
        line[2:] for line in lines if line[0] == "+"
    ]


def ends(text: str) -> set[str]:
    """The line ends of a text."""
    return {
        "\r\n" if line.endswith("\r\n") else "\n"
        for line in text.splitlines(keepends=True)
        if line.endswith("\n")
    }


# --- add


@pytest.mark.parametrize("style", STYLES)
def test_add(style: str) -> None:
    """An entry is added as the last of contexts, and no line that was there changes."""
    before = STYLES[style]
    try:
        after = edit.add_context(before, "north", NEW, read)
    except MeshError as error:
        assert style in BY_HAND, "refused"
        assert "contexts:" in str(error)
        assert "    north:" in str(error)
        return
    value = read(before)
    assert read(after) == {**value, "contexts": {**value["contexts"], "north": NEW}}
    assert list(read(after)["contexts"]) == [*value["contexts"], "north"]
    went, came = changed(before, after)
    if style in FLOW:
        assert len(went) <= FLOW[style]
    elif before.endswith("\n"):
        assert went == []
        assert len(came) == 2
    else:
        assert "".join(went) + "\n" in "".join(came) or not went
    assert ends(after) == ends(before)


@pytest.mark.parametrize("style", STYLES)
def test_add_fields_to_what_is_there(style: str) -> None:
    """Fields that an entry lacks are added to it, and no line that was there changes."""
    before = STYLES[style]
    for context in ("east", "west"):
        try:
            after = edit.add_context(before, context, {"server": "https://203.0.113.11:6443"}, read)
        except MeshError as error:
            assert style in BY_HAND, "refused"
            assert "server" in str(error)
            continue
        value = read(before)
        value["contexts"][context]["server"] = "https://203.0.113.11:6443"
        assert read(after) == value
        went, _ = changed(before, after)
        assert len(went) <= (
            FLOW.get(style, 1) if "{" in before or not before.endswith("\n") else 0
        )
        assert ends(after) == ends(before)


EMPTY = [
    "mesh_id: acme\ncontexts:\n",
    "mesh_id: acme\ncontexts: {}\n",
    "mesh_id: acme\ncontexts: null\n",
    "mesh_id: acme\ncontexts: ~\n",
    "mesh_id: acme\ncontexts:",
    "mesh_id: acme\ncontexts: {}",
    "contexts:\nmesh_id: acme\n",
    "contexts: {}\nmesh_id: acme\n",
    "contexts: null\nmesh_id: acme\n",
    "mesh_id: acme\ncontexts: {}  # none yet\n",
    "mesh_id: acme\ncontexts:  # none yet\n",
    "mesh_id: acme\ncontexts:\n  # east: {network: a}\n  # more\n\n# The end.\n",
    "mesh_id: acme\ncontexts:\n# at the margin\norganization: Acme\n",
    "mesh_id: acme\ncontexts: {\n}\norganization: Acme\n",
    "mesh_id: acme\n",
    "mesh_id: acme",
    "# c\nmesh_id: acme\n# end\n",
    "{mesh_id: acme, contexts: {}}\n",
    "mesh_id: acme\r\ncontexts: {}\r\n",
    "mesh_id: acme\r\ncontexts:\r\norganization: Acme\r\n",
]


@pytest.mark.parametrize("before", EMPTY)
def test_add_the_first(before: str) -> None:
    """The first entry is added to contexts that are empty in any spelling, or are not there."""
    try:
        after = edit.add_context(before, "north", NEW, read)
    except MeshError as error:
        assert before.startswith("{") or "{\n" in before, "refused"
        assert "    north:" in str(error)
        return
    assert read(after) == {**read(before), "contexts": {"north": NEW}}
    for line in before.splitlines():
        if not line.startswith("contexts"):
            assert line in after.splitlines()
        if "#" in line:
            assert line[line.index("#") :] in after
    assert ends(after) <= (ends(before) or {"\n"})


def test_the_first_stands_behind_the_comments_of_contexts() -> None:
    """Comments that are indented below an empty contexts are its own, and the first entry stands behind them."""
    before = "mesh_id: acme\ncontexts: {}\n  # One of them:\n  # east: {network: a}\n# The end.\norganization: Acme\n"
    after = edit.add_context(before, "north", NEW, read)
    assert after == before.replace("contexts: {}", "contexts:").replace(
        "# The end", "  north:\n    network: network-new\n# The end"
    )


NAMES = [
    "001",
    "no",
    "y",
    "1e3",
    "a: b",
    "a # b",
    '"quoted"',
    "it's",
    "@",
    "*x",
    "&x",
    "{a}",
    "[a]",
    "arn:aws:eks:us-east-1:1:cluster/a",
    "é",
    "\U0001f600",
    "",
    " a",
    "a\\",
    "-",
    "?",
    "<<",
    "a\tb",
    "null",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("style", ["plain", "flow contexts", "json over lines", "four spaces"])
def test_add_and_remove_a_name_that_needs_quotes(name: str, style: str) -> None:
    """A context of any name is added under exactly that name, and removing it gives back the text."""
    before = STYLES[style]
    entry = {"network": name, "peers": ["east", name]}
    after = edit.add_context(before, name, entry, read)
    assert read(after)["contexts"][name] == entry
    added = edit.add_context(before, name, NEW, read)
    if "#" in name and style in FLOW:
        return  # in braces a # may be a comment's, and then the edit is left to people
    back = edit.remove_context(added, name, read)
    assert back == before or (FLOW.get(style) == 2 and read(back) == read(before))


def test_add_a_text_of_lines() -> None:
    """A certificate in PEM is added as a block, in a mapping of blocks; in a flow it stays one line."""
    for style in ("plain", "four spaces", "flow contexts", "json"):
        after = edit.add_context(STYLES[style], "north", {**NEW, "certificateAuthority": PEM}, read)
        assert read(after)["contexts"]["north"]["certificateAuthority"] == PEM


# --- remove


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("context", ["east", "west"])
def test_remove(style: str, context: str) -> None:
    """An entry is removed with the lines that are its own, and no other line changes."""
    before = STYLES[style]
    try:
        after = edit.remove_context(before, context, read)
    except MeshError as error:
        assert style in BY_HAND, "refused"
        assert f"remove contexts.{context}" in str(error)
        return
    value = read(before)
    gone = value["contexts"].pop(context)["network"]
    for entry in value["contexts"].values():
        if "peers" in entry:
            entry["peers"] = [p for p in entry["peers"] if p != context]
    if gone in value.get("networks", {}):
        del value["networks"][gone]
        if not value["networks"]:
            del value["networks"]
    assert read(after) == value
    assert list(read(after)["contexts"]) == list(value["contexts"])
    went, came = changed(before, after)
    if style in FLOW or style == "lists below their key":
        assert len(came) <= 1
    else:
        assert came == []
        top = [line for line in went if line[:1].strip()]
        assert all(line.startswith("networks:") for line in top), top
    assert ends(after) == ends(before)


PEERS = """\
mesh_id: acme
contexts:
  east:
    network: network-east
    peers: [west, north]  # both
  west:
    network: network-west
    peers:
    - east  # the first
    # between
    - north
  north:
    network: network-north
    peers:
      - west
  south: {network: network-east, peers: [north]}
# end
"""


@pytest.mark.parametrize("context", ["east", "west", "north", "south"])
def test_remove_takes_mentions_along(context: str) -> None:
    """Who is removed is no longer named as a peer; an emptied list stays an empty list, for it means something else than none."""
    after = edit.remove_context(PEERS, context, read)
    value = read(PEERS)
    del value["contexts"][context]
    for entry in value["contexts"].values():
        if "peers" in entry:
            entry["peers"] = [p for p in entry["peers"] if p != context]
    assert read(after) == value
    assert after.endswith("# end\n")
    for comment in ("# both", "# between"):
        owner = "east" if comment == "# both" else "west"
        assert (comment in after) == (owner != context)


NETWORKS = """\
mesh_id: acme
# What is known of networks.
networks:
  # The east.
  network-east:
    gateways:
    - address: 203.0.113.1
{more}# The clusters.
contexts:
  east: {{network: network-east}}
  east-2: {{network: network-east}}
  west: {{network: network-west}}
"""
WEST = "  network-west:\n    gateways:\n    - address: 203.0.113.2\n"


def test_remove_takes_an_empty_network_along() -> None:
    """The entry of a network on which nobody is left goes too, and with the last of them the whole of networks."""
    both = NETWORKS.format(more=WEST)
    assert edit.remove_context(both, "east", read) == both.replace(
        "  east: {network: network-east}\n", ""
    )
    assert edit.remove_context(both, "west", read) == both.replace(
        "  west: {network: network-west}\n", ""
    ).replace(WEST, "")
    one = NETWORKS.format(more="")
    after = edit.remove_context(edit.remove_context(one, "east", read), "east-2", read)
    assert "networks" not in read(after)
    assert list(read(after)["contexts"]) == ["west"]
    assert "# The clusters.\n" in after
    assert "# What is known of networks.\n" in after


@pytest.mark.parametrize(
    "before",
    [
        "mesh_id: acme\ncontexts:\n  east:\n    network: net\n",
        "mesh_id: acme\ncontexts: {east: {network: net}}\n",
        "mesh_id: acme\ncontexts:  # c\n  east: {network: net}\norganization: Acme\n",
        "contexts:\n\n  # only one\n  east:\n    network: net\n\n# end\nmesh_id: acme\n",
        "mesh_id: acme\r\ncontexts:\r\n  east:\r\n    network: net\r\norganization: Acme\r\n",
        "mesh_id: acme\ncontexts:\n  east:\n    network: net",
        'mesh_id: acme\n"contexts #1": 1\ncontexts:\n  east:\n    network: net\n',
    ],
)
def test_remove_the_only_one(before: str) -> None:
    """What is left when the only entry goes is an empty mapping, with the comments around it."""
    after = edit.remove_context(before, "east", read)
    assert read(after) == {**read(before), "contexts": {}}
    for line in before.splitlines():
        if line.startswith("#"):
            assert line in after.splitlines()
    assert ends(after) <= ends(before)


def test_comments_of_the_next_entry_stay() -> None:
    """A comment that stands before the next entry, or at the margin behind the last, is not the removed entry's."""
    before = "mesh_id: acme\ncontexts:\n  east:\n    network: a\n    # of east\n  # of west\n  west:\n    network: b\n# of all\n"
    after = edit.remove_context(before, "east", read)
    assert "  # of west\n  west:\n" in after
    assert edit.remove_context(before, "west", read).endswith("# of all\n")


# --- Properties


NAME = st.one_of(
    st.sampled_from(["east", "west", "001", "no", "a b", "a:b", "#", "é", "-x"]),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf"]), min_size=1, max_size=8
    ),
)
NETWORK = st.sampled_from(["n1", "n2", "n3", "no", "1"])
GATEWAYS = st.lists(
    st.fixed_dictionaries(
        {"address": st.sampled_from(["203.0.113.1", "2001:db8::1", "pending"])},
        optional={"port": st.integers(1, 65535)},
    ),
    max_size=2,
)
ENTRY = st.fixed_dictionaries(
    {"network": NETWORK},
    optional={
        "clusterName": st.sampled_from(["a", "b"]),
        "disableRegistryJoin": st.booleans(),
        "certificateAuthority": st.sampled_from([PEM, "a.crt", "a\n\nb\n", "a\n"]),
        "gateways": GATEWAYS,
        "credential": st.just({"tokenFile": "x"}),
    },
)


@st.composite
def topologies(draw: Any, least: int = 0) -> dict[str, Any]:
    """Topologies with peers, networks and fields in any order."""
    entries: dict[str, dict[str, Any]] = draw(
        st.dictionaries(NAME, ENTRY, min_size=least, max_size=4)
    )
    names = list(entries)
    for entry in entries.values():
        if names and draw(st.booleans()):
            entry["peers"] = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    used = sorted({e["network"] for e in entries.values()})
    value: dict[str, Any] = {"mesh_id": "acme", "contexts": entries}
    if used and draw(st.booleans()):
        value["networks"] = {
            n: {"gateways": draw(GATEWAYS)}
            for n in draw(st.lists(st.sampled_from(used), unique=True, min_size=1))
        }
    if draw(st.booleans()):
        value["organization"] = draw(st.sampled_from(["Acme", "A: b", "A\n"]))
    return {k: value[k] for k in draw(st.permutations(sorted(value)))}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(topologies(), NAME, ENTRY)
def test_add_then_remove_gives_back(
    value: dict[str, Any], name: str, entry: dict[str, Any]
) -> None:
    """An entry that was added on a network of its own and removed again leaves the value, and but for an empty mapping the text, as it was."""
    assume(name not in value["contexts"])
    before = dump_yaml(value)
    entry = {**entry, "network": "another"}
    after = edit.add_context(before, name, entry, read)
    assert read(after)["contexts"] == {**value["contexts"], name: entry}
    back = edit.remove_context(after, name, read)
    assert read(back) == value
    assert back == before


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(topologies(least=2), st.data())
def test_remove_any(value: dict[str, Any], data: st.DataObject) -> None:
    """Any entry of any topology can be removed; only the lines of what goes, go."""
    before = dump_yaml(value)
    name = data.draw(st.sampled_from(list(value["contexts"])))
    after = edit.remove_context(before, name, read)
    assert name not in read(after)["contexts"]
    assert all(name not in e.get("peers", ()) for e in read(after)["contexts"].values())
    _, came = changed(before, after)
    # A line that stands unchanged behind what went may be told as one that came; no other may come.
    assert all(
        line.strip() == "peers: []" or line in before.splitlines(keepends=True) for line in came
    )
