"""`kubectl mesh describe` as a table, and how many remote secrets are declared, rendered and committed."""

import base64
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kubectl_mesh.cli import clock as shell
from tests.conftest import TOP, Run, WorkDir
from tests.support import broken

Make = Callable[..., WorkDir]


def valid(name: str, text: str) -> dict[str, Any]:
    """A report as JSON, once it fits its schema."""
    value: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator(
        json.loads((TOP / f"schemas/output/{name}.schema.json").read_text())
    ).validate(value)
    return value


@pytest.fixture
def mesh(tmp_path: Path, run: Run) -> WorkDir:
    """Three clusters, rendered."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    broken.make(made, names=("a", "b", "c"))
    made.topology({"secrets": {"store": "plain"}})
    assert run("render", cwd=made).code == 0
    return made


def counts(run: Run, mesh: WorkDir) -> list[tuple[int, int, int | None]]:
    """Of each cluster."""
    value = json.loads(run("describe", "-o", "json", cwd=mesh).out)
    return [
        (c["counts"]["declared"], c["counts"]["rendered"], c["counts"]["committed"])
        for c in value["clusters"]
    ]


def git(mesh: WorkDir, *words: str) -> None:
    """A command of git."""
    subprocess.run(
        ["git", "-C", mesh, "-c", "user.name=t", "-c", "user.email=t@example.com", *words],
        check=True,
        capture_output=True,
    )


def test_table(mesh: WorkDir, run: Run) -> None:
    """A line for each cluster: network, version, days left, counts, gateways, state."""
    ran = run("describe", "-o", "table", cwd=mesh)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "CLUSTER  NETWORK  ISTIO   CERT  SECRETS  GATEWAYS  TREE",
        "a        net-0    1.31.3  729d  2/2/-    by label  up to date",
        "b        net-0    1.31.3  729d  2/2/-    by label  up to date",
        "c        net-1    1.31.3  729d  2/2/-    by label  up to date",
        "",
        "root O=acme, CN=Root CA: 3649 days left",
        "3 clusters, 2 networks, 0 things pending",
        "SECRETS: remote secrets declared/rendered/committed; CERT: days left",
    ]
    one = run("describe", "-o", "table", "--cluster", "b", cwd=mesh).out.splitlines()
    assert [line.split()[0] for line in one[:2]] == ["CLUSTER", "b"]
    assert one[2] == ""
    assert "1 of 3 clusters, 1 of 2 networks, 0 things pending" in one
    assert run("describe", "--cluster", "b", "--cluster", "c", cwd=mesh).out.startswith(
        "mesh acme: 2 of 3 clusters, 2 networks, "
    )


def test_counts(mesh: WorkDir, run: Run) -> None:
    """Declared by the topology, rendered in the tree, committed in HEAD."""
    assert counts(run, mesh) == [(2, 2, None)] * 3
    git(mesh, "init", "-q")
    assert counts(run, mesh) == [(2, 2, None)] * 3
    (mesh / "out/a/3-mesh/remote-secrets/b.yaml").unlink()
    git(mesh, "add", "-A")
    git(mesh, "commit", "-qm", "one")
    assert counts(run, mesh) == [(2, 1, 1), (2, 2, 2), (2, 2, 2)]
    assert run("render", cwd=mesh).code == 0
    mesh.topology({"contexts": {"c": {"peers": ["a"]}}})
    assert counts(run, mesh) == [(2, 2, 1), (2, 2, 2), (1, 2, 2)]
    # A tree that is elsewhere, and not there yet.
    value = json.loads(run("describe", "-o", "json", "--out", "elsewhere", cwd=mesh).out)
    assert [c["counts"]["committed"] for c in value["clusters"]] == [0, 0, 0]


def test_counts_of_a_bundle(mesh: WorkDir, run: Run) -> None:
    """One secret for each of the others, wherever they stand."""
    mesh.topology({"remoteSecrets": "bundle"})
    assert run("render", cwd=mesh).code == 0
    assert counts(run, mesh) == [(2, 2, None)] * 3


def test_a_table_fits_eighty_columns(tmp_path: Path, run: Run) -> None:
    """Long names lose their middle, and nothing else."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    names = tuple(
        f"cluster-with-a-very-long-name-that-is-of-the-{n}-region" for n in ("first", "second")
    )
    broken.make(made, names=names)
    made.topology({"contexts": {n: {"network": f"network-of-{n[:40].strip('-')}"} for n in names}})
    lines = run("describe", "-o", "table", cwd=made).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.count("…") == 2 for line in lines[1:3])
    assert lines[1].endswith("not rendered")


