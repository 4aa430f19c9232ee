"""mesh.lock: one reader and one writer, which read what earlier versions wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubectl_mesh.tree.lock_file import LockFile, Source, dump_lock, parse_lock
from tests.conftest import TOP
from tests.support.goldens import CASES, rendered_tree

KEPT = sorted((TOP / "tests" / "kept").rglob("*.lock"))
FULL = LockFile(
    cluster="east",
    mesh="acme",
    context='odd "name"',
    network="north",
    namespace="istio-system",
    control_plane="Istio",
    intermediate="aa",
    signer="bb",
    crl="cc",
    roots=("bb", "dd"),
    store="sops",
    recipients=("age1x", "age1y"),
    remote={
        "west": Source("https://192.0.2.1:6443", "ee"),
        "yew": Source("https://192.0.2.2:6443", "ff", "api.example.com"),
    },
    sealed={"1-trust/cacerts.yaml": "11"},
    files={"1-trust/cacerts.yaml": "22", "3-mesh/kustomization.yaml": "33"},
)


@pytest.mark.parametrize("path", KEPT, ids=lambda p: p.relative_to(TOP / "tests").as_posix())
def test_a_lock_of_an_earlier_version_is_read_and_written_alike(path: Path) -> None:
    """Nothing of a lock is lost, whichever version wrote it."""
    check_lock(path.read_bytes())


@pytest.mark.parametrize("case", CASES)
def test_a_rendered_lock_is_read_and_written_alike(case: str) -> None:
    """Nothing of the locks of a golden case is lost."""
    for path in rendered_tree(case).glob("*/mesh.lock"):
        check_lock(path.read_bytes())


def check_lock(body: bytes) -> None:
    """Fails unless a lock is written to the same bytes again, and says what its JSON says."""
    lock = parse_lock(body)
    assert lock is not None
    assert dump_lock(lock) == body
    value = json.loads(body)
    assert lock.files == value["files"]
    assert lock.mesh == value["madeFrom"]["mesh"]
    assert list(lock.remote) == list(value["madeFrom"]["remoteSecrets"])


def test_there_are_locks_of_the_first_version() -> None:
    """A folder that moved away would make the test above empty."""
    assert len(KEPT) > 10


def test_every_field_comes_back() -> None:
    """A lock that says all there is to say."""
    assert parse_lock(dump_lock(FULL)) == FULL
    told = json.loads(dump_lock(FULL))["madeFrom"]
    assert {
        "context",
        "network",
        "controlPlane",
        "intermediate",
        "signer",
        "crl",
        "roots",
        "store",
        "recipients",
        "remoteSecrets",
    } <= told.keys()
    assert "issuer" not in told
    assert "waits" not in told


GOOD = json.loads(dump_lock(FULL))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        3,
        {},
        {**GOOD, "files": 3},
        {**GOOD, "files": ["a"]},
        {k: v for k, v in GOOD.items() if k != "files"},
        {k: v for k, v in GOOD.items() if k != "cluster"},
        {k: v for k, v in GOOD.items() if k != "madeFrom"},
        {**GOOD, "madeFrom": "x"},
        {**GOOD, "madeFrom": {}},
        {**GOOD, "madeFrom": {**GOOD["madeFrom"], "roots": 3}},
        {**GOOD, "madeFrom": {**GOOD["madeFrom"], "remoteSecrets": {"west": "x"}}},
        {**GOOD, "sealed": ["x"]},
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_is_no_lock(value: Any) -> None:
    """Nothing is guessed of it."""
    assert parse_lock(json.dumps(value).encode()) is None


@pytest.mark.parametrize(
    "body",
    [None, b"", b"{", b"\xff", b"\0" * 100, b"[" * 100_000],
    ids=["missing", "empty", "cut", "no text", "zeros", "deep"],
)
def test_what_is_no_json(body: bytes | None) -> None:
    """Neither is of bytes."""
    assert parse_lock(body) is None


def test_a_key_of_a_later_version_is_no_fault() -> None:
    """Keys are only ever added."""
    later = {**GOOD, "new": 1, "madeFrom": {**GOOD["madeFrom"], "new": [1]}}
    assert parse_lock(json.dumps(later).encode()) == FULL
