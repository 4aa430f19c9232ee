"""`diff`: changes of a mesh, each with the exact text, JSON and Markdown of what it does; and that no secret is in any of them."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kubectl_mesh.cli import clock as shell
from kubectl_mesh.differences import diff_trees
from kubectl_mesh.differences.impact import is_applicable, parse_version_pair
from kubectl_mesh.differences.rules import RULES
from kubectl_mesh.observed.tree_sources import read_tree
from kubectl_mesh.reports.diff_markdown import markdown_text
from kubectl_mesh.reports.diff_text import diff_json, diff_text
from kubectl_mesh.safety.apply_steps import Constraint, rank_clusters
from kubectl_mesh.yaml_io import assets
from tests.conftest import TOP, Golden, Run, merged
from tests.support.goldens import CASES as GOLDEN_CASES
from tests.support.goldens import rendered_tree

CASES = TOP / "tests" / "diff"
NAMES = sorted(p.parent.name for p in CASES.glob("*/case.yaml"))
DAY = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)


def case(name: str) -> dict[str, Any]:
    """What a case says."""
    found: dict[str, Any] = yaml.safe_load((CASES / name / "case.yaml").read_text())
    return found


def lay(folder: Path, change: Mapping[str, Any]) -> None:
    """Lays a change over a working directory, or over a tree."""
    for name in ("topology", "base"):
        if name in change:
            path = folder / f"{name}.yaml"
            path.write_text(
                yaml.safe_dump(
                    merged(yaml.safe_load(path.read_text()), change[name]), sort_keys=False
                )
            )
    for target, source in change.get("copy", {}).items():
        place = folder / target
        if (CASES / source).is_dir():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(CASES / source, place)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CASES / source, place)
            if target == "certs/root-cert.pem":
                # Those beside the intermediates are made anew from it.
                for beside in folder.glob("certs/intermediate-*/root-cert.pem"):
                    beside.unlink()
    for path, body in change.get("write", {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(body)
    for path, (old, new) in change.get("replace", {}).items():
        was = (folder / path).read_text()
        assert old in was
        (folder / path).write_text(was.replace(old, new))
    for path in change.get("remove", ()):
        (folder / path).unlink()
    for path in [*folder.rglob("*key.pem"), *folder.rglob("*.token"), *folder.rglob("seal-key")]:
        path.chmod(0o600)


@pytest.fixture
def built(tmp_path: Path, run: Run) -> Any:
    """Makes the working directory of a case: rendered, then changed."""

    def make(name: str) -> Path:
        what, mesh = case(name), tmp_path / "mesh"
        shutil.copytree(CASES / "base", mesh)
        lay(mesh, what.get("setup", {}))
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        lay(mesh, what.get("change", {}))
        lay(mesh / "out", what.get("tree", {}))
        return mesh

    return make


def secrets(mesh: Path) -> set[bytes]:
    """What nobody may see of a working directory: keys, tokens, ciphertexts; as they stand, in base64 and in hex, each in pieces."""
    found: set[bytes] = set()
    for path in [*mesh.rglob("*key.pem"), *mesh.rglob("*.token"), *mesh.rglob("seal-key")]:
        body = path.read_bytes()
        pieces = [piece for piece in body.split() if len(piece) > 15 and b"--" not in piece]
        for piece in pieces:
            found |= {
                piece,
                piece.hex().encode(),
                base64.b64encode(piece).rstrip(b"=")[:-1],
                base64.b64encode(b" " + piece)[4:24],
                base64.b64encode(b"  " + piece)[4:24],
            }
    for path in mesh.rglob("*.yaml"):
        for body in re.findall(rb"ENC\[AES256_GCM,data:([A-Za-z0-9+/]{16,})", path.read_bytes()):
            found |= {body[:40], body[-40:]}
        if "remote-secrets" in str(path):
            found |= {
                body[-60:-4]
                for body in re.findall(
                    rb'^  [a-z0-9-]+: "?([A-Za-z0-9+/=]{200,})', path.read_bytes(), re.MULTILINE
                )
            }
    return {f for f in found if len(f) > 11}


@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_told(name: str, built: Any, run: Run, golden: Golden) -> None:
    """Text, JSON and Markdown, byte for byte; the exit code; and no key, token or ciphertext in any of them."""
    what, mesh = case(name), built(name)
    hidden = secrets(mesh)
    assert len(hidden) > 20
    text = run("diff", cwd=mesh)
    value = run("diff", "-o", "json", cwd=mesh)
    markdown = run("diff", "-o", "markdown", cwd=mesh)
    assert (text.code, value.code, markdown.code) == (
        what.get("code", 0 if name == "foreign" else 1),
    ) * 3, text.err
    golden(CASES / name / "text.txt", text.out)
    golden(CASES / name / "diff.json", value.out)
    golden(CASES / name / "diff.md", markdown.out)
    found = json.loads(value.out)
    jsonschema.Draft202012Validator(assets.load_schema("output/diff.schema.json")).validate(found)
    assert (found["order"]["refused"] is not None) == bool(
        what.get("refused") or what.get("guarded")
    )
    for output in (text, value, markdown):
        for secret in hidden:
            assert secret not in output.out.encode() + output.err.encode(), secret
        for word in ("not-to-be-seen", "nobody-may-see", "PRIVATE KEY", "ENC["):
            assert word not in output.out + output.err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("issuer-elsewhere", "have the new issuer sign by the root"),
        ("issuer-here", "take the root of the old issuer into certs/"),
    ],
)
def test_a_root_that_only_clusters_know_is_warned_of(
    name: str, says: str, built: Any, run: Run
) -> None:
    """By `check`, and by the render that takes it into the tree; the next one has nothing to compare."""
    mesh = built(name)
    found = [
        r
        for r in json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]
        if r["id"] == "root-elsewhere"
    ]
    assert [f["status"] for f in found] == ["warning"]
    first, second = run("render", cwd=mesh), run("render", cwd=mesh)
    assert (first.code, second.code) == (0, 0)
    assert first.err.startswith("warning: topology.yaml:")
    assert "certificates.issuer: has workloads trust the root of " in first.err
    assert f"  fix: {says}" in first.err
    assert "warning: " not in second.err


REFUSED = [name for name in NAMES if case(name).get("refused")]
GUARDED = [name for name in NAMES if case(name).get("guarded")]
"""What running clusters do not survive for another reason than roots: refused by the check that the case names."""


@pytest.mark.parametrize("name", REFUSED)
def test_render_refuses_what_is_safe_in_no_order(name: str, built: Any, run: Run) -> None:
    """With the steps that are safe, and nothing written."""
    mesh = built(name)
    before = {p: p.read_bytes() for p in (mesh / "out").rglob("*") if p.is_file()}
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert ran.err.startswith("error: certs/root-cert.pem: ")
    assert all(
        step in ran.err for step in ("1. trust both", "2. sign with the new", "3. drop the old")
    )
    assert {p: p.read_bytes() for p in (mesh / "out").rglob("*") if p.is_file()} == before
    assert run("render", "--check", cwd=mesh).code == 2
    checked = run("check", cwd=mesh)
    assert checked.code == 1
    assert "× root-exchange: certs/root-cert.pem: " in checked.out


@pytest.mark.parametrize("name", GUARDED)
def test_render_and_check_refuse_what_diff_calls_unsafe(name: str, built: Any, run: Run) -> None:
    """For the same reason, with the same fix."""
    mesh = built(name)
    refused = json.loads(run("diff", "-o", "json", cwd=mesh).out)["order"]["refused"]
    assert refused["id"] == case(name)["guarded"]
    ran, checked = run("render", cwd=mesh), run("check", "-o", "json", cwd=mesh)
    assert ran.code == 2
    assert f"{refused['what']}\n  fix: {refused['fix']}" in ran.err
    (check,) = [c for c in json.loads(checked.out)["checks"] if c["id"] == refused["id"]]
    assert refused["what"] in [f["what"] for f in check["findings"]]


def test_roots_in_another_order_are_told_as_a_render_has_it(built: Any, run: Run) -> None:
    """The same certificates, and a text that istiod up to 1.29 takes for another bundle: `diff` knows what `render` refuses."""
    mesh = built("signer-changed")
    bundle = (mesh / "certs/root-cert.pem").read_bytes()
    first, second = re.findall(rb"-----BEGIN.*?-----END CERTIFICATE-----\n", bundle, re.DOTALL)
    for path in [mesh / "certs/root-cert.pem", *mesh.glob("certs/intermediate-*/root-cert.pem")]:
        path.write_bytes(second + first)
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert (
        ran.err.count(
            "has the same roots in another order, which istiod up to 1.29 takes for another bundle and ignores"
        )
        == 3
    )
    refused = json.loads(run("diff", "-o", "json", cwd=mesh).out)["order"]["refused"]
    assert "east has the same roots in another order" in json.dumps(refused)
    assert "one piece" in json.dumps(refused)


def test_there_are_refused_cases() -> None:
    """Three ways to lose a mesh."""
    assert REFUSED == ["root-dropped-too-early", "roots-exchanged", "signer-too-early"]


def test_the_steps_that_are_told_are_taken(built: Any, run: Run) -> None:
    """The refusal's own steps, one render each, lead where it would not go at once; one cluster at a time is refused where others are behind."""
    mesh = built("roots-exchanged")
    assert run("render", cwd=mesh).code == 2
    for name in ("roots-grown", "signer-changed", "roots-shrunk"):
        if name == "roots-grown":
            shutil.rmtree(mesh / "certs")
            shutil.copytree(CASES / "base/certs", mesh / "certs")
        lay(mesh, case(name)["change"])
        told = run("diff", cwd=mesh)
        assert told.code == 1
        assert "safe in no order" not in told.out
        if name == "roots-grown":
            assert run("render", "--cluster", "east", cwd=mesh).code == 0
            lay(mesh, case("signer-changed")["change"])
            early = run("render", "--cluster", "east", cwd=mesh)
            assert early.code == 2
            assert "signed by a root that is not trusted yet in north, west" in early.err
            shutil.rmtree(mesh / "certs")
            shutil.copytree(CASES / "base/certs", mesh / "certs")
            lay(mesh, case(name)["change"])
        assert run("render", cwd=mesh).code == 0
    assert (mesh / "certs/root-cert.pem").read_bytes() == (
        CASES / "spare/b/root-cert.pem"
    ).read_bytes()


