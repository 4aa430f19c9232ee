"""Everything that can be wrong with the inputs of a render: one mistake per topology, and the exact text that is printed.

`tests/invalid/NAME.yaml` is the topology and `NAME.txt` what stands on stderr; a folder `NAME/` holds what lies beside it
(base.yaml, kubeconfig.yaml, credentials/…), where that is more than the kubeconfig of examples/page. In `tests/invalid/warned/`
are those that are rendered all the same.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from kubectl_mesh.checks.table import CHECKS
from tests.conftest import SEED, Golden, Run, WorkDir, snapshot

INVALID = Path(__file__).resolve().parent / "invalid"
CASES = sorted(path.stem for path in INVALID.glob("*.yaml"))
WARNED = sorted(f"warned/{path.stem}" for path in (INVALID / "warned").glob("*.yaml"))
POSITIONED = re.compile(r"error: (?:topology|base|kubeconfig)\.yaml:([1-9][0-9]*):([1-9][0-9]*): ")
# What only a programmer would understand: Python's words and types, and a jsonschema message that no rule of ours put into words.
FOREIGN = re.compile(
    r"Traceback|\bNone\b|\bTrue\b|\bFalse\b|\bdict\b|\bstr\b|\bint\b|\bNoneType\b|KeyError|ValueError|does not match '|is not of type|fault of its own|u'"
    r"|does not appear to be|could not be cast|out of range|cannot be in brackets"
)
_END = re.compile(rb"-----END|PRIVATE KEY")


def directory(case: str, top: Path) -> WorkDir:
    """The working directory of a case."""
    made = WorkDir(top / case)
    if (INVALID / case).is_dir():
        shutil.copytree(INVALID / case, made.path)
    made.write("topology.yaml", (INVALID / f"{case}.yaml").read_bytes())
    if not (made / "kubeconfig.yaml").exists():
        made.write("kubeconfig.yaml", (SEED / "kubeconfig.yaml").read_bytes())
    for path in made.path.glob("credentials/*"):
        path.chmod(0o600)
    return made


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_told(case: str, tmp_path: Path, run: Run, golden: Golden) -> None:
    """A render with one mistake in its inputs ends with code 2, says exactly what the golden text says, and writes nothing."""
    made = directory(case, tmp_path)
    before = snapshot(tmp_path)
    ran = run("render", cwd=made)
    assert (ran.code, ran.out) == (2, "")
    assert snapshot(tmp_path) == before
    assert "fault of its own" not in ran.err
    golden(INVALID / f"{case}.txt", ran.err)


@pytest.mark.parametrize("case", WARNED)
def test_a_warning_is_told(case: str, tmp_path: Path, run: Run, golden: Golden) -> None:
    """A render that goes on all the same says exactly what the golden text says, and `check` calls it no error."""
    made = directory(case, tmp_path)
    ran = run("render", "--dry-run", cwd=made)
    assert ran.code == 0
    assert FOREIGN.search(re.sub(r'"[^"]*"', "", ran.err)) is None
    golden(INVALID / f"{case}.txt", ran.err)


def test_every_check_of_the_inputs_is_tripped(tmp_path: Path, run: Run) -> None:
    """For each check there is a case here that trips it, but for those of tree, git and certificates, which have tests of their own."""
    tripped: set[str] = set()
    for case in [*CASES, *WARNED]:
        made = directory(case, tmp_path)
        found = json.loads(run("check", "-o", "json", cwd=made).out)
        tripped |= {check["id"] for check in found["checks"] if check["findings"]}
    wanted = {c.id for c in CHECKS if c.category not in ("tree", "git", "certificates")} - {
        "private-mode",
        "network-near",
        "server-pending",
        "server-borrowed",
        "server-ca-expired",
        "server-ca-expiring",
        "token-expired",
        "token-expiring",
        "token-order",
        "token-account",
        "next-token-pending",
        "token-old",
    }
    assert wanted - tripped == set()


@pytest.mark.parametrize("case", CASES)
def test_a_text_is_for_people(case: str) -> None:
    """Every golden text is made of `error:` paragraphs that name a file, hold no word of Python's, and point at what is there."""
    text = (INVALID / f"{case}.txt").read_text()
    paragraphs = [line for line in text.splitlines() if not line.startswith(" ")]
    assert paragraphs
    assert all(line.startswith("error: ") for line in paragraphs)
    assert FOREIGN.search(re.sub(r'"[^"]*"', "", text)) is None
    source = (INVALID / f"{case}.yaml").read_bytes().decode("utf-8", "replace").split("\n")
    for line in paragraphs:
        position = POSITIONED.match(line)
        if position is not None and line.startswith("error: topology.yaml"):
            assert int(position[1]) <= len(source)
            assert int(position[2]) <= len(source[int(position[1]) - 1]) + 1


@pytest.mark.parametrize("case", CASES)
def test_check_finds_it_too(case: str, tmp_path: Path, run: Run) -> None:
    """`check` calls the same inputs wrong, by exit code 1, and names each place that `render` names."""
    made = directory(case, tmp_path)
    ran = run("check", cwd=made)
    assert ran.code == 1
    for line in (INVALID / f"{case}.txt").read_text().splitlines():
        position = POSITIONED.match(line)
        if position is not None:
            assert position[0].removeprefix("error: ").rstrip(": ") in ran.out


def test_problems_stand_in_the_order_of_the_file() -> None:
    """Where a topology has several mistakes, they are told in the order of their lines."""
    for case in CASES:
        lines = [
            POSITIONED.match(line) for line in (INVALID / f"{case}.txt").read_text().splitlines()
        ]
        places = [
            (int(m[1]), int(m[2]))
            for m in lines
            if m is not None and m[0].startswith("error: topology.yaml")
        ]
        assert places == sorted(places), case


def test_the_page_s_own_example(tmp_path: Path, run: Run) -> None:
    """The example as the old page prints it, with its two slips, is told apart by the contexts that the kubeconfig has."""
    made = WorkDir(tmp_path)
    made.write("topology.yaml", (SEED / "topology-as-printed.yaml").read_bytes())
    made.write("kubeconfig.yaml", (SEED / "kubeconfig.yaml").read_bytes())
    ran = run("render", cwd=made)
    assert ran.code == 2
    assert ran.err == (
        'error: topology.yaml:5:3: contexts.content-east-2: no such context in kubeconfig.yaml (did you mean "context-east-2"?)\n'
        'error: topology.yaml:7:3: contexts.content-west-1: no such context in kubeconfig.yaml (did you mean "context-west-1"?)\n'
    )


def test_no_text_shows_a_secret() -> None:
    """Nothing that a case holds as a token or a key stands in its text."""
    for case in CASES:
        text = (INVALID / f"{case}.txt").read_bytes()
        assert _END.search(text.replace(b"-----BEGIN CERTIFICATE", b"")) is None
        assert b"correct-horse" not in text
        words = [
            word
            for path in (INVALID / case).glob("credentials/*")
            for word in path.read_bytes().split()
        ]
        assert not [word for word in words if len(word) >= 8 and word in text], case
