"""Every regular expression of the package on text that an enemy writes: none takes more than seconds of the processor for 1 MB.

The patterns are found by the syntax tree, so that a new one cannot be forgotten; what they are made of is asked of the modules themselves.
A pattern with a quantifier inside a quantifier is refused as such. The inputs are made from each pattern: what its beginning matches, again and
again, and what each of its repetitions matches, again and again, without the end that would make it match.
"""

import ast
import importlib
import json
import pkgutil
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import kubectl_mesh
from kubectl_mesh import explain
from kubectl_mesh.yaml_io import schema
from tests.conftest import TOP

METHODS = {"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
SIZE = 1_000_000
"""The length of the text."""
SECONDS = 10
"""Of the processor, for one pattern and all its inputs."""
SEEDS = 2
"""What of a pattern is repeated, at most, in each of two ways."""
OWN_TEXT = {
    "kubectl_mesh.graph.svg:_LIGHT_DARK": "reads the style sheet of the page, which is ours",
    "kubectl_mesh.graph.svg:_with_dark_rules": "reads the style sheet of the page, which is ours",
    "kubectl_mesh.yaml_io.templates:_MARKER": "reads a template of ours with markers of ours",
}
"""Patterns that never see a text of somebody else, each with the reason."""
AT_RUN_TIME: dict[str, list[str]] = {
    "kubectl_mesh.explain:find_messages": [known.pattern for known in explain.MESSAGES],
    "kubectl_mesh.adopt.reasons:field_reason": [
        pattern
        for pattern, _ in importlib.import_module("kubectl_mesh.adopt.reasons")._FIELD_REASONS
    ],
    "kubectl_mesh.yaml_io.schema:compile_pattern": [],  # those of the schemas, see below
    "kubectl_mesh.stores.sops:open_file": ["^(data|stringData)$"],
    "kubectl_mesh.cli.common:print_marked_text": [r"^( *)(error|warning|ok)(?= )"],
    "kubectl_mesh.operations.rotate_token:_list_generations": [r"x\.token\.g([0-9]{1,4})"],
}
"""Patterns that are put together when a function runs: what becomes of them, by the function."""


OUTPUT_ONLY = {
    "gateway-gateway-v1.json": "the schema of an object that is rendered, by which kubeconform judges; no file of a person is judged by it"
}
"""Schemas whose patterns see no text of somebody else, each with the reason."""


class Pattern(NamedTuple):
    """A pattern: where it is, what it is, how it is applied."""

    where: str
    text: "str | bytes"
    flags: int
    methods: frozenset[str]


def modules() -> Iterator[ModuleType]:
    """Every module of the package."""
    yield kubectl_mesh
    for found in pkgutil.walk_packages(kubectl_mesh.__path__, "kubectl_mesh."):
        if found.name != "kubectl_mesh.__main__":
            yield importlib.import_module(found.name)


def used(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """By the name of a constant, how it is applied: in its own module if it is private, else anywhere."""
    found: dict[str, set[str]] = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in METHODS
                and isinstance(node.value, ast.Name)
            ):
                name = node.value.id
                found.setdefault(f"{module}:{name}" if name.startswith("_") else name, set()).add(
                    node.attr
                )
    return found


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call, str]]:
    """Each call of a function of `re` that takes a pattern, with the constant or the function that it stands in."""

    def walk(node: ast.AST, place: str) -> Iterator[tuple[str, ast.Call, str]]:
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef | ast.ClassDef) else place
            if (
                isinstance(child, ast.Assign)
                and not place
                and isinstance(child.targets[0], ast.Name)
            ):
                inner = child.targets[0].id
            if (
                isinstance(child, ast.Call)
                and ast.unparse(child.func).startswith("re.")
                and ast.unparse(child.func)[3:] in METHODS | {"compile"}
            ):
                yield inner, child, ast.unparse(child.func)[3:]
            yield from walk(child, inner)

    yield from walk(tree, "")


def patterns() -> list[Pattern]:
    """Every pattern of the package, but for those of schemas."""
    loaded = list(modules())
    trees = {
        module.__name__: ast.parse(Path(str(module.__file__)).read_text()) for module in loaded
    }
    applied = used(trees)
    found: list[Pattern] = []
    for module in loaded:
        for place, call, function in calls(trees[module.__name__]):
            where = f"{module.__name__}:{place}"
            methods = (
                applied.get(where if place.startswith("_") else place, {"search"})
                if function == "compile"
                else {function}
            )
            if where in AT_RUN_TIME:
                found += [
                    Pattern(
                        where, text, re.IGNORECASE if "explain" in where else 0, frozenset(methods)
                    )
                    for text in AT_RUN_TIME[where]
                ]
                continue
            flags = call.args[1 if function == "compile" else 99 :][:1] or [
                k.value for k in call.keywords if k.arg == "flags"
            ]
            if (
                function in ("findall", "search", "finditer", "match", "fullmatch")
                and len(call.args) > 2
            ):
                flags = [call.args[2]]
            try:
                text, bits = (
                    eval(ast.unparse(part), dict(vars(module)))
                    for part in (call.args[0], *(flags or [ast.Constant(0)]))
                )
            except NameError as error:
                raise AssertionError(
                    f"{where} puts a pattern together at run time ({error}): say in AT_RUN_TIME what becomes of it"
                ) from None
            found.append(Pattern(where, text, int(bits), frozenset(methods)))
    return found