def test_a_root_that_is_missing_is_not_made_anew_under_a_running_mesh(built: Any, run: Run) -> None:
    """The tree says that there was one; without a tree it is made."""
    mesh = built("token-changed")
    shutil.rmtree(mesh / "certs")
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert (
        "certs/root-cert.pem: is missing, and a new root would take the place of the one" in ran.err
    )
    assert not (mesh / "certs").exists()
    shutil.rmtree(mesh / "out")
    assert run("render", cwd=mesh).code == 0


def lines(ran: Any) -> list[dict[str, Any]]:
    """The lines of a report that do not depend on which tree a person edited."""
    return [
        line for line in json.loads(ran.out)["lines"] if line["kind"] not in ("edited", "foreign")
    ]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in REFUSED and "tree" not in case(n)])
def test_the_same_is_told_before_and_after_a_render(
    name: str, built: Any, run: Run, tmp_path: Path
) -> None:
    """Of what a render would write, of the two trees once it wrote, and of the commit before it; nothing is left to be told then."""
    mesh = built(name)
    would = run("diff", "-o", "json", cwd=mesh)
    git(mesh, "init", "-q")
    (mesh / ".gitignore").unlink(missing_ok=True)
    git(mesh, "add", "-f", "out")
    git(mesh, "commit", "-qm", "before")
    shutil.copytree(mesh / "out", tmp_path / "old")
    # Where running clusters do not survive it: the tree that is committed counts as not applied.
    sure = (
        [w for n in ("east", "north", "west") for w in ("--unapplied", n, "--confirm-unapplied", n)]
        if name in GUARDED
        else ["--with-restarts"]
    )
    assert run("render", *sure, cwd=mesh).code == 0
    did = run("diff", tmp_path / "old", "out", "-o", "json", cwd=mesh)
    assert did.code == 1
    assert lines(did) == lines(would)
    status = git(mesh, "status", "--porcelain")
    against = run("diff", "--against", "HEAD", "-o", "json", cwd=mesh)
    assert git(mesh, "status", "--porcelain") == status
    assert lines(against) == lines(would)
    for key in ("order", "clusters", "secrets", "summary"):
        values = [json.loads(ran.out)[key] for ran in (against, did, would)]
        if key == "order" and name in GUARDED:
            # A render knows the topology: where it stands, how tokens are fetched, and the way out.
            for value in values:
                for refused in (value["refused"], *value["refused"].get("others", ())):
                    refused |= {
                        "file": "",
                        "fix": refused["fix"].partition("\n")[0],
                        "what": refused["what"].partition(" (as in ")[0],
                    }
        assert values[0] == values[1] == values[2]
    assert run("diff", "out", "out", cwd=mesh).code == 0
    back = run("diff", "out", tmp_path / "old", "-o", "json", cwd=mesh)
    assert back.code == 1
    assert {line["kind"] for line in lines(back)} != set()


