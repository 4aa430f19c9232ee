"""What programs read of version 63637b9 they read of every later one: each report in JSON has all its keys, with values of the same kinds."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kubectl_mesh.cli import clock
from tests.conftest import TOP, Run
from tests.support.goldens import copy_case

KEPT = TOP / "tests" / "kept" / "63637b9"
Words = list[str]
RENDERED: list[Words] = [["render"]]
ADD = [
    "add",
    "new",
    "--network",
    "network-new",
    "--server",
    "https://203.0.113.99:6443",
    "--ca",
    "clusters/east.crt",
]
CASES: dict[str, tuple[str, list[Words], Words]] = {
    "render": ("first-day", [], ["render"]),
    "render-fleet": ("fleet", [], ["render"]),
    "render-check": ("per-peer", RENDERED, ["render", "--check"]),
    "check": ("first-day", RENDERED, ["check"]),
    "check-fleet": ("fleet", RENDERED, ["check"]),
    "describe": ("primary-remote", RENDERED, ["describe"]),
    "describe-sops": ("sops", [], ["describe"]),
    "diff-first": ("two-networks", [], ["diff"]),
    "diff-removed": ("two-networks", [["render"], ["remove", "west"]], ["diff"]),
    "certs-status": ("revoked", [], ["certs", "status"]),
    "rotate-root-status": (
        "two-networks",
        [["render"], ["certs", "rotate-root", "begin"]],
        ["certs", "rotate-root", "status"],
    ),
    "tokens-status": ("two-networks", RENDERED, ["tokens", "status"]),
    "tokens-rotate": ("two-networks", RENDERED, ["tokens", "rotate", "west", "begin"]),
    "explain": (
        "two-networks",
        RENDERED,
        ["explain", "x509: certificate signed by unknown authority"],
    ),
    "teardown": ("two-networks", RENDERED, ["teardown"]),
    "remove": ("two-networks", RENDERED, ["remove", "west"]),
    "add": ("two-networks", RENDERED, ADD),
    "init": ("", [], ["init", "--mesh-id", "acme", "--control-plane", "Istio"]),
}
"""By the name of a report the golden input, the commands before it, and the command."""


def lost(old: Any, new: Any, path: str = "") -> list[str]:
    """The paths at which a later report lacks a key of an earlier one, or has a value of another kind."""
    if old is None or new is None:
        return []
    if type(old) is not type(new):
        return [f"{path}: {type(old).__name__}, now {type(new).__name__}"]
    if isinstance(old, dict):
        missing = [f"{path}.{key}: gone" for key in old if key not in new]
        return missing + [
            p for key in old if key in new for p in lost(old[key], new[key], f"{path}.{key}")
        ]
    if isinstance(old, list) and old:
        if not new:
            return [f"{path}: empty"]
        # Lists may grow and be sorted anew: each item has to be like some item of the later one.
        return [
            min((lost(item, other, f"{path}[]") for other in new), key=len)[0]
            for item in old
            if all(lost(item, other) for other in new)
        ]
    return []


@pytest.mark.parametrize("name", list(CASES))
def test_a_report_has_all_that_it_had(
    name: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are only ever added."""
    case, before, words = CASES[name]
    monkeypatch.setattr(clock, "read_clock", lambda: datetime(2026, 12, 1, 12, tzinfo=UTC))
    mesh = tmp_path / "mesh"
    if case:
        copy_case(case, mesh)
    else:
        mesh.mkdir()
    for earlier in before:
        assert run(*earlier, cwd=mesh).code == 0
    ran = run(*words, "-o", "json", cwd=mesh)
    assert ran.code in (0, 1), ran.err
    assert lost(json.loads((KEPT / f"{name}.json").read_text()), json.loads(ran.out)) == []


def test_what_is_lost_is_seen() -> None:
    """The comparison sees what it is for."""
    assert lost({"a": 1, "b": [{"c": "x"}]}, {"a": 2, "b": [{"c": "y", "d": 1}], "e": 0}) == []
    assert lost({"a": 1}, {}) == [".a: gone"]
    assert lost({"a": 1}, {"a": "1"}) == [".a: int, now str"]
    assert lost({"b": [{"c": "x"}]}, {"b": [{"d": "x"}]}) == [".b[].c: gone"]
    assert lost({"b": [1]}, {"b": []}) == [".b: empty"]


def test_every_report_is_asked_for() -> None:
    """No file is forgotten."""
    assert sorted(CASES) == sorted(p.stem for p in KEPT.glob("*.json"))