def schema_patterns() -> list[Pattern]:
    """The patterns of the schemas by which topology.yaml and base.yaml are judged."""
    found: dict[str, str] = {}

    def walk(value: Any, file: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "pattern" and isinstance(inner, str):
                    found.setdefault(inner, file)
                elif key == "patternProperties":
                    raise AssertionError(
                        f"{file} has patternProperties: say here how they are bounded"
                    )
                walk(inner, file)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, file)

    for path in sorted((TOP / "schemas").rglob("*.json")):
        if path.name in OUTPUT_ONLY:
            continue
        walk(json.loads(path.read_text()), path.relative_to(TOP).as_posix())
    return [
        Pattern(f"{file}:{text}", schema.compile_pattern(text).pattern, 0, frozenset({"search"}))
        for text, file in found.items()
    ]


ALL = patterns()


def test_they_are_found() -> None:
    """As many as somebody who looks for them finds, and of no function that is gone."""
    assert len(ALL) > 100
    places = {p.where for p in ALL}
    assert {
        "kubectl_mesh.x509.parse:_LINE",
        "kubectl_mesh.credentials.leaks:_TOKEN",
        "kubectl_mesh.pki.signing_requests:_requested_names",
        "kubectl_mesh.explain:find_messages",
    } <= places
    known = {
        f"{m.__name__}:{place}"
        for m in modules()
        for place, _, _ in calls(ast.parse(Path(str(m.__file__)).read_text()))
    }
    assert [name for name in (*OWN_TEXT, *AT_RUN_TIME) if name not in known] == []


def below(code: Any, value: Any) -> list[Any]:
    """The parts that a part of a pattern is made of, but for a repetition's."""
    if code is codes.SUBPATTERN:
        return [value[3]]
    if code is codes.BRANCH:
        return list(value[1])
    if code in (codes.ASSERT, codes.ASSERT_NOT):
        return [value[1]]
    return [value] if code is codes.ATOMIC_GROUP else []


def nested(tree: Any, *, inside: bool = False) -> bool:
    """Whether a repetition without an end stands in another."""
    for code, value in tree:
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            endless = value[1] == codes.MAXREPEAT
            if (endless and inside) or nested(value[2], inside=inside or endless):
                return True
        elif any(nested(inner, inside=inside) for inner in below(code, value)):
            return True
    return False


def test_what_counts_as_nested() -> None:
    """The test sees what it is for."""
    for text in ("(a+)+", "(?:(?: +[^\n]*\n)*? +END)+", "(a|b*c)*", "(?:(x+){2})*"):
        assert nested(parser.parse(text)), text
    for text in ("a+b*", "(?:ab|c)*", "(?:a{1,9}){1,9}", "(a+|b+)c"):
        assert not nested(parser.parse(text)), text


@pytest.mark.parametrize("pattern", ALL, ids=lambda p: f"{p.where}:{p.text!r:.40}")
def test_no_quantifier_stands_in_another(pattern: Pattern) -> None:
    """Such patterns are what takes exponential time."""
    assert not nested(parser.parse(pattern.text, pattern.flags)), (
        f"{pattern.where}: {pattern.text!r}: read lines instead"
    )


CHILD = """
import json, re, signal, sys
from tests.security.test_patterns import attacks

class TooLong(Exception):
    pass

def stop(number, frame):
    raise TooLong

signal.signal(signal.SIGVTALRM, stop)
for where, text, kind, flags, methods, size in json.load(sys.stdin):
    compiled = re.compile(text.encode("latin-1") if kind == "bytes" else text, flags)
    empty = b"" if kind == "bytes" else ""
    signal.setitimer(signal.ITIMER_VIRTUAL, {seconds})
    try:
        for attack in attacks(compiled.pattern, flags, size):
            for method in methods:
                run = getattr(compiled, method)
                found = run(empty, attack) if method in ("sub", "subn") else run(attack)
                if method == "finditer":
                    sum(1 for _ in found)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except TooLong:
        print(f"{{where}}: {{text!r}}", flush=True)
"""


