"""What must never be seen: no key, token or seal key in anything that is rendered or said, and none in a file that git tracks."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_mesh.credentials import leaks
from kubectl_mesh.text import single_line
from tests.conftest import CLUSTERS, Ages, Controller, Run, WorkDir
from tests.support.goldens import CASES, GOLDEN, rendered_tree
from tests.support.programs import git
from tests.support.sealed_trees import EXTERNAL, SAIL, forms, tree

Make = Callable[..., WorkDir]


@pytest.fixture
def tracked(sealed_mesh: WorkDir) -> WorkDir:
    """The three clusters, sealed by SOPS, all committed that git takes."""
    git(sealed_mesh, "init", "-q")
    git(sealed_mesh, "add", "-A")
    git(sealed_mesh, "commit", "-q", "-m", "a mesh")
    return sealed_mesh


def findings(mesh: WorkDir, run: Run, *words: str) -> dict[str, str]:
    """What `check` says of files that git tracks: by file what it holds."""
    ran = run("check", "-o", "json", *words, cwd=mesh)
    (check,) = [c for c in json.loads(ran.out)["checks"] if c["id"] == "git-tracked"]
    assert ran.code == 1 or not check["findings"]
    return {
        f["file"]: f["what"].removeprefix("is tracked by git, and holds ")
        for f in check["findings"]
    }


def test_a_committed_mesh_is_clean(tracked: WorkDir, run: Run) -> None:
    """Nothing is found in what a render gives git."""
    assert "out/context-east-1/1-trust/cacerts.yaml" in git(tracked, "ls-files").split()
    assert findings(tracked, run) == {}
    assert run("check", cwd=tracked).code == 0


def put(mesh: WorkDir, name: str, body: "str | bytes") -> None:
    """A file that git tracks, whatever .gitignore says."""
    mesh.write(name, body)
    git(mesh, "add", "-f", name)


KUBECONFIG = "apiVersion: v1\nkind: Config\nclusters: []\nusers:\n- name: u\n  user:\n    {login}\n"
JWT = ".".join(
    base64.urlsafe_b64encode(p).decode().rstrip("=")
    for p in (b'{"alg":"RS256"}', b'{"sub":"system:serviceaccount:a:b"}', b"s" * 64)
)


def test_what_git_tracks_is_found(tracked: WorkDir, run: Run) -> None:
    """Keys, identities, tokens and logins, in clear or in base64, wherever they are, though ignored; each file is named, and no secret shown."""
    mesh = tracked
    key = (mesh / "certs/intermediate-context-east-1/ca-key.pem").read_bytes()
    token = (mesh / "credentials/context-east-1.token").read_bytes()
    seal = (mesh / "certs/seal-key").read_bytes()
    encoded = base64.b64encode(key).decode()
    kubeconfig = KUBECONFIG.format(login=f"client-key-data: {encoded}")
    secret = "apiVersion: v1\nkind: Secret\ndata:\n  x: {}\n"
    private = "a private key"
    wanted = {
        "notes/key.txt": (b"here it is:\n" + key, private),
        "a b/\u00e4\n.txt": (key, private),
        "windows.pem": (key.replace(b"\n", b"\r\n"), private),
        "key.json": (json.dumps({"key": key.decode()}), private),
        "old/openssh": (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
            private,
        ),
        "old/secret.yaml": (secret.format(encoded), private),
        "old/string.yaml": (
            secret.replace("data:", "stringData:").format(
                "|\n    " + key.decode().replace("\n", "\n    ")
            ),
            private,
        ),
        "out/context-east-1/3-mesh/remote-secrets/old.yaml": (
            secret.format(base64.b64encode(kubeconfig.encode()).decode()),
            f"the login of a kubeconfig and {private}",
        ),
        "old/kubeconfig": (
            KUBECONFIG.format(login="token: some-token-of-old"),
            "the login of a kubeconfig",
        ),
        "old/password": (KUBECONFIG.format(login='password: "pw"'), "the login of a kubeconfig"),
        "old/json": (
            json.dumps(
                {
                    "kind": "Config",
                    "clusters": [],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                },
                indent=2,
            ),
            "the login of a kubeconfig",
        ),
        "old/jwt": (f"export TOKEN={JWT}\n", "the token of a service account"),
        "old/jwt.yaml": (
            secret.format(base64.b64encode(JWT.encode()).decode()),
            "the token of a service account",
        ),
        "id": (str(Ages(mesh.path).identities["new"]) + "\n", "an age identity"),
        "copy.txt": (b"token: " + token + b"\n", "what is in credentials/context-east-1.token"),
        "copy.yaml": (
            secret.format(base64.b64encode(token).decode()),
            "what is in credentials/context-east-1.token",
        ),
        "copy.seal": (seal, "what is in certs/seal-key"),
    }
    for name, (body, _) in wanted.items():
        put(mesh, name, body)
    for name in ("certs/seal-key", "credentials/context-west-1.token", "certs/root-key.pem"):
        git(mesh, "add", "-f", name)
    found = findings(mesh, run)
    assert found == {single_line(name): what for name, (_, what) in wanted.items()} | {
        "certs/seal-key": "what is in certs/seal-key",
        "credentials/context-west-1.token": "what is in credentials/context-west-1.token",
        "certs/root-key.pem": private,
    }
    ran = run("check", cwd=mesh)
    assert ran.code == 1
    assert (
        "  × git-tracked: notes/key.txt: is tracked by git, and holds a private key\n      fix: take it for known to all who have the repository"
        in ran.out
    )
    assert "then `git rm --cached -- notes/key.txt`\n" in ran.out
    for text in (key.splitlines()[1], token, seal.strip(), JWT.encode(), b"AGE-SECRET"):
        assert text not in (ran.out + ran.err).encode()


def test_what_is_no_secret_is_not_told(tracked: WorkDir, run: Run) -> None:
    """Certificates, texts about keys, encrypted keys, logins that are none; and what git does not track."""
    mesh = tracked
    encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFLTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG\n-----END ENCRYPTED PRIVATE KEY-----\n"
    harmless = {
        "root.yaml": "kind: Secret\ndata:\n  ca: "
        + base64.b64encode((mesh / "certs/root-cert.pem").read_bytes()).decode(),
        "README.md": "A file that begins with `-----BEGIN PRIVATE KEY-----` is private; identities begin with AGE-SECRET-KEY-1.\n",
        "encrypted.pem": encrypted,
        "exec": KUBECONFIG.format(login="exec: {command: aws}"),
        "redacted": KUBECONFIG.format(login="client-key-data: DATA+OMITTED"),
        "sops": KUBECONFIG.format(
            login='token: "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]"'
        ),
        "template": KUBECONFIG.format(login="token: {{ .token | toJson }}"),
        "jwt": ".".join(
            base64.urlsafe_b64encode(p).decode().rstrip("=")
            for p in (b'{"alg":"none"}', b'{"sub":"1234567890"}', b"s" * 32)
        ),
        "link": "",
    }
    for name, body in harmless.items():
        put(mesh, name, body)
    (mesh / "link").unlink()
    os.symlink("certs/root-key.pem", mesh / "link")
    git(mesh, "add", "link")
    mesh.write("untracked.pem", (mesh / "certs/root-key.pem").read_bytes())
    assert findings(mesh, run) == {}


def test_only_below_the_working_directory(workdir: Make, run: Run, ages: Ages) -> None:
    """A repository may hold other things; and a tree elsewhere, in a repository of its own, is looked at too."""
    over = ages.over()
    top = WorkDir(workdir("example", over=over).path.parent / "repo")
    top.path.mkdir()
    git(top, "init", "-q")
    mesh = WorkDir(top / "mesh")
    shutil.copytree(top.path.parent / "example", mesh.path)
    assert run("render", cwd=mesh).code == 0
    key = (mesh / "certs/root-key.pem").read_bytes()
    put(top, "elsewhere.pem", key)
    assert findings(mesh, run) == {}
    put(mesh, "here.pem", key)
    assert findings(mesh, run) == {"here.pem": "a private key"}
    assert findings(top, run, "-C", "mesh") == {"mesh/here.pem": "a private key"}
    other = WorkDir(top.path.parent / "other")
    other.path.mkdir()
    git(other, "init", "-q")
    assert run("render", "--out", other / "tree", cwd=mesh).code == 0
    put(other, "tree/x.pem", key)
    put(other, "beside.pem", key)
    assert findings(mesh, run, "--out", str(other / "tree")) == {
        "here.pem": "a private key",
        f"{other}/tree/x.pem": "a private key",
    }


def test_a_tree_of_the_store_plain_may_hold_them(workdir: Make, run: Run) -> None:
    """Where the topology says so in so many words; but only the tree."""
    mesh = workdir(over={"secrets": {"store": "plain"}}, tokens=True)
    git(mesh, "init", "-q")
    assert run("render", cwd=mesh).code == 0
    git(mesh, "add", "-A")
    assert findings(mesh, run) == {}
    shutil.copytree(mesh / "out", mesh / "old")
    git(mesh, "add", "-A")
    assert len(findings(mesh, run)) == 9
    shutil.rmtree(mesh / "old")
    mesh.write("base.yaml", SAIL)
    mesh.topology(EXTERNAL)
    found = findings(mesh, run)
    assert set(found) == {
        p.relative_to(mesh.path).as_posix()
        for p in (mesh / "out").rglob("*.yaml")
        if p.name == "cacerts.yaml" or "remote-secrets" in p.parts
    }
    assert run("render", cwd=mesh).code == 0
    assert findings(mesh, run) == {}


def test_where_git_does_not_answer(tracked: WorkDir, run: Run, tmp_path: Path) -> None:
    """No git, or one that refuses: that is told, for nobody knows then."""
    checked = json.loads(
        run("check", "-o", "json", cwd=tracked, env={"PATH": str(tmp_path / "none")}).out
    )
    (check,) = [c for c in checked["checks"] if c["id"] == "git-tracked"]
    assert [f["what"] for f in check["findings"]] == [
        "lies in a git work tree, and git does not tell what it tracks there"
    ]
    (tracked / ".git" / "index").write_bytes(b"nonsense")
    assert findings(tracked, run) == {
        ".": "lies in a git work tree, and git does not tell what it tracks there"
    }


def test_git_runs_nothing_of_the_repository(tracked: WorkDir, run: Run) -> None:
    """Its configuration may name programs: none is started."""
    started = tracked / "started"
    script = tracked.write("program.sh", f"#!/bin/sh\ntouch {started}\ncat\n", 0o755)
    for name in (
        "core.fsmonitor",
        "core.pager",
        "pager.grep",
        "diff.x.textconv",
        "filter.x.clean",
        "filter.x.smudge",
        "filter.x.process",
        "diff.external",
    ):
        git(tracked, "config", name, str(script))
    git(tracked, "config", "grep.fallbackToNoIndex", "true")
    git(tracked, "config", "grep.fullName", "true")
    git(tracked, "config", "color.ui", "always")
    tracked.write(".gitattributes", "* diff=x filter=x\n")
    tracked.write("k.pem", (tracked / "certs/root-key.pem").read_bytes())
    git(tracked, "-c", "filter.x.clean=", "-c", "filter.x.process=", "add", "-f", "k.pem")
    started.unlink(missing_ok=True)
    assert findings(tracked, run)["k.pem"] == "a private key"
    assert not started.exists()


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0, 2))
def test_a_key_is_found_wherever_it_stands(before: bytes, after: bytes, times: int) -> None:
    """In clear, in base64, in base64 of that: as a value of its own, whatever is around it."""
    body = b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"
    for _ in range(times):
        body = base64.b64encode(body)
    assert "a private key" in leaks.find_secrets(before + b"\n" + body + b"\n" + after, {})
    assert times == 2 or any(sign in body for sign in leaks.SECRET_MARKERS)


def needles(paths: Iterable[Path]) -> list[bytes]:
    """What to look for: every line of every private file, in clear, in hex and in base64, and the same of the base64 of it all."""
    found = [
        form
        for path in paths
        for form in (*forms(path.read_bytes()), *forms(base64.b64encode(path.read_bytes())))
    ]
    assert all(len(form) > 15 for form in found)
    return found


COMBINED = [
    ("sops", "local"),
    ("sealed", "local"),
    ("external", "local"),
    ("sops", "csr"),
    ("sealed", "csr"),
    ("external", "csr"),
    ("sops", "cert-manager"),
    ("sealed", "cert-manager"),
    ("external", "cert-manager"),
    ("sops", "istio-csr"),
    ("sealed", "istio-csr"),
    ("external", "istio-csr"),
]


@pytest.mark.parametrize(("store", "issuer"), COMBINED)
def test_no_secret_is_anywhere(
    workdir: Make, run: Run, ages: Ages, store: str, issuer: str
) -> None:
    """Keys, tokens and the seal key, in any form, over the tree, the locks, stdout and stderr of every verb, whether it can or refuses."""
    over: dict[str, Any] = {
        "sops": ages.over(),
        "sealed": {"secrets": {"store": "sealed"}},
        "external": EXTERNAL,
    }[store]
    certificates: dict[str, Any] = {"issuer": issuer} | (
        {"issuerRef": {"name": "mesh-ca"}} if issuer in ("cert-manager", "istio-csr") else {}
    )
    mesh = workdir(over={**over, "certificates": certificates})
    mesh.write("base.yaml", SAIL)
    for name in CLUSTERS:
        claims = (
            base64.urlsafe_b64encode(
                json.dumps({"made": hashlib.sha512(name.encode()).hexdigest()}).encode()
            )
            .decode()
            .rstrip("=")
        )
        mesh.token(name, f"eyJhbGciOiJub25lIn0.{claims}.c2ln")
        if store == "sealed":
            mesh.write(f"clusters/{name}.sealing.crt", Controller().certificate)
    said = b""

    def call(*words: "str | Path", where: WorkDir = mesh) -> int:
        nonlocal said
        ran = run(*words, cwd=where)
        assert "fault of its own" not in ran.err
        said += ran.out.encode() + ran.err.encode()
        return ran.code

    if issuer == "csr":
        root = workdir("root")
        (root / "topology.yaml").unlink()
        assert call("init", "--mesh-id", "the-root", where=root) == 0
        assert call("certs", "csr") == 0
        assert (
            call(
                "certs",
                "sign",
                "-C",
                root.path,
                "--to",
                root / "signed",
                *sorted((mesh / "certs").glob("intermediate-*/ca.csr")),
            )
            == 0
        )
        for name in CLUSTERS:
            assert (
                call(
                    "certs",
                    "import",
                    "--root",
                    root / "certs" / "root-cert.pem",
                    name,
                    root / "signed" / f"{name}.pem",
                )
                == 0
            )
    assert call("render", "--strict") == 0
    private = [
        *(mesh / "certs").rglob("*key.pem"),
        *(mesh / "certs").glob("seal-key"),
        *(mesh / "credentials").iterdir(),
    ]
    assert len(private) == {"local": 4, "csr": 3}.get(issuer, 0) + (store != "external") + 3
    everything = b"\n".join(tree(mesh).values())
    for words in (
        ("render", "-o", "json"),
        ("describe",),
        ("check",),
        ("check", "-o", "json"),
        ("render", "--check"),
        ("render", "--dry-run"),
        ("teardown",),
    ):
        call(*words)
    if store == "external":
        call("certs", "export")
        assert call("certs", "export", "--to", mesh / "exported") == 0
        shutil.rmtree(mesh / "exported", ignore_errors=True)
    identity = mesh.write(
        "identity",
        Controller().pem() if store == "sealed" else ages.files["admin"].read_bytes(),
        0o600,
    )
    call("verify", "--identity", identity)
    call("certs", "csr")
    looked_for = needles([*private, identity, *ages.files.values()])
    if store != "external":
        call("render", "--reseal")
        looked_for += needles((mesh / "certs").glob("seal-key"))
    # What refuses must not show either: files that do not fit, and what lacks.
    for path in private:
        body = path.read_bytes()
        path.write_bytes(body[:-9] + b"!" + body[-8:])
        call("render")
        call("check")
        path.write_bytes(body)
    for path in private:
        path.unlink()
    call("render")
    mesh.topology({"contexts": {"context-west-1": {"server": "https://198.51.100.77:6443"}}})
    call("render")
    call("check")
    everything += b"\n".join(tree(mesh).values()) + said
    assert [form for form in looked_for if form in everything] == []


def test_the_search_would_find_them(workdir: Make, run: Run) -> None:
    """In `plain` all keys and tokens stand in the tree, but the root's key."""
    mesh = workdir(over={"secrets": {"store": "plain"}}, tokens=True)
    for name in CLUSTERS:
        mesh.token(name, f"token-of-{name}-which-is-long-enough-to-be-looked-for")
    assert run("render", cwd=mesh).code == 0
    everything = b"\n".join(tree(mesh).values())
    private = [*(mesh / "certs").rglob("*key.pem"), *(mesh / "credentials").iterdir()]
    assert [p.name for p in private if not any(n in everything for n in needles([p]))] == [
        "root-key.pem"
    ]