def git(where: Path, *words: str) -> str:
    """What git prints, run for nobody in particular."""
    command = [
        "git",
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.com",
        "-c",
        "commit.gpgsign=false",
        *words,
    ]
    return subprocess.run(command, cwd=where, check=True, capture_output=True, text=True).stdout


def test_against_a_revision_of_a_tree_that_lies_deep(built: Any, run: Run, tmp_path: Path) -> None:
    """A branch, a tag or a commit; `out` anywhere below the top; what was never committed, and what is no revision, is a sentence."""
    mesh = built("token-changed")
    repository = tmp_path / "repository"
    (repository / "a").mkdir(parents=True)
    git(repository, "init", "-q", "-b", "main")
    (repository / "readme").write_text("x\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "empty")
    mesh.rename(repository / "a/mesh")
    mesh = repository / "a/mesh"
    git(repository, "add", "-f", "a/mesh/out")
    git(repository, "commit", "-qm", "one")
    git(repository, "tag", "v1")
    assert run("render", cwd=mesh).code == 0
    for revision in (
        "HEAD",
        "main",
        "v1",
        "HEAD~0",
        git(repository, "rev-parse", "--short", "HEAD").strip(),
    ):
        told = run("diff", "--against", revision, cwd=mesh)
        assert told.code == 1
        assert told.out.startswith(f"mesh acme: out at {revision} -> out\n")
        assert "remote secret of west: its token changes  [east, north]" in told.out
    assert "its token changes" in run("diff", "-C", "a/mesh", "--against", "v1", cwd=repository).out
    narrow = run("diff", "--against", "v1", "--cluster", "east", cwd=mesh)
    assert "its token changes  [east]" in narrow.out or "[all clusters]" in narrow.out
    assert run("diff", "--against", "v1", "--cluster", "west", cwd=mesh).code == 0
    for words, said in (
        (("--against", "nowhere"), 'error: --against: git knows no commit "nowhere"'),
        (("--against", "HEAD~1"), 'error: --against: "HEAD~1" has no tree at a/mesh/out'),
        (("--against", "--upload-pack=x"), "error: --against: "),
        (("--against", "v1:a"), "error: --against: git knows no commit"),
        (
            ("--against", "v1", "--cluster", "wset"),
            'error: --cluster: no cluster "wset" in either tree (did you mean "west"?)',
        ),
        (("--against", "v1", "--kubeconfig", "x"), "error: --kubeconfig: is for a render"),
    ):
        refused = run("diff", *words, cwd=mesh)
        assert (refused.code, refused.out) == (2, ""), words
        assert refused.err.startswith(said), refused.err
        assert "fix: " in refused.err
    elsewhere = run("diff", "--against", "HEAD", "--out", tmp_path / "bare", cwd=tmp_path)
    assert elsewhere.code == 2
    assert "lies in no git work tree" in elsewhere.err


def test_without_git_a_sentence(built: Any, run: Run, tmp_path: Path) -> None:
    """And not a traceback."""
    mesh = built("token-changed")
    git(mesh, "init", "-q")
    ran = run("diff", "--against", "HEAD", cwd=mesh, env={"PATH": str(tmp_path)})
    assert ran.code == 2
    assert ran.err.startswith("error: git: is not on PATH")


def test_what_a_render_would_refuse_to_take_away_is_told(built: Any, run: Run) -> None:
    """A token that cannot be read here ends a discovery in the diff, and in no render."""
    mesh = built("foreign")
    (mesh / "credentials/west.token").unlink()
    ran = run("diff", cwd=mesh)
    assert ran.code == 1
    assert "discovery of west: ends  [east, north]" in ran.out
    assert (
        "safe in no order, and `kubectl mesh render` refuses it: its token (credentials/west.token) is not there"
        in ran.out
    )
    assert "2 rendered remote secrets for it would be removed" in ran.out
    assert run("render", cwd=mesh).code == 2


def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(built: Any, run: Run) -> None:
    """In values, names of list items, servers, labels of an edited tree: told as different, and never shown."""
    mesh = built("foreign")
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    base = yaml.safe_load((mesh / "base.yaml").read_text())
    base["spec"]["values"]["pilot"] = {
        "env": {"API_KEY_X": "plain-looking", "OTHER": token, "PIN_TOKEN": "1234"},
        "podAnnotations": {"a": "//u:hunter2pass@h"},
        "tolerations": [{"key": token, "operator": "Exists"}],
    }
    base["spec"]["values"]["global"] = {"imagePullSecrets": ["regcred-of-mine"]}
    (mesh / "base.yaml").write_text(yaml.safe_dump(base))
    shutil.copytree(mesh / "out", mesh / "clean")
    path = mesh / "out/west/3-mesh/remote-secrets/east.yaml"
    secret = yaml.safe_load(path.read_text())
    config = base64.b64decode(secret["data"]["east"]).replace(
        b"https://203", b"https://me:hunter2pass@203"
    )
    secret["data"]["east"] = base64.b64encode(config).decode()
    path.write_text(yaml.safe_dump(secret))
    label = mesh / "out/west/1-trust/namespace.yaml"
    label.write_text(label.read_text().replace("network: west", f"network: {token}"))
    for output, *words in (
        ("text",),
        ("json",),
        ("markdown",),
        ("json", "clean", "out"),
        ("json", "out", "clean"),
    ):
        ran = run("diff", "-o", output, *words, cwd=mesh)
        assert ran.code == 1
        for hidden in (
            token,
            token[:20],
            "hunter2pass",
            "plain-looking",
            "1234",
            "regcred-of-mine",
        ):
            assert hidden not in ran.out + ran.err, (output, hidden)
        assert "API server" in ran.out
        assert ("OTHER" in ran.out) == (words == [])


def test_a_renamed_cluster_is_known_by_what_stays(built: Any, run: Run) -> None:
    """API server and CA, else the intermediate, else the context; where none stays it is another cluster."""
    mesh = built("cluster-renamed")
    by = {}
    lay(mesh, {"topology": {"contexts": {"west": {"server": "https://203.0.113.99:6443"}}}})
    by["context"] = run("diff", cwd=mesh).out
    shutil.rmtree(mesh / "certs/intermediate-west-2")
    shutil.copytree(CASES / "base/certs/intermediate-west", mesh / "certs/intermediate-west-2")
    by["intermediate"] = run("diff", cwd=mesh).out
    topology = yaml.safe_load((mesh / "topology.yaml").read_text())
    topology["contexts"]["other"] = {**topology["contexts"].pop("west"), "clusterName": "west-2"}
    (mesh / "topology.yaml").write_text(yaml.safe_dump(topology))
    lay(mesh, {"copy": {"certs/intermediate-west-2": "spare/a/intermediate-west-2"}})
    by["nothing"] = run("diff", cwd=mesh).out
    assert "cluster west: is renamed to west-2 (the same context)" in by["context"]
    assert "cluster west: is renamed to west-2 (the same intermediate)" in by["intermediate"]
    assert "cluster west-2: is added" in by["nothing"]
    assert "cluster west: leaves the mesh" in by["nothing"]


def test_what_a_render_would_make_has_no_fingerprint_yet(built: Any, run: Run) -> None:
    """An intermediate that is still to be made is said to be so, and two runs say the same."""
    mesh = built("cluster-added")
    shutil.rmtree(mesh / "certs/intermediate-south")
    shutil.rmtree(mesh / "certs/intermediate-east")
    told = run("diff", cwd=mesh).out
    assert told == run("diff", cwd=mesh).out
    assert "+ intermediate: made by the render" in told
    assert "intermediate of east: is a new one" in told
    for path in ("serial", "not after", "fingerprint"):
        assert re.search(rf"{path}: \S+ -> made by the render", told)
    assert not (mesh / "certs/intermediate-south").exists()


def test_the_first_render_of_a_mesh(built: Any, run: Run) -> None:
    """Every cluster is new, and none waits for another; two that join one mesh go before those that are there."""
    mesh = built("token-changed")
    (mesh / "out").rename(mesh / "there")
    ran = run("diff", cwd=mesh)
    assert ran.code == 1
    assert "3 new, 0 changed, 0 deleted, 0 foreign; 3 of 3 clusters change" in ran.out
    assert ran.out.endswith("Order\n  the clusters may apply this in any order\n")
    assert not (mesh / "out").exists()
    for name in ("east", "north"):
        shutil.rmtree(mesh / "there" / name)
        (mesh / f"there/west/3-mesh/remote-secrets/{name}.yaml").unlink()
    joined = json.loads(run("diff", "--out", "there", "-o", "json", cwd=mesh).out)
    assert joined["order"]["steps"] == [["east", "north"], ["west"]]


def test_clusters_that_wait_for_each_other() -> None:
    """A circle is said to be one; a line of three is put in order whatever the order of the rules."""
    found = [
        Constraint(frozenset("b"), frozenset("c"), "b c"),
        Constraint(frozenset("a"), frozenset("b"), "a b"),
    ]
    assert rank_clusters(frozenset("abc"), found) == {"a": 0, "b": 1, "c": 2}
    assert (
        rank_clusters(frozenset("abc"), [*found, Constraint(frozenset("c"), frozenset("a"), "c a")])
        is None
    )


def test_usage(built: Any, run: Run) -> None:
    """What does not go together, and what is no folder."""
    mesh = built("token-changed")
    for words, said in (
        (
            ("HEAD",),
            "error: diff: takes two folders or none, not 1\n  fix: name the old tree, then the new one; for a revision of git: --against REV\n",
        ),
        (("out", "nowhere"), "error: nowhere: is no folder"),
        (
            ("out", "out", "--against", "HEAD"),
            "error: diff: compares two folders, or one with a revision or a render, not both",
        ),
        (("--max-bytes", "2000"), "error: --max-bytes: is for -o markdown"),
        (("--max-bytes", "10", "-o", "markdown"), "error: Invalid value for '--max-bytes'"),
        (
            ("--cluster", "wset"),
            'error: --cluster: no cluster "wset" in the topology (did you mean "west"?)',
        ),
        (("--out", ""), "error: --out: names no folder"),
    ):
        ran = run("diff", *words, cwd=mesh)
        assert (ran.code, ran.out) == (2, ""), words
        assert ran.err.startswith(said), ran.err
    assert "its token changes" in run("diff", "--cluster", "east", cwd=mesh).out
    assert run("diff", "--cluster", "west", cwd=mesh).code == 0
    assert run("diff", "-C", "nowhere", cwd=mesh).code == 2


@pytest.mark.parametrize(
    "name", ["much", "roots-exchanged", "edited", "foreign", "formatting", "base-value"]
)
def test_markdown_stays_within_its_budget_and_whole(name: str, built: Any, run: Run) -> None:
    """Every block that is begun is ended, whatever is left out; what is left out is counted."""
    mesh = built(name)
    full = run("diff", "-o", "markdown", cwd=mesh).out
    total = len(re.findall(r"^- \*\*", full, re.MULTILINE))
    folded = full.count("<details>")
    assert "Left out" not in full
    for budget in (1024, 1500, 2000, 3000, 5000, 8000, 65536):
        cut = run("diff", "-o", "markdown", "--max-bytes", str(budget), cwd=mesh).out
        assert len(cut.encode()) <= budget
        assert cut.startswith(full[:40])
        for opening, closing in (
            ("<details>", "</details>"),
            ("<pre>", "</pre>"),
            ("<summary>", "</summary>"),
        ):
            assert cut.count(opening) == cut.count(closing)
        assert cut.endswith("\n")
        left = re.search(
            r"Left out to stay within \d+ bytes: (?:(\d+) lines?)?(?: and )?(?:details of (\d+) lines?)?\.",
            cut,
        )
        lost_lines, lost_details = (int(n or 0) for n in left.groups()) if left else (0, 0)
        assert len(re.findall(r"^- \*\*", cut, re.MULTILINE)) + lost_lines == total
        assert cut.count("<details>") + lost_details == folded


def test_markdown_takes_nothing_for_markup(built: Any, run: Run) -> None:
    """Values and names from files are text: no tag, mention, fence or heading comes of them."""
    mesh = built("base-value")
    path = mesh / "base.yaml"
    value = yaml.safe_load(path.read_text())
    value["spec"]["values"]["meshConfig"] = {
        "ingressClass": "</pre></details><img src=x> @team ```\n# heading\n\n| a |",
        "ingressService": "*b* [x](http://y)",
    }
    path.write_text(yaml.safe_dump(value))
    (mesh / "out/<b>@you`.txt").write_text("mine")
    told = run("diff", "-o", "markdown", cwd=mesh).out
    assert "<img" not in told
    assert "<b>" not in told
    assert "\n# heading" not in told
    assert "@you" not in re.sub(r"<pre>.*?</pre>", "", told, flags=re.DOTALL), (
        "in preformatted text nobody is mentioned"
    )
    assert told.count("<details>") == told.count("</details>")
    assert "&lt;/pre&gt;" in told


def test_every_rule_is_one_sentence_for_every_version() -> None:
    """No version without a sentence, none with two."""
    names = {rule.name for rule in RULES}
    for name in names:
        for minor in range(4, 34):
            for patch in (-1, 0, 1, 2, 3, 4, 9):
                for reads in ("running", "asked", "restarted", "never"):
                    found = [
                        rule
                        for rule in RULES
                        if rule.name == name and is_applicable(rule, (minor, patch), reads)
                    ]
                    assert len(found) == 1, (name, minor, patch, reads, found)
    for rule in RULES:
        assert rule.sentence[0].islower() or rule.sentence.startswith(
            ("Pilot", "Citadel", "1.25.1", "Istio", "{tool}")
        )
        assert not rule.sentence.endswith(".")


def test_every_rule_is_used_and_every_effect_has_one() -> None:
    """The names in the code are those of the table."""
    used = set()
    for path in (TOP / "kubectl_mesh/differences").glob("*.py"):
        if path.name != "rules.py":
            used |= set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', path.read_text()))
    names = {rule.name for rule in RULES} - {
        f"store-{s}" for s in ("plain", "sops", "sealed", "external")
    }
    pruned = {name for name in names if name.endswith("-pruned")}
    assert names - pruned <= used
    assert {name.removesuffix("-pruned") for name in pruned} <= names
    for path in (TOP / "kubectl_mesh/differences").glob("*.py"):
        for name in re.findall(r'effect\("([a-z-]+)"', path.read_text()):
            assert name in names, (path.name, name)
        for name in re.findall(r'removal_effect\("([a-z-]+)"', path.read_text()):
            assert {name, f"{name}-pruned"} <= names, (path.name, name)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.4", "Pilot takes no changed remote secret before it restarts"),
        ("1.5.0", "Pilot takes no changed remote secret before it restarts"),
        ("1.5.1", "its endpoints are gone for that while"),
        ("1.29.10", "its endpoints are gone for that while"),
        ("1.30", "may lose its endpoints"),
        ("1.30.0", "may lose its endpoints"),
        ("1.30.3", "may lose its endpoints"),
        ("1.30.4", "without a gap"),
        ("1.31.0", "without a gap"),
        (None, "may lose its endpoints"),
    ],
)
def test_a_changed_remote_secret_by_version(version: str | None, said: str) -> None:
    """Each range of versions begins and ends where it should."""
    (rule,) = [
        rule
        for rule in RULES
        if rule.name == "secret-changed" and is_applicable(rule, parse_version_pair(version))
    ]
    assert said in rule.sentence


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_any_two_trees_can_be_told_apart(case: str) -> None:
    """All targets, stores and deliveries, each against each: no exception, a valid report, no secret; nothing against itself."""
    validator = jsonschema.Draft202012Validator(assets.load_schema("output/diff.schema.json"))
    before = read_tree(str(rendered_tree(case)))
    assert not diff_trees(before, before, ("a", "b")).has_differences
    hidden = secrets(rendered_tree(case).parent)
    at = GOLDEN_CASES.index(case)
    # Each with five others: all targets, stores and deliveries come before and after one another.
    for other in [GOLDEN_CASES[(at + step) % len(GOLDEN_CASES)] for step in (1, 3, 7, 12, 19)]:
        after = read_tree(str(rendered_tree(other)))
        found = diff_trees(before, after, ("a", "b"))
        same = before == after
        assert found.has_differences != same or {
            n: {p: b for p, b in f.items() if p != "mesh.lock"} for n, f in before.items()
        } == {n: {p: b for p, b in f.items() if p != "mesh.lock"} for n, f in after.items()}, other
        report = diff_json(found)
        validator.validate(report)
        outputs = (
            json.dumps(report) + diff_text(found) + markdown_text(found, 65536) + repr(found)
        ).encode()
        for secret in hidden | secrets(rendered_tree(other).parent):
            assert secret not in outputs, (other, secret)


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_a_tree_that_somebody_broke_is_told_and_not_stumbled_over(case: str) -> None:
    """Each file in turn emptied, cut, replaced by other YAML, taken away, made no file: a line or a problem, never an exception."""
    before = read_tree(str(rendered_tree(case)))
    name = next(n for n in sorted(before) if n and not n.startswith("_"))
    for path, body in before[name].items():
        assert body is not None
        for broken in (
            b"",
            body[: len(body) // 2],
            b"kind: Secret\nmetadata: 1\ndata: [x]\nspec: {values: []}\n",
            None,
            ...,
        ):
            files = {p: b for p, b in before[name].items() if p != path or broken is not ...}
            if broken is not ...:
                files[path] = broken  # type: ignore[assignment]
            for one, other in (
                (before, {**before, name: files}),
                ({**before, name: files}, before),
            ):
                found = diff_trees(one, other, ("a", "b"))
                assert found.has_differences or found.problems or found.reformatted_files, (
                    path,
                    broken,
                )
                diff_json(found), diff_text(found), markdown_text(found, 2000)
