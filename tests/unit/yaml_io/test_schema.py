"""base.yaml against its schemas: whatever stands at a path of any values, the answer is a place, a fact and, where there is one, a fix."""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_mesh import targets
from kubectl_mesh.cli.kinds import KINDS
from kubectl_mesh.model import Document, Topology
from kubectl_mesh.targets.control_plane import (
    ControlPlane,
    add_base_version,
    base_schema,
    check_base,
)
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.workdir.base_file import BaseFile
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load_document, load_documents
from kubectl_mesh.yaml_io.schema import MAX_PATTERN_TEXT, schema_problems
from tests.conftest import TOP, Run, WorkDir

Make = Callable[..., WorkDir]
CHART: dict[str, Callable[[str], Any]] = {
    "HelmRelease": lambda part: {"chart": {"spec": {"chart": part}}},
    "Application": lambda part: {"source": {"chart": part}},
}
"""How a document names the chart that it is for."""
ODD: list[Any] = [
    None,
    "",
    "x",
    "2",
    "true",
    2,
    -1,
    1.5,
    True,
    [],
    ["a"],
    [1, {}],
    {},
    {"a": "b"},
    {"a": {"b": 1}},
    {"cpu": 1, "x": None},
]


@pytest.fixture(scope="module")
def topology() -> Topology:
    """The page's clusters."""
    document = load_document("topology.yaml", (TOP / "examples/page/topology.yaml").read_bytes())
    return validate_document(document, assets.load_schema("topology.schema.json"))


def paths(schema: Any, whole: Any, depth: int = 12) -> Iterator[tuple[str | int, ...]]:
    """The paths of the values that a schema describes."""
    yield ()
    if not isinstance(schema, dict) or depth == 0:
        return
    if "$ref" in schema:
        target = whole
        for step in schema["$ref"][2:].split("/"):
            target = target[step]
        yield from (p for p in paths(target, whole, depth - 1) if p)
    for key, inner in schema.get("properties", {}).items():
        yield from ((key, *p) for p in paths(inner, whole, depth - 1))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from (("x", *p) for p in paths(schema["additionalProperties"], whole, depth - 1))
    if isinstance(schema.get("items"), dict):
        yield from ((0, *p) for p in paths(schema["items"], whole, depth - 1))
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from (p for p in paths(one, whole, depth - 1) if p)


def at(value: Any, path: tuple[str | int, ...], leaf: Any) -> Any:
    """A value with another at a path; what is on the way is made."""
    if not path:
        return leaf
    if isinstance(path[0], int):
        return [at(value[0] if isinstance(value, list) and value else None, path[1:], leaf)]
    return {
        **(value if isinstance(value, dict) else {}),
        path[0]: at(value.get(path[0]) if isinstance(value, dict) else None, path[1:], leaf),
    }


def parts() -> Iterator[tuple[str, str]]:
    """Every document that a base.yaml may have: the kind of control plane, and the part."""
    for kind in KINDS:
        yield from ((kind, part) for part in targets.KINDS[kind].SCHEMAS)