def attacks(text: "str | bytes", flags: int, size: int) -> "Iterator[Any]":
    """Inputs for a pattern: its beginnings and its repetitions, each again and again, with an end that cannot match."""
    tree = parser.parse(text, flags)
    seeds: dict[str, None] = {}
    before = ""
    for part in tree:
        piece = sample([part])
        for inner in repeated(part):
            if inner:
                seeds[inner] = None  # the repetition alone
                seeds[before + inner] = None  # all up to it, again and again
        before += piece
        if before:
            seeds[before] = None
    seeds.setdefault("a")
    for number, seed in enumerate(list(seeds)[:SEEDS]):
        for end in ("\0", "\n")[: 1 if number else 2]:
            made = seed * (size // len(seed)) + end
            yield made.encode("latin-1", "replace") if isinstance(text, bytes) else made
    heads = [
        (sample(list(tree)[:n]), inner)
        for n, part in enumerate(tree)
        for inner in repeated(part)
        if inner
    ]
    for head, inner in heads[:SEEDS]:
        made = head + inner * (size // len(inner)) + "\0"
        yield made.encode("latin-1", "replace") if isinstance(text, bytes) else made


def repeated(part: Any) -> Iterator[str]:
    """What each repetition without an end in a part repeats."""
    code, value = part
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        if value[1] == codes.MAXREPEAT or value[1] > 20:
            yield sample(value[2])
        for inner in value[2]:
            yield from repeated(inner)
    for branch in below(code, value):
        for inner in branch:
            yield from repeated(inner)
        if code is codes.BRANCH:
            yield sample(branch)


def sample(tree: Any) -> str:
    """A short text that a part of a pattern matches, as far as that can be said of the part alone."""
    text = ""
    for code, value in tree:
        if code is codes.LITERAL:
            text += chr(value)
        elif code is codes.NOT_LITERAL:
            text += "a" if value != ord("a") else "b"
        elif code is codes.ANY:
            text += "a"
        elif code is codes.IN:
            text += member(value)
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            text += sample(value[2]) * max(value[0], 1)
        elif code is codes.SUBPATTERN:
            text += sample(value[3])
        elif code is codes.ATOMIC_GROUP:
            text += sample(value)
        elif code is codes.BRANCH:
            text += sample(value[1][0])
    return text


def member(items: Any) -> str:
    """A character of a set."""
    wanted = [
        chr(n)
        for n in (
            *range(97, 123),
            *range(48, 58),
            *range(65, 91),
            32,
            *range(33, 127),
            10,
            *range(0x80, 0x100),
            0x200B,
        )
    ]
    flags = [item for item in items if item[0] is codes.NEGATE]
    categories = {
        codes.CATEGORY_DIGIT: r"\d",
        codes.CATEGORY_SPACE: r"\s",
        codes.CATEGORY_WORD: r"\w",
        codes.CATEGORY_NOT_SPACE: r"\S",
        codes.CATEGORY_NOT_DIGIT: r"\D",
    }

    def fits_one(character: str) -> bool:
        for code, value in items:
            if code is codes.LITERAL and ord(character) == value:
                return True
            if code is codes.RANGE and value[0] <= ord(character) <= value[1]:
                return True
            if code is codes.CATEGORY and re.match(categories[value], character):
                return True
        return False

    return next((c for c in wanted if fits_one(c) is not bool(flags)), "a")


def outlast(found: list[Pattern], size: int, seconds: float = SECONDS) -> list[str]:
    """The patterns that do not get through their inputs in time."""
    values = [
        (
            p.where,
            p.text.decode("latin-1") if isinstance(p.text, bytes) else p.text,
            type(p.text).__name__,
            p.flags,
            sorted(p.methods),
            size,
        )
        for p in found
    ]
    code = CHILD.format(seconds=seconds)
    limit = (
        int(seconds * len(found)) + 60
    )  # the matcher asks for signals; this is for a matcher that would not
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TOP,
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)),
    )
    assert ran.returncode == 0, ran.stderr or f"ended by signal {-ran.returncode}"
    return ran.stdout.splitlines()


FOREIGN = [p for p in ALL if p.where not in OWN_TEXT]


@pytest.mark.parametrize("group", range(8))
def test_every_pattern_ends(group: int) -> None:
    """On what is worst for it."""
    assert outlast(FOREIGN[group::8], SIZE) == []


def test_the_limit_is_felt() -> None:
    """A pattern that backtracks exponentially exceeds it."""
    old = Pattern("old", rb"^(?:[a-z]+)+=$", 0, frozenset({"search"}))
    new = Pattern("new", rb"^[a-z]+=$", 0, frozenset({"search"}))
    assert outlast([new, old, new], SIZE, 1) == ["old: '^(?:[a-z]+)+=$'"]


def test_a_quadratic_pattern_is_felt() -> None:
    """Also without a quantifier in another: every place of a long run begins anew."""
    old = Pattern("old", r"(\\*)\]\(", 0, frozenset({"sub"}))
    assert outlast([old], SIZE, 1) != []


def test_the_patterns_of_the_schemas_end() -> None:
    """On the longest text that they are asked about; a longer one is refused without them."""
    found = schema_patterns()
    assert len(found) > 50
    assert outlast(found, schema.MAX_PATTERN_TEXT) == []