SECRETIVE = [
    case
    for case in CASES
    if "store: plain" not in (text := (GOLDEN / case / "in/topology.yaml").read_text())
    and "store: " in text
]


@pytest.mark.parametrize("case", SECRETIVE)
def test_no_secret_is_in_a_golden_tree(case: str) -> None:
    """Nor in what is pinned of it, in the report or in the description."""
    private = [
        p
        for p in (GOLDEN / case / "in").rglob("*")
        if p.is_file() and (p.name.endswith(("key", "key.pem", ".token")))
    ]
    everything = b"\n".join(
        p.read_bytes()
        for p in [
            *rendered_tree(case).rglob("*"),
            *(GOLDEN / case / "tree").rglob("*"),
            *(GOLDEN / case).glob("*.txt"),
        ]
        if p.is_file()
    )
    assert [n for n in needles(private) if n in everything] == []
    assert private or case in ("cert-manager", "istio-csr")


def test_there_are_secretive_cases() -> None:
    """Each store but plain, and each issuer whose tree has no key."""
    assert {
        "sops",
        "sops-argocd",
        "sops-flux",
        "sealed",
        "external",
        "cert-manager",
        "istio-csr",
    } <= set(SECRETIVE)


@pytest.mark.parametrize("kind", ["fifo", "large"])
def test_a_gitignore_that_is_not_a_small_file(kind: str, workdir: Make, run: Run) -> None:
    """git would wait for a pipe and read gigabytes: refused before git is asked."""
    mesh = workdir(tokens=True)
    subprocess.run(["git", "init", "-q", mesh.path], check=True)
    if kind == "fifo":
        os.mkfifo(mesh / ".gitignore")
    else:
        with (mesh / ".gitignore").open("wb") as file:
            file.truncate(3 * 2**30)
    what = {"fifo": "is no regular file", "large": "is larger than 1 MiB"}[kind]
    for words in (("render",), ("render", "--dry-run"), ("check",)):
        ran = run(*words, cwd=mesh)
        assert what in ran.out + ran.err, (words, ran.out, ran.err)
        assert ran.code in (1, 2)


def test_a_private_file_of_certs_is_not_a_token(workdir: Make, run: Run) -> None:
    """The seed of sealed files looks like a token; it must not get into a tree, by its name or behind a link."""
    mesh = workdir(tokens=True)
    mesh.write("certs/seal-key", "ab" * 32 + "\n", 0o600)
    mesh.topology({"contexts": {"context-west-1": {"credential": {"tokenFile": "certs/seal-key"}}}})
    before = mesh.snapshot()
    ran = run("render", cwd=mesh)
    assert (ran.code, "not a token" in ran.err, "ab" * 32 in ran.err) == (2, True, False)
    mesh.topology({"contexts": {"context-west-1": {"credential": None}}})
    (mesh / "credentials/context-west-1.token").unlink()
    (mesh / "credentials/context-west-1.token").symlink_to("../certs/seal-key")
    ran = run("render", cwd=mesh)
    assert (ran.code, "not a token" in ran.err, "ab" * 32 in ran.err) == (2, True, False)
    assert not [name for name in mesh.snapshot() if name.startswith("out/")]
    assert before