def schemas(kind: str, part: str, topology: Topology) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The schemas of a part, each with where it begins."""
    target = targets.KINDS[kind]
    yield (), base_schema(assets.load_schema(target.SCHEMAS[part]))
    yield from target.list_schemas(part, add_base_version(topology, "1.30.3"), assets.load_schema)


def start(kind: str, part: str) -> list[Any]:
    """The starter of a kind, and a document for the part, as people name it."""
    target = targets.KINDS[kind]
    documents = [d for d in yaml.safe_load_all(target.STARTER) if d]
    main = documents[0]
    if part == next(iter(target.SCHEMAS)):
        return [main]
    if kind == "Istio":
        return [main, {"apiVersion": main["apiVersion"], "kind": part}]
    return [main, {"apiVersion": main["apiVersion"], "kind": kind, "spec": CHART[kind](part)}]


def judge(documents: list[Any], topology: Topology) -> ControlPlane:
    """What is said of a base.yaml."""
    return check_base(
        BaseFile(load_documents("base.yaml", yaml.safe_dump_all(documents).encode())), topology
    )


def said(found: ControlPlane) -> None:
    """Every problem has its place and words of ours."""
    for problem in found.problems:
        assert problem.where.line, problem
        assert not re.search(r"\bNone\b(?!,|$)|anyOf|oneOf|Traceback", problem.what), problem


@pytest.mark.parametrize(("kind", "part"), list(parts()))
def test_every_path_takes_every_value(kind: str, part: str, topology: Topology) -> None:
    """No value at any path crashes; a seed chooses, for there are thousands of paths."""
    chosen = random.Random(f"{kind} {part}")
    documents = start(kind, part)
    assert not judge(documents, topology).problems
    for prefix, schema in schemas(kind, part, topology):
        known = list(dict.fromkeys(paths(schema, schema)))
        for path in chosen.sample(known, min(len(known), 25)):
            for odd in chosen.sample(ODD, 3):
                said(judge([*documents[:-1], at(documents[-1], (*prefix, *path), odd)], topology))


def every_schema() -> Iterator[tuple[str, Any]]:
    """All schemas that a file of a person is held to."""
    for folder in ("values", "kinds"):
        for path in sorted((TOP / "schemas" / folder).glob("*.json")):
            yield f"{folder}/{path.name}", assets.load_schema(f"{folder}/{path.name}")
    yield "topology.schema.json", assets.load_schema("topology.schema.json")


SCHEMAS = dict(every_schema())
KNOWN = {name: list(dict.fromkeys(paths(schema, schema))) for name, schema in SCHEMAS.items()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_keyword_has_words(name: str) -> None:
    """A sentence for every way in which a value differs from any schema, and none where it does not."""
    chosen = random.Random(name)
    schema = SCHEMAS[name]
    for path in chosen.sample(KNOWN[name], min(len(KNOWN[name]), 40)):
        for odd in chosen.sample(ODD, 4):
            value = at({}, path, odd)
            document = Document("x.yaml", value, {})
            problems = list(schema_problems(document, schema))
            assert bool(problems) or not differs(value, schema), (path, odd)
            for problem in problems:
                assert problem.what
                assert not re.search(r"\bNone\b(?!,|$)|anyOf|oneOf|Traceback", problem.what), (
                    problem
                )


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("ab", []),
        ("ab\n", ["value-not-allowed"]),
        ("a" * MAX_PATTERN_TEXT, []),
        ("a" * (MAX_PATTERN_TEXT + 1), ["value-not-allowed"]),
        (1, []),
    ],
)
def test_patterns(text: object, codes: list[str]) -> None:
    """`$` is the end of the text, and a text that is too long matches no pattern."""
    schema = {"properties": {"x": {"pattern": "^[ab]+$"}}}
    problems = schema_problems(Document("x.yaml", {"x": text}, {}), schema)
    assert [p.code for p in problems] == codes


def differs(value: Any, schema: Any) -> bool:
    """What jsonschema says."""
    import jsonschema

    return not jsonschema.Draft202012Validator(schema).is_valid(value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(SCHEMAS)), st.randoms(use_true_random=False), JSON)
@settings(deadline=None)
def test_random_values(name: str, chosen: random.Random, odd: Any) -> None:
    """The same of any value."""
    path = chosen.choice(KNOWN[name])
    for problem in schema_problems(Document("x.yaml", at({}, path, odd), {}), SCHEMAS[name]):
        assert problem.what


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"resources": {"requests": {"cpu": 1}}},
            'spec.values.resources.requests.cpu: must be a text or empty, not the number 1\n  fix: quote it: "1"',
        ),
        (
            {"replicaCount": "2"},
            "spec.values.replicaCount: must be a whole number or empty, not a text\n  fix: write it without quotes: 2",
        ),
        (
            {"autoscaling": {"enabled": "true"}},
            "spec.values.autoscaling.enabled: must be true or false, not a text\n  fix: write it without quotes: true",
        ),
    ],
)
def test_a_gateway_document(workdir: Make, run: Run, values: dict[str, Any], says: str) -> None:
    """Every command that reads base.yaml says the place, the fact and the fix."""
    mesh = workdir()
    main = next(yaml.safe_load_all(targets.KINDS["HelmRelease"].STARTER))
    gateway = {
        "apiVersion": main["apiVersion"],
        "kind": "HelmRelease",
        "spec": {**CHART["HelmRelease"]("gateway"), "values": values},
    }
    mesh.write("base.yaml", yaml.safe_dump_all([main, gateway]))
    for words in (
        ["render"],
        ["render", "--dry-run"],
        ["check"],
        ["diff"],
        ["describe"],
        ["graph"],
        ["certs", "status"],
        ["tokens", "status"],
    ):
        ran = run(*words, cwd=mesh)
        assert "a fault of its own" not in ran.err, ran.err
        if words not in (["certs", "status"], ["graph"]):
            assert says.split("\n", maxsplit=1)[0] in ran.out + ran.err, (words, ran)
    assert re.search(rf"error: base.yaml:\d+:\d+: {re.escape(says)}", run("render", cwd=mesh).err)
    assert says.split(": ", maxsplit=1)[0] in json.dumps(
        json.loads(run("check", "-o", "json", cwd=mesh).out)
    )