# What can be known where something is broken

BROKEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "a typo in base.yaml": (
        "base.yaml",
        lambda text: text.replace("accessLogFile", "accesLogFile"),
    ),
    "a base.yaml of no kind": (
        "base.yaml",
        lambda text: text.replace("kind: Istio", "kind: Istioo"),
    ),
    "a base.yaml that is not YAML": ("base.yaml", lambda _: "a: [\n"),
    "a kubeconfig that is not YAML": ("kubeconfig.yaml", lambda _: "a: [\n"),
    "a kubeconfig that is none": ("kubeconfig.yaml", lambda _: "contexts: text\n"),
    "an intermediate that is none": ("certs/intermediate-b/ca-cert.pem", lambda _: "nonsense\n"),
    "a chain that is none": ("certs/intermediate-b/cert-chain.pem", lambda _: "nonsense\n"),
    "a key that is none": ("certs/intermediate-b/ca-key.pem", lambda _: "nonsense\n"),
    "a root that is none": ("certs/root-cert.pem", lambda _: "nonsense\n"),
    "a rotation that is none": ("certs/rotation.json", lambda _: "{}\n"),
    "a CA of an API server that is none": ("clusters/b.crt", lambda _: "nonsense\n"),
    "a token that is none": ("credentials/b.token", lambda _: "two words\n"),
    "a context with a typo": (
        "topology.yaml",
        lambda text: text.replace("  b:\n    network:", "  b:\n    netwrok:"),
    ),
    "a context that stands twice": (
        "topology.yaml",
        lambda text: text.replace("  b:\n", "  b: {network: n}\n  b:\n"),
    ),
    "a lock of another cluster": (
        "out/b/mesh.lock",
        lambda text: text.replace('"cluster": "b"', '"cluster": "x"'),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_describe_survives(case: str, mesh: WorkDir, run: Run) -> None:
    """One file is broken: it is named, the exit code is 1, and what can be known is shown, in every format."""
    name, change = BROKEN[case]
    kind = (
        "control plane not known"
        if case in ("a base.yaml of no kind", "a base.yaml that is not YAML")
        else "Istio"
    )
    text = (mesh / name).read_text() if (mesh / name).exists() else ""
    mesh.write(name, change(text), 0o600)
    assert change(text) != text
    left = ["a", "c"] if name == "topology.yaml" else ["a", "b", "c"]
    ran = run("describe", cwd=mesh)
    assert ran.code == 1, ran.err
    assert name in ran.err
    first, second = ran.out.splitlines()[:2]
    assert first.startswith("not complete: ")
    assert second == f"mesh acme: {len(left)} clusters, 2 networks, {kind}"
    assert [line for line in ran.out.splitlines() if line in ("a", "b", "c")] == left
    ran = run("describe", "-o", "json", cwd=mesh)
    assert ran.code == 1
    value = valid("describe", ran.out)
    assert value["problems"]
    by_name = {c["name"]: c for c in value["clusters"]}
    assert list(by_name) == left
    assert by_name["a"]["counts"]["rendered"] == 2
    if name.startswith("out/"):
        assert {n: c["tree"] for n, c in by_name.items()} == {
            "a": "up to date",
            "b": "not compared",
            "c": "up to date",
        }
    else:
        assert {c["tree"] for c in by_name.values()} == {"not compared"}
    secret = next(
        s
        for s in by_name["a" if not name.startswith("out/") else "b"]["remoteSecrets"]
        if s["cluster"] == "c"
    )
    assert (secret["state"], secret["treeServer"]) == ("not compared", "https://192.0.2.3:6443")
    wrong = {"certs/intermediate-b/ca-cert.pem": ["b"], "certs/root-cert.pem": ["a", "b", "c"]}.get(
        name, []
    )
    if name.startswith("certs/intermediate-b"):
        wrong = ["b"]
    assert [n for n, c in by_name.items() if c["certificate"] is None] == wrong
    ran = run("describe", "-o", "table", cwd=mesh)
    assert ran.code == 1
    assert [line.split()[0] for line in ran.out.splitlines()[2 : 2 + len(left)]] == left


def test_describe_of_a_damaged_lock(mesh: WorkDir, run: Run) -> None:
    """A lock that cannot be read is repaired by a render; nothing is unknown."""
    mesh.write("out/b/mesh.lock", "{")
    ran = run("describe", cwd=mesh)
    assert ran.code == 0
    assert "  tree         out/b: out of date" in ran.out


def test_describe_of_an_expired_root(
    mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has expired is shown with its dates."""
    now = datetime.now(UTC) + timedelta(days=4000)
    monkeypatch.setattr(shell, "read_clock", lambda: now)
    ran = run("describe", cwd=mesh)
    assert ran.code == 1
    assert "certs/root-cert.pem: " in ran.err
    assert "not after" in ran.out
    assert "(-3" in ran.out


def test_describe_of_a_topology_that_is_wrong_as_a_whole(mesh: WorkDir, run: Run) -> None:
    """Nothing can be known: every problem, exit code 2."""
    mesh.topology({"istio": {"versoin": "1"}, "contexts": {"b": {"netwrok": "x"}}})
    ran = run("describe", cwd=mesh)
    assert (ran.code, ran.out) == (2, "")
    assert "istio.versoin" in ran.err
    assert "contexts.b.netwrok" in ran.err


# The old tool's states


def secret_of(
    run: Run, mesh: WorkDir, code: int = 0
) -> tuple[str, str | None, str | None, str | None]:
    """What `describe` says of the remote secret for b in a: state, detail, server of the inputs, server on disk. Text and table agree."""
    ran = run("describe", "-o", "json", cwd=mesh)
    assert ran.code == code, ran.err
    value = valid("describe", ran.out)
    (found,) = [s for s in value["clusters"][0]["remoteSecrets"] if s["cluster"] == "b"]
    (line,) = [
        line
        for line in run("describe", "--cluster", "a", cwd=mesh).out.splitlines()
        if line.startswith("    b ")
    ]
    told = f"{found['state']}: {found['detail']}" if found["detail"] else found["state"]
    assert line.split("  ")[-1].startswith(told)
    table = run("describe", "-o", "table", cwd=mesh).out
    assert (f" {found['state']}: b in a" in table) == (found["state"] not in ("ok", "not rendered"))
    return found["state"], found["detail"], found["server"], found["treeServer"]


def kubeconfig_of(mesh: WorkDir) -> tuple[dict[str, Any], dict[str, Any]]:
    """The remote secret for b in a, and the kubeconfig in it."""
    secret = yaml.safe_load((mesh / FILE).read_text())
    return secret, yaml.safe_load(base64.b64decode(secret["data"]["b"]))


def write_back(
    mesh: WorkDir, secret: dict[str, Any], config: dict[str, Any] | None = None, key: str = "b"
) -> None:
    """Writes it as a person would have edited it."""
    body = (
        secret["data"]["b"]
        if config is None
        else base64.b64encode(yaml.safe_dump(config).encode()).decode()
    )
    mesh.write(FILE, yaml.safe_dump({**secret, "data": {key: body}}), 0o600)


FILE = "out/a/3-mesh/remote-secrets/b.yaml"
B, OTHER = "https://192.0.2.2:6443", "https://192.0.2.99:6443"


def test_the_states_of_a_remote_secret(mesh: WorkDir, run: Run) -> None:
    """ok, wrong server (which), wrong CA, other token, wrong data key, unreadable, no server, out of date, not found."""
    assert secret_of(run, mesh) == ("ok", None, B, B)
    secret, config = kubeconfig_of(mesh)
    config["clusters"][0]["cluster"]["server"] = OTHER
    write_back(mesh, secret, config)
    assert secret_of(run, mesh) == ("wrong server", f"{OTHER} ({B} in the inputs)", B, OTHER)
    assert (
        f"    b  wrong server: {OTHER} ({B} in the inputs)"
        in run("describe", cwd=mesh).out.splitlines()
    )
    _, config = secret, yaml.safe_load(base64.b64decode(secret["data"]["b"]))
    config["clusters"][0]["cluster"]["tls-server-name"] = "api.example"
    write_back(mesh, secret, config)
    assert secret_of(run, mesh) == (
        "wrong server name",
        "tls-server-name api.example (none in the inputs)",
        B,
        B,
    )
    config = yaml.safe_load(base64.b64decode(secret["data"]["b"]))
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(
        (mesh / "clusters/c.crt").read_bytes() + b"\n"
    ).decode()
    write_back(mesh, secret, config)
    assert secret_of(run, mesh) == ("wrong CA", "another CA than the one in the inputs", B, B)
    config = yaml.safe_load(base64.b64decode(secret["data"]["b"]))
    config["users"][0]["user"] = {"token": "another"}
    write_back(mesh, secret, config)
    assert secret_of(run, mesh) == ("other token", "another than the one in the inputs", B, B)
    config["users"][0]["user"] = {"exec": {"command": "x"}}
    write_back(mesh, secret, config)
    assert secret_of(run, mesh)[0] in ("other login", "out of date")
    config = yaml.safe_load(base64.b64decode(secret["data"]["b"]))
    del config["clusters"][0]["cluster"]["server"]
    write_back(mesh, secret, config)
    assert secret_of(run, mesh) == ("no server", "the kubeconfig in it has no server", B, None)
    write_back(mesh, secret, key="x")
    assert secret_of(run, mesh) == ("wrong data key", "x, not b", B, None)
    mesh.write(FILE, "data: [", 0o600)
    assert secret_of(run, mesh) == ("unreadable", "is not YAML (line 2)", B, None)
    mesh.write(FILE, "{}", 0o600)
    assert secret_of(run, mesh) == ("unreadable", "does not contain a kubeconfig", B, None)
    write_back(mesh, {**secret, "data": {"b": "%"}})
    assert secret_of(run, mesh) == ("unreadable", "is not base64", B, None)
    write_back(
        mesh,
        {
            **secret,
            "metadata": {
                **secret["metadata"],
                "labels": {"istio/multiCluster": "true", "mine": "x"},
            },
        },
    )
    assert secret_of(run, mesh) == ("out of date", None, B, B)
    (mesh / FILE).unlink()
    assert secret_of(run, mesh) == ("not found", None, B, None)
    assert run("render", cwd=mesh).code == 0
    assert secret_of(run, mesh) == ("ok", None, B, B)
    assert "another" not in run("describe", cwd=mesh).out


def test_states_where_the_inputs_change(mesh: WorkDir, run: Run) -> None:
    """Another server or token in the inputs: the state says what is on disk. A broken base.yaml does not hide it."""
    mesh.topology({"contexts": {"b": {"server": OTHER}}})
    assert secret_of(run, mesh) == ("wrong server", f"{B} ({OTHER} in the inputs)", OTHER, B)
    mesh.write(
        "base.yaml", (mesh / "base.yaml").read_text().replace("accessLogFile", "accesLogFile")
    )
    assert secret_of(run, mesh, 1) == ("wrong server", f"{B} ({OTHER} in the inputs)", OTHER, B)
    mesh.topology({"contexts": {"b": {"server": B}}})
    assert secret_of(run, mesh, 1) == ("not compared", None, B, B)
    mesh.token("b", "another-token")
    assert secret_of(run, mesh, 1)[0] == "other token"
    (mesh / FILE).unlink()
    assert secret_of(run, mesh, 1)[0] == "not found"


def token(ends: datetime) -> str:
    """A token that says when it ends."""
    subject = "system:serviceaccount:istio-system:istio-reader-service-account"
    return f"e30.{base64.urlsafe_b64encode(json.dumps({'sub': subject, 'exp': int(ends.timestamp())}).encode()).decode().rstrip('=')}.x"


def test_states_of_expired_tokens(mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that has ended is not ok, on disk as in the inputs; nor is one on disk where the inputs have another."""
    secret, config = kubeconfig_of(mesh)
    config["users"][0]["user"] = {"token": token(datetime(2023, 11, 14, tzinfo=UTC))}
    write_back(mesh, secret, config)
    assert secret_of(run, mesh) == ("expired token", "since 2023-11-14", B, B)
    now = datetime.now(UTC)
    mesh.token("b", token(now + timedelta(days=60)))
    assert run("render", cwd=mesh).code == 0
    assert secret_of(run, mesh) == ("ok", None, B, B)
    monkeypatch.setattr(shell, "read_clock", lambda: now + timedelta(days=61))
    assert secret_of(run, mesh) == ("expired token", None, B, B)


def test_states_in_a_bundle(mesh: WorkDir, run: Run) -> None:
    """The bundle is read once, and every cluster that holds it says the same."""
    mesh.topology({"remoteSecrets": "bundle"})
    assert run("render", cwd=mesh).code == 0
    mesh.topology({"contexts": {"b": {"server": OTHER}}})
    value = valid("describe", run("describe", "-o", "json", cwd=mesh).out)
    assert [
        (s["state"], s["treeServer"])
        for c in value["clusters"]
        for s in c["remoteSecrets"]
        if s["cluster"] == "b"
    ] == [("wrong server", B)] * 2
    assert "2 remote secrets wrong server: b in a: " in run("describe", "-o", "table", cwd=mesh).out


def test_states_of_what_is_sealed(sealed_mesh: WorkDir, run: Run) -> None:
    """Of a file that SOPS encrypted the lock says the server."""
    sealed_mesh.topology(
        {"contexts": {"context-east-2": {"server": OTHER, "certificateAuthority": "ca.crt"}}}
    )
    entry = yaml.safe_load((sealed_mesh / "kubeconfig.yaml").read_text())["clusters"][1]["cluster"]
    sealed_mesh.write("ca.crt", base64.b64decode(entry["certificate-authority-data"]))
    value = valid("describe", run("describe", "-o", "json", cwd=sealed_mesh).out)
    found = next(
        s for s in value["clusters"][0]["remoteSecrets"] if s["cluster"] == "context-east-2"
    )
    assert (found["state"], found["treeServer"]) == ("wrong server", entry["server"])


def block(text: str, name: str) -> list[str]:
    """The lines of a cluster in the text."""
    (found,) = [part.splitlines() for part in text.split("\n\n") if part.startswith(f"{name}\n")]
    return found


@pytest.mark.parametrize("bundled", [False, True])
def test_many_remote_secrets_are_counted(tmp_path: Path, run: Run, *, bundled: bool) -> None:
    """60 clusters: a screen for each at most. What is not ok comes first, with three names; the JSON has all."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    names = tuple(f"c{n:02}" for n in range(60))
    broken.make(made, names=names)
    made.topology(
        {"secrets": {"store": "plain"}, **({"remoteSecrets": "bundle"} if bundled else {})}
    )
    assert run("render", cwd=made).code == 0
    assert block(run("describe", cwd=made).out, "c00")[-1] == "  remote secrets  59: 59 ok"
    for name in names[10:15]:
        (made / f"credentials/{name}.token").unlink()
    made.topology({"contexts": {"c07": {"server": OTHER}}})
    ran = run("describe", cwd=made)
    shown = block(ran.out, "c00")
    at = next(i for i, line in enumerate(shown) if line.startswith("  remote secrets"))
    assert shown[at].startswith("  remote secrets  59: 1 wrong server (c07), ")
    assert shown[at].endswith(" 53 ok")
    assert "5 token pending (c10, c11, c12 and 2 more)" in shown[at]
    assert shown[at + 1 :] == [
        f"    c07  wrong server: https://192.0.2.8:6443 ({OTHER} in the inputs)"
    ]
    assert max(len(block(ran.out, name)) for name in names) <= 24
    value = valid("describe", run("describe", "-o", "json", cwd=made).out)
    assert [len(c["remoteSecrets"]) for c in value["clusters"]] == [59] * 60
    assert all(s["cluster"] != c["name"] for c in value["clusters"] for s in c["remoteSecrets"])
    assert [c["counts"]["rendered"] for c in value["clusters"]] == [59] * 60
