"""`kubectl mesh adopt`: a running mesh becomes a working directory whose first render differs from it only in what is told."""

import base64
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kubectl_mesh.yaml_io import assets
from tests.conftest import SEED, TOP, Golden, Run, snapshot
from tests.support.adopted import TODAY, kubeconfig, todays_remote, token
from tests.support.authorities import (
    P256,
    cacerts,
    dump,
    make_root,
    makefile,
    openssl,
    printed,
    secret,
    self_signed,
)
from tests.support.goldens import rendered_tree
from tests.support.page_commands import LATER

DUMPS = TOP / "tests" / "adopt"
OLD = {
    "context-east-1": "8f14e45f-ceea-467f-a0f5-0d2b6c8f1a01",
    "context-east-2": "c9f0f895-fb98-4ab9-8f2d-5a7a1c3e2b02",
    "context-west-1": "45c48cce-2e2d-4fbd-a7f2-9b1c4d6e3f03",
}
"""The clusters of the old mesh, and the IDs that `istioctl x multicluster` gave them: the UIDs of kube-system."""


def old_remote(context: str) -> dict[str, object]:
    """A remote secret of `istioctl x multicluster apply`, 1.4."""
    held = {OLD[context]: kubeconfig(context, context, old=True)}
    annotations = {"istio.io/clusterContext": context}
    return secret(
        f"istio-remote-secret-{OLD[context]}",
        held,
        labels={"istio/multiCluster": "true"},
        annotations=annotations,
    )


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Dumps of a mesh by the rules of setup-mesh.sh, with certificates as its Makefile made them: a folder per context."""
    shutil.copytree(DUMPS / "old", tmp_path / "dumps")
    makefile(tmp_path / "certs", tuple(OLD), "Example Org")
    for context in OLD:
        remotes = [old_remote(c) for c in OLD if c != context]
        dump(
            tmp_path / f"dumps/{context}/secrets.yaml",
            cacerts(tmp_path / f"certs/intermediate-{context}"),
            *remotes,
        )
    return tmp_path


def intermediate(folder: Path, name: str) -> None:
    """An intermediate as `make NAME-cacerts` of today's tools/certs makes it, by the root of that folder."""
    inner = folder / name
    inner.mkdir()
    (inner / "x.conf").write_text(
        f"[req]\nprompt=no\ndistinguished_name=dn\n[dn]\nO=Istio\nCN=Intermediate CA\nL={name}\n"
    )
    extensions = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nbasicConstraints=critical,CA:true,pathlen:0\n"
    extensions += "keyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment,keyCertSign\nsubjectAltName=DNS:istiod.istio-system.svc\n"
    (inner / "x.ext").write_text(extensions)
    openssl("genpkey", "-algorithm", *P256, "-out", "ca-key.pem", cwd=inner)
    openssl("req", "-new", "-config", "x.conf", "-key", "ca-key.pem", "-out", "x.csr", cwd=inner)
    signed = (
        "x509",
        "-req",
        "-days",
        3650,
        "-CA",
        "../root.pem",
        "-CAkey",
        "../root.key",
        "-extfile",
        "x.ext",
        "-in",
        "x.csr",
        "-out",
        "ca-cert.pem",
    )
    openssl(*signed, cwd=inner)
    (inner / "root-cert.pem").write_bytes((folder / "root.pem").read_bytes())
    (inner / "cert-chain.pem").write_bytes(
        (inner / "ca-cert.pem").read_bytes() + (folder / "root.pem").read_bytes()
    )


CONTEXTS = {"east": "context-east-1", "west": "context-west-1"}
"""Whose servers in the page's kubeconfig the clusters of today's mesh have."""


@pytest.fixture
def today(tmp_path: Path) -> Path:
    """Dumps of a mesh of two networks by today's documentation: openssl, istioctl, create-remote-secret."""
    shutil.copytree(DUMPS / "today", tmp_path / "dumps")
    make_root(tmp_path / "ca", "root", subject="/O=Istio/CN=Root CA")
    for context in TODAY:
        intermediate(tmp_path / "ca", context)
        others = [todays_remote(name, CONTEXTS[c]) for c, name in TODAY.items() if c != context]
        dump(
            tmp_path / f"dumps/{context}/secrets.yaml", cacerts(tmp_path / "ca" / context), *others
        )
    return tmp_path


def outcome(folder: Path, golden: Golden, case: str, out: str, err: str) -> None:
    """Compares what was printed and written with the golden files of a case."""
    golden(DUMPS / f"{case}.stdout.txt", out)
    golden(DUMPS / f"{case}.stderr.txt", err)
    golden(DUMPS / f"{case}.topology.yaml", (folder / "topology.yaml").read_text())
    golden(DUMPS / f"{case}.base.yaml", (folder / "base.yaml").read_text())


def test_a_mesh_of_the_old_tool(old: Path, run: Run, golden: Golden) -> None:
    """Certificates and tokens are those that run; every difference of the first render is told, and there is no other."""
    ran = run("adopt", "dumps", "-C", "mesh", cwd=old)
    assert ran.code == 0, ran.err
    outcome(old / "mesh", golden, "old", ran.out, ran.err)
    for context, name in OLD.items():
        for part in ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"):
            assert (old / f"mesh/certs/intermediate-{name}/{part}").read_bytes() == (
                old / f"certs/intermediate-{context}/{part}"
            ).read_bytes()
        assert (old / f"mesh/credentials/{name}.token").read_text() == token(context)
    private = [*(old / "mesh").rglob("*key.pem"), *(old / "mesh").rglob("*.token")]
    assert len(private) == 6
    assert {stat.S_IMODE(p.stat().st_mode) for p in private} == {0o600}
    ran = run("render", "-C", "mesh", cwd=old)
    assert ran.code == 0, ran.err
    assert "pending" not in ran.out
    assert run("check", "-C", "mesh", cwd=old).code == 0


def test_a_mesh_of_today(today: Path, run: Run, golden: Golden) -> None:
    """As above, by today's istioctl."""
    ran = run("adopt", "dumps", "-C", "mesh", cwd=today)
    assert ran.code == 0, ran.err
    outcome(today / "mesh", golden, "today", ran.out, ran.err)
    ran = run("render", "-C", "mesh", cwd=today)
    assert ran.code == 0, ran.err
    assert "pending" not in ran.out
    assert run("check", "-C", "mesh", cwd=today).code == 0


def test_clusters_that_signed_for_themselves(today: Path, run: Run, golden: Golden) -> None:
    """Each has a root of its own: all are trusted, each cluster signs as before, and that is what the first render changes of cacerts."""
    for context in TODAY:
        path = today / f"dumps/{context}/secrets.yaml"
        value = yaml.safe_load(path.read_text())
        value["items"][0] = self_signed(today / "ca", context)
        path.write_text(yaml.safe_dump(value))
    ran = run("adopt", "dumps", "-C", "mesh", cwd=today)
    assert ran.code == 0, ran.err
    outcome(today / "mesh", golden, "self-signed", ran.out, ran.err)
    whole = b"".join((today / f"ca/{c}.pem").read_bytes() for c in TODAY)
    assert (today / "mesh/certs/root-cert.pem").read_bytes() == whole
    for context, name in TODAY.items():
        assert (today / f"mesh/certs/intermediate-{name}/ca-cert.pem").read_bytes() == (
            today / f"ca/{context}.pem"
        ).read_bytes()
    assert run("render", "-C", "mesh", cwd=today).code == 0


def leaves(value: object, path: str = "") -> dict[str, object]:
    """A value as its leaves, each under its path."""
    if isinstance(value, dict) and value:
        return {p: v for k, inner in value.items() for p, v in leaves(inner, f"{path}/{k}").items()}
    if isinstance(value, list) and value:
        return {
            p: v for i, inner in enumerate(value) for p, v in leaves(inner, f"{path}/{i}").items()
        }
    return {path: value}


def slashed(path: str) -> str:
    """The path of a difference in the form of `leaves`."""
    steps = re.findall(r'"([^"]*)"|\[(\d+)\]|([^.\[\]"]+)', path)
    return "".join(f"/{a or b or c}" for a, b, c in steps)


@pytest.mark.parametrize("case", ["old", "today"])
def test_no_difference_is_left_out(case: str, request: pytest.FixtureRequest, run: Run) -> None:
    """Counted anew, leaf by leaf, from what was written and what was dumped: every leaf of the tree is what runs, or a difference names it."""
    folder: Path = request.getfixturevalue(case)
    value = json.loads(run("adopt", "dumps", "-C", "mesh", "-o", "json", cwd=folder).out)
    assert run("render", "-C", "mesh", cwd=folder).code == 0
    named: dict[tuple[str, str], list[str]] = {}
    for difference in value["differences"]:
        named.setdefault((difference["cluster"], difference["object"]), []).append(
            slashed(difference.get("path", ""))
        )
    compared = covered = 0
    for cluster in value["clusters"]:
        dumped = [
            item
            for path in (folder / "dumps" / cluster["context"]).glob("*.yaml")
            for document in yaml.safe_load_all(path.read_text())
            for item in document.get("items", [document])
        ]
        for path in sorted((folder / "mesh/out" / cluster["name"]).rglob("*.yaml")):
            if path.name == "kustomization.yaml":
                continue
            mine = yaml.safe_load(path.read_text())
            metadata = mine["metadata"]
            title = f"{mine['kind']} {metadata['namespace'] + '/' if 'namespace' in metadata else ''}{metadata['name']}"
            told = named.get((cluster["name"], title), [])
            alike = [
                o
                for o in dumped
                if o["kind"] == mine["kind"]
                and o.get("metadata", {}).get("name", "default") == metadata["name"]
            ]
            if not alike:
                assert told == [""], title
                continue
            theirs = leaves(alike[0])
            for leaf, body in leaves(mine).items():
                compared += 1
                if theirs.get(leaf) != body:
                    covered += 1
                    assert any(leaf == p or leaf.startswith(f"{p}/") for p in told), (title, leaf)
    assert (compared, covered) == {"old": (213, 48), "today": (144, 30)}[case]


# What does not fit together


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dumps of today's mesh, made once for tests that change them."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(DUMPS / "today", folder / "dumps")
    make_root(folder / "ca", "root", subject="/O=Istio/CN=Root CA")
    for context in TODAY:
        intermediate(folder / "ca", context)
        others = [todays_remote(name, CONTEXTS[c]) for c, name in TODAY.items() if c != context]
        dump(folder / f"dumps/{context}/secrets.yaml", cacerts(folder / "ca" / context), *others)
    return folder


class Dumps:
    """A copy of dumps that a test changes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def edit(self, name: str, change: Callable[[Any], object]) -> None:
        """Changes the value of a file in place."""
        file = self.path / "dumps" / name
        value = yaml.safe_load(file.read_text())
        change(value)
        file.write_text(yaml.safe_dump(value))

    def set(self, name: str, *path: "str | int", to: object) -> None:
        """Sets a field of a file, or takes it away (None)."""

        def change(value: Any) -> None:
            for step in path[:-1]:
                value = value[step]
            if to is None:
                del value[path[-1]]
            else:
                value[path[-1]] = to

        self.edit(name, change)

    def write(self, name: str, text: str) -> None:
        """Writes a file as it is."""
        file = self.path / "dumps" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


@pytest.fixture
def dumps(made: Path, tmp_path: Path) -> Dumps:
    """Dumps of today's mesh, to be changed."""
    shutil.copytree(made, tmp_path / "work")
    return Dumps(tmp_path / "work")


VALUES = ("spec", "values", "global")


def stale(dumps: Dumps) -> None:
    """A third cluster, whose remote secret for the second has another token."""
    shutil.copytree(dumps.path / "dumps/east", dumps.path / "dumps/third")
    dumps.set("third/istiooperator.yaml", *VALUES, "multiCluster", "clusterName", to="cluster3")
    dumps.set(
        "third/istio-system.yaml",
        "items",
        3,
        "spec",
        "template",
        "spec",
        "containers",
        0,
        "env",
        to=[],
    )
    dumps.set(
        "third/secrets.yaml",
        "items",
        1,
        to=todays_remote("cluster2", "context-west-1", user={"token": "stale-and-secret"}),
    )


def other_server(dumps: Dumps) -> None:
    """A third cluster, which reaches the second elsewhere."""
    stale(dumps)
    dumps.set(
        "third/secrets.yaml",
        "items",
        1,
        to=todays_remote("cluster2", "context-east-2", user={"token": token("cluster2")}),
    )


def all_at_once(dumps: Dumps) -> None:
    """Several mistakes, in several files."""
    dumps.set("west/istiooperator.yaml", *VALUES, "meshID", to="mesh2")
    dumps.set("west/istiooperator.yaml", *VALUES, "network", to="elsewhere")
    dumps.set("east/secrets.yaml", "items", 0, "data", "cert-chain.pem", to=None)
    dumps.set("west/secrets.yaml", "items", 1, "data", "cluster1", to="not base64, but secret")


CONFLICTS: dict[str, Callable[[Dumps], object]] = {
    "one-id": lambda d: (
        d.set("west/istiooperator.yaml", *VALUES, "multiCluster", "clusterName", to="cluster1"),
        d.set("west/istio-system.yaml", "items", 3, to=None),
        d.set("east/secrets.yaml", "items", 1, to=None),
    ),
    "ids-disagree": lambda d: d.set(
        "west/istiooperator.yaml", *VALUES, "multiCluster", "clusterName", to="cluster3"
    ),
    "networks-disagree": lambda d: d.set(
        "west/istiooperator.yaml", *VALUES, "network", to="elsewhere"
    ),
    "network-of-the-gateway": lambda d: d.set(
        "west/istio-system.yaml",
        "items",
        2,
        "metadata",
        "labels",
        "topology.istio.io/network",
        to="elsewhere",
    ),
    "mesh-ids-disagree": lambda d: d.set("west/istiooperator.yaml", *VALUES, "meshID", to="mesh2"),
    "mesh-id-unfit": lambda d: [
        d.set(f"{c}/istiooperator.yaml", *VALUES, "meshID", to="Mesh_1") for c in TODAY
    ],
    "trust-domains": lambda d: d.set(
        "west/istiooperator.yaml", "spec", "meshConfig", "trustDomain", to="west.example"
    ),
    "remote-unknown": lambda d: d.edit(
        "east/secrets.yaml",
        lambda v: v["items"].append(todays_remote("cluster3", "context-west-1")),
    ),
    "tokens-differ": stale,
    "servers-differ": other_server,
    "kinds": lambda d: d.edit(
        "west/istiooperator.yaml",
        lambda v: v.update(
            apiVersion="sailoperator.io/v1",
            kind="Istio",
            metadata={"name": "default"},
            spec={"version": "v1.30.3", "values": v["spec"]["values"]},
        ),
    ),
    "no-context": lambda d: d.write(
        "stray.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n"
    ),
    "cacerts-partial": lambda d: d.set(
        "east/secrets.yaml", "items", 0, "data", "ca-key.pem", to=None
    ),
    "cacerts-twice": lambda d: d.edit(
        "east/secrets.yaml", lambda v: v["items"].append({**v["items"][0], "type": "other"})
    ),
    "key-of-another": lambda d: d.set(
        "east/secrets.yaml",
        "items",
        0,
        "data",
        "ca-key.pem",
        to=yaml.safe_load((d.path / "dumps/west/secrets.yaml").read_text())["items"][0]["data"][
            "ca-key.pem"
        ],
    ),
    "no-kubeconfig": lambda d: d.set(
        "east/secrets.yaml",
        "items",
        1,
        "data",
        "cluster2",
        to=base64.b64encode(b"secret: [").decode(),
    ),
    "kubeconfig-of-nothing": lambda d: d.set(
        "east/secrets.yaml",
        "items",
        1,
        "data",
        "cluster2",
        to=base64.b64encode(b"a-secret-token").decode(),
    ),
    "no-yaml": lambda d: d.write("east/more.yaml", "kind: [\n"),
    "a-list": lambda d: d.write("east/more.yaml", "- kind: Secret\n"),
    "an-old-yaml": lambda d: d.write("east/more.yaml", "kind: Secret\nstringData:\n  pin: 0123\n"),
    "all-at-once": all_at_once,
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_conflicts(case: str, dumps: Dumps, run: Run, golden: Golden) -> None:
    """Each is told with its places and what settles it; nothing is written, and nothing secret is shown."""
    CONFLICTS[case](dumps)
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert (ran.code, ran.out) == (2, "")
    golden(DUMPS / "errors" / f"{case}.txt", ran.err)
    assert not (dumps.path / "mesh").exists()
    for word in ("secret", "PRIVATE", "eyJ", "MIG"):
        assert word not in re.sub(r"remote.secret|secrets\.yaml|get secret", "", ran.err), word


def test_networks_that_are_settled(dumps: Dumps, run: Run) -> None:
    """What the command line says goes before; the difference that it makes is told."""
    dumps.set("west/istiooperator.yaml", *VALUES, "network", to="elsewhere")
    ran = run("adopt", "dumps", "-C", "mesh", "--network", "west=network2", cwd=dumps.path)
    assert ran.code == 0, ran.err
    assert (
        "    change spec.values.global.network: the mesh sets it: the cluster's network\n"
        in ran.out
    )
    ran = run(
        "adopt",
        "dumps",
        "-C",
        "other",
        "--network",
        "wets=network2",
        "--network",
        "x",
        cwd=dumps.path,
    )
    assert (ran.code, ran.err) == (
        2,
        'error: --network: "x" is not CTX=NETWORK\n  fix: write the context\'s name, =, and the name of its network\n',
    )
    ran = run(
        "adopt",
        "dumps",
        "-C",
        "other",
        "--network",
        "wets=network2",
        "--network",
        "west=network2",
        cwd=dumps.path,
    )
    assert (ran.code, ran.err) == (
        2,
        'error: --network: no dump is of the context "wets" (did you mean "west"?)\n',
    )


def test_what_is_there_is_kept(dumps: Dumps, run: Run) -> None:
    """A second run writes nothing, and compares what is there now: so it tells what an edit changes of what runs."""
    assert run("adopt", "dumps", "-C", "mesh", cwd=dumps.path).code == 0
    mesh = dumps.path / "mesh"
    topology = mesh / "topology.yaml"
    topology.write_text(
        topology.read_text().replace("network: network2", "network: network3") + "# mine\n"
    )
    before = snapshot(mesh)
    ran = run("adopt", "dumps", "-C", "mesh", "-o", "json", cwd=dumps.path)
    assert ran.code == 0, ran.err
    assert snapshot(mesh) == before
    value = json.loads(ran.out)
    jsonschema.Draft202012Validator(assets.load_schema("output/adopt.schema.json")).validate(value)
    assert {f["action"] for f in value["files"]} == {"keep"}
    changed = [
        d
        for d in value["differences"]
        if d["action"] == "change" and "network" in d.get("path", "")
    ]
    assert (
        "cluster2",
        "Namespace istio-system",
        'metadata.labels."topology.istio.io/network"',
    ) in {(d["cluster"], d["object"], d["path"]) for d in changed}
    assert value["clusters"][1] == {
        "name": "cluster2",
        "context": "west",
        "network": "network2",
        "namespace": "istio-system",
    }


def test_another_root_is_there(dumps: Dumps, run: Run) -> None:
    """A directory with a root of its own takes no certificates of another mesh."""
    assert run("init", "-C", "mesh", "--mesh-id", "acme", cwd=dumps.path).code == 0
    (dumps.path / "mesh/topology.yaml").unlink()
    before = snapshot(dumps.path / "mesh")
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: mesh/certs/root-cert.pem: is there and is kept, and is another root than that of the clusters in dumps/east/secrets.yaml:3:3\n"
            "  fix: adopt into an empty directory\n"
        ),
    )
    assert snapshot(dumps.path / "mesh") == before


def test_git_would_take_a_token(dumps: Dumps, run: Run) -> None:
    """A .gitignore that lets keys through is refused before any is written."""
    mesh = dumps.path / "mesh"
    subprocess.run(["git", "init", "-q", mesh], check=True)
    (mesh / ".gitignore").write_text("out/\n")
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 2
    assert (
        "mesh/.gitignore: does not keep credentials/cluster1.token and 4 more private files out of git"
        in ran.err
    )
    assert {p.name for p in mesh.iterdir()} == {".git", ".gitignore"}


def test_a_kubeconfig_and_other_shapes(dumps: Dumps, run: Run) -> None:
    """JSON, `stringData`, several keys in one Secret, a folder of PEM files, a kubeconfig for a cluster that nobody holds; files named for their context."""
    old = dumps.path / "dumps"
    secrets = yaml.safe_load((old / "west/secrets.yaml").read_text())["items"]
    remote = yaml.safe_load((old / "east/secrets.yaml").read_text())["items"][1]
    remote["stringData"] = {
        key: base64.b64decode(body).decode() for key, body in remote.pop("data").items()
    } | {"cluster1": kubeconfig("cluster1", "context-east-1")}
    (old / "east.json").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "SecretList",
                "items": [{k: v for k, v in remote.items() if k != "kind"}],
            }
        )
    )
    dump(old / "west.yaml", secrets[0])
    config = yaml.safe_load(kubeconfig("east", "context-east-1"))
    config["users"] = [{"name": "east", "user": {"client-key-data": "nobody's affair"}}]
    dump(old / "config.yaml", config)
    named = [
        f"east={old}/east/istiooperator.yaml",
        f"east={old}/east.json",
        f"east={dumps.path}/ca/east",
        f"west={old}/west/istiooperator.yaml",
        f"west={old}/west.yaml",
    ]
    ran = run("adopt", *named, old / "config.yaml", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    assert (
        "Secret istio-system/istio-remote-secret-cluster2, key cluster1: istiod passes over the remote secret of its own cluster\n"
        in ran.out
    )
    topology = yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text())
    assert topology["contexts"]["east"]["server"] == "https://203.0.113.11:6443"
    assert topology["contexts"]["west"]["server"] == "https://198.51.100.21:6443"
    assert not (dumps.path / "mesh/credentials/cluster1.token").exists()
    assert (dumps.path / "mesh/credentials/cluster2.token").read_text() == token("cluster2")
    assert (
        "warning: cluster1: its token (mesh/credentials/cluster1.token) is pending; it holds back its remote secret in 1 cluster\n"
        in ran.err
    )


LOGINS: dict[str, tuple[dict[str, object], object]] = {
    "exec": (
        {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "aws",
                "args": ["eks"],
                "env": [{"name": "A", "value": "b"}],
                "interactiveMode": "Never",
            }
        },
        {"exec": {"command": "aws", "args": ["eks"], "env": {"A": "b"}}},
    ),
    "certificate": (
        {
            "client-certificate-data": base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode(),
            "client-key-data": base64.b64encode(b"-----BEGIN PRIVATE KEY-----\n").decode(),
        },
        {
            "clientCertificate": {
                "certificateFile": "credentials/cluster2.crt",
                "keyFile": "credentials/cluster2.key",
            }
        },
    ),
    "oidc": (
        {
            "auth-provider": {
                "name": "oidc",
                "config": {
                    "idp-issuer-url": "https://idp.example.com",
                    "client-id": "mesh",
                    "id-token": "a.b.c",
                    "refresh-token": "d",
                },
            }
        },
        {
            "oidc": {
                "issuerURL": "https://idp.example.com",
                "clientID": "mesh",
                "idTokenFile": "credentials/cluster2.id-token",
                "refreshTokenFile": "credentials/cluster2.refresh-token",
            }
        },
    ),
    "gcp": (
        {"auth-provider": {"name": "gcp"}},
        'its auth-provider "gcp" is one that istiod refuses',
    ),
    "password": (
        {"username": "u", "password": "p"},
        "it logs in by username, which a topology cannot state",
    ),
    "nothing": ({"impersonate": "u"}, "it holds no login"),
}


@pytest.mark.parametrize("way", LOGINS)
def test_logins(way: str, dumps: Dumps, run: Run) -> None:
    """What istiod takes is taken over; what it refuses is told, and left out."""
    user, wanted = LOGINS[way]
    dumps.set(
        "east/secrets.yaml", "items", 1, to=todays_remote("cluster2", "context-west-1", user=user)
    )
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    entry = yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text())["contexts"]["west"]
    if isinstance(wanted, str):
        assert "credential" not in entry
        assert f"the login to cluster2: {wanted}\n" in ran.out
        return
    assert entry["credential"] == wanted
    same = "data.PEER: the same server, CA and login, written in other bytes: istiod reconnects to the cluster once"
    assert same in ran.out
    for path in (dumps.path / "mesh/credentials").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_server_that_nobody_verifies(dumps: Dumps, run: Run) -> None:
    """Its login is of no use here without a CA, which is told."""
    text = kubeconfig("cluster2", "context-west-1")
    value = yaml.safe_load(text)
    value["clusters"][0]["cluster"] = {
        "server": "https://198.51.100.21:6443",
        "insecure-skip-tls-verify": True,
    }
    dumps.set(
        "east/secrets.yaml",
        "items",
        1,
        "data",
        "cluster2",
        to=base64.b64encode(yaml.safe_dump(value).encode()).decode(),
    )
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    assert (
        "the server of cluster2: the certificate of its API server is not verified; give `kubectl mesh add -C mesh` the CA\n"
        in ran.out
    )
    assert (
        "server"
        not in yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text())["contexts"]["west"]
    )


def test_a_killed_run_is_completed(dumps: Dumps, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before any of its files, it leaves a directory that the same command completes; the topology comes last."""
    from kubectl_mesh.fs import owned_files

    assert run("adopt", "dumps", "-C", "whole", cwd=dumps.path).code == 0
    whole = {
        p: m for p, m in snapshot(dumps.path / "whole").items() if not p.startswith(".kubectl")
    }
    files = sum(stat.S_ISREG(mode) for mode, _ in whole.values())
    real_add, real_certificates = owned_files.add_files, owned_files.write_certificates
    for stop in range(8):
        left = [stop]

        def step(real: Any, left: list[int] = left) -> Callable[..., None]:
            def call(*args: Any, **named: Any) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                real(*args, **named)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(owned_files, "add_files", step(real_add))
            patch.setattr(owned_files, "write_certificates", step(real_certificates))
            ran = run("adopt", "dumps", "-C", f"killed-{stop}", cwd=dumps.path)
        assert ran.code == 2
        assert not (dumps.path / f"killed-{stop}/topology.yaml").exists()
        assert run("adopt", "dumps", "-C", f"killed-{stop}", cwd=dumps.path).code == 0
        assert snapshot(dumps.path / f"killed-{stop}") == whole
    assert files == 16


# Whatever the dumps hold


ODD: tuple[object, ...] = (
    None,
    "",
    [],
    {},
    7,
    True,
    "x" * 300,
    ["a", {"b": 1}],
    {"kind": "List", "items": [1]},
    "eyJhbGciOiJub25lIn0.e30.",
    {"": None},
)


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path in a value."""
    if path:
        yield path
    for key, inner in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from paths(inner, (*path, key))


@pytest.mark.parametrize("seed", range(40))
def test_no_dump_makes_it_stumble(seed: int, dumps: Dumps, run: Run) -> None:
    """Odd values anywhere: an answer or a refusal, never a fault of its own; and no key and no token in either."""
    chance = random.Random(seed)
    files = sorted(
        p.relative_to(dumps.path / "dumps").as_posix()
        for p in (dumps.path / "dumps").rglob("*.yaml")
    )
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(files)
        value = yaml.safe_load((dumps.path / "dumps" / name).read_text())
        found = list(paths(value))
        if found:
            dumps.set(name, *chance.choice(found), to=chance.choice(ODD))
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code in (0, 2), ran.err
    assert "fault of its own" not in ran.err
    assert (dumps.path / "mesh").exists() == (ran.code == 0)
    for word in ("PRIVATE", token("cluster1"), token("cluster2")):
        assert word not in ran.out + ran.err
    if ran.code == 0:
        rendered = run("render", "-C", "mesh", cwd=dumps.path)
        assert rendered.code == 0, rendered.err


# The page

STUB = """#!/usr/bin/env bash
# Stands for the clusters: what they print is there as dumps, what would be applied is built by the real kubectl.
set -eu
context="${{1#--context=}}"
case "$*" in
  "mesh "*) exec {kubectl} "$@" ;;
  *"get secret -o yaml") cat {dumps}/$context/secrets.yaml ;;
  *"get namespace istio-system -o yaml") cat {dumps}/$context/namespace.yaml ;;
  *"get istios.sailoperator.io -o yaml") cat {dumps}/$context/istio.yaml ;;
  *"get service,deployment,gateways.networking.istio.io -o yaml") cat {dumps}/$context/objects.yaml ;;
  *"get configmap istio-ca-root-cert "*) cat together/certs/root-cert.pem 2>/dev/null || cat certs/root-cert.pem ;;
  *"apply -k "*) {kubectl} kustomize "${{@: -1}}" > {log}.$context.$(basename "${{@: -1}}").yaml; echo "applied ${{@: -1}}" >> {log} ;;
  *"rollout restart "*) echo "restarted $context" >> {log} ;;
  *) echo "not foreseen: $*" >&2; exit 1 ;;
esac
"""


def sail(name: str, network: str) -> dict[str, object]:
    """The Istio of a cluster, as kubectl prints it."""
    values = {
        "global": {"meshID": "mesh1", "multiCluster": {"clusterName": name}, "network": network},
        "pilot": {"env": {"ISTIO_MULTIROOT_MESH": "true"}},
    }
    spec = {
        "namespace": "istio-system",
        "updateStrategy": {"type": "InPlace"},
        "values": values,
        "version": "v1.30.3",
    }
    return {
        **printed("Istio", "default", "", spec=spec, status={"state": "Healthy"}),
        "apiVersion": "sailoperator.io/v1",
    }


def test_the_page_runs(tmp_path: Path) -> None:
    """Every command of docs/adopt.md in order, in one shell; then all clusters sign under one root, and nothing else is trusted."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    dumps, log, stubs = tmp_path / "clusters", tmp_path / "log", tmp_path / "bin"
    make_root(tmp_path / "ca", "root", subject="/O=Istio/CN=Root CA")
    pairs = {
        "context-east-1": "context-west-1",
        "context-west-1": "context-east-1",
        "alone-1": "alone-2",
        "alone-2": "alone-1",
    }
    for context, other in pairs.items():
        alone = context.startswith("alone")
        if not alone:
            intermediate(tmp_path / "ca", context)
        ca = self_signed(tmp_path / "ca", context) if alone else cacerts(tmp_path / "ca" / context)
        server = {"alone-1": "context-east-1", "alone-2": "context-east-2"}.get(other, other)
        dump(dumps / context / "secrets.yaml", ca, todays_remote(other, server))
        dump(dumps / context / "istio.yaml", sail(context, f"network-{context}"))
        dump(
            dumps / context / "namespace.yaml",
            printed(
                "Namespace",
                "istio-system",
                "",
                labels={"topology.istio.io/network": f"network-{context}"},
            ),
        )
        dump(dumps / context / "objects.yaml", {"apiVersion": "v1", "items": [], "kind": "List"})
    stubs.mkdir()
    (stubs / "kubectl").write_text(STUB.format(kubectl=kubectl, dumps=dumps, log=log))
    (stubs / "kubectl").chmod(0o755)
    (stubs / "kubectl-mesh").write_text(
        LATER.format(program=Path(sys.executable).parent / "kubectl-mesh")
    )
    (stubs / "kubectl-mesh").chmod(0o755)
    (tmp_path / "work").mkdir()
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (TOP / "docs/adopt.md").read_text(), re.MULTILINE | re.DOTALL
    )
    environment = {
        **os.environ,
        "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [bash, "-c", "set -eu\n" + "\n".join(blocks)],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n3\n3\n" in done.stdout
    together = tmp_path / "work" / "together"
    for name in ("alone-1", "alone-2"):
        openssl(
            "verify",
            "-x509_strict",
            "-CAfile",
            tmp_path / "work/own/certs/root-cert.pem",
            together / f"certs/intermediate-{name}/ca-cert.pem",
            cwd=tmp_path,
        )
        last = {
            o["metadata"]["name"]: o
            for o in yaml.safe_load_all(Path(f"{log}.{name}.1-trust.yaml").read_text())
        }
        assert (
            base64.b64decode(last["cacerts"]["data"]["root-cert.pem"])
            == (tmp_path / "work/own/certs/root-cert.pem").read_bytes()
        )
    assert log.read_text().splitlines().count("restarted alone-1") == 1
    assert not (tmp_path / "work/dumps").exists()


# What else says who a cluster is


def test_configmaps_of_the_control_plane(dumps: Dumps, run: Run) -> None:
    """Where no dump has a control plane, its ConfigMaps say ID, network, mesh and trust domain; an object that was dumped twice counts once."""
    for context, name in TODAY.items():
        folder = dumps.path / "dumps" / context
        for file in ("istiooperator.yaml", "eastwest.yaml", "istio-system.yaml"):
            (folder / file).unlink()
        values = {
            "global": {
                "meshID": "mesh1",
                "multiCluster": {"clusterName": name},
                "network": f"net-{context}",
                "istioNamespace": "istio-system",
            }
        }
        injector = printed(
            "ConfigMap",
            "istio-sidecar-injector-1-30",
            data={"config": "x", "values": json.dumps(values)},
        )
        networks = {
            "networks": {
                f"net-{context}": {
                    "endpoints": [{"fromRegistry": name}],
                    "gateways": [{"address": "192.0.2.9", "port": 15443}],
                }
            }
        }
        config = {
            "mesh": "defaultConfig:\n  meshId: mesh1\ntrustDomain: acme.example\n",
            "meshNetworks": yaml.safe_dump(networks),
        }
        dump(
            folder / "config.yaml",
            injector,
            printed("ConfigMap", "istio-1-30", data=config),
            printed("ConfigMap", "istio-ca-root-cert", data={"root-cert.pem": "x"}),
        )
        shutil.copy(folder / "secrets.yaml", folder / "again.yaml")
    ran = run("adopt", "dumps", "-C", "mesh", "--control-plane", "Istio", cwd=dumps.path)
    assert ran.code == 2
    assert '"192.0.2.9" is a gateway of network "net-east" too' in ran.err
    dumps.edit("west/config.yaml", lambda v: v["items"][1]["data"].pop("meshNetworks"))
    ran = run("adopt", "dumps", "-C", "mesh", "--control-plane", "Istio", cwd=dumps.path)
    assert ran.code == 0, ran.err
    topology = yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text())
    assert (topology["mesh_id"], topology["trustDomain"]) == ("mesh1", "acme.example")
    assert topology["networks"] == {"net-east": {"gateways": [{"address": "192.0.2.9"}]}}
    assert {c: (e["network"], e["clusterName"]) for c, e in topology["contexts"].items()} == {
        "east": ("net-east", "cluster1"),
        "west": ("net-west", "cluster2"),
    }


def test_ids_by_which_others_hold_a_cluster(old: Path, run: Run) -> None:
    """Without a control plane among the dumps, the context that 1.4 noted tells which ID is whose; and else the server in a kubeconfig."""
    for context in OLD:
        for file in (old / "dumps" / context).iterdir():
            if file.name != "secrets.yaml":
                file.unlink()
    networks = [word for context in OLD for word in ("--network", f"{context}=one")]
    words = ("adopt", "dumps", "--mesh-id", "m", "--control-plane", "IstioControlPlane", *networks)
    ran = run(*words, "-C", "noted", cwd=old)
    assert ran.code == 0, ran.err
    assert {
        c: e["clusterName"]
        for c, e in yaml.safe_load((old / "noted/topology.yaml").read_text())["contexts"].items()
    } == OLD
    for context in OLD:
        path = old / f"dumps/{context}/secrets.yaml"
        value = yaml.safe_load(path.read_text())
        for item in value["items"][1:]:
            item["metadata"]["annotations"] = {}
        path.write_text(yaml.safe_dump(value))
    ran = run(*words, "-C", "unknown", cwd=old)
    assert ran.code == 2
    assert ran.err.count("of which nothing else is known") == 6
    ran = run(*words, SEED / "kubeconfig.yaml", "-C", "reached", cwd=old)
    assert ran.code == 0, ran.err
    assert {
        c: e["clusterName"]
        for c, e in yaml.safe_load((old / "reached/topology.yaml").read_text())["contexts"].items()
    } == OLD


def test_helm_values(dumps: Dumps, run: Run) -> None:
    """In a file or in a ConfigMap: they need a kind to live in, and a version."""
    for context in TODAY:
        value = yaml.safe_load((dumps.path / f"dumps/{context}/istiooperator.yaml").read_text())
        values = {**value["spec"]["values"], "meshConfig": value["spec"]["meshConfig"]}
        body = (
            values
            if context == "east"
            else printed("ConfigMap", "mine", data={"values.yaml": yaml.safe_dump(values)})
        )
        dump(dumps.path / f"dumps/{context}/istiooperator.yaml", body)
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: dumps/east/istiooperator.yaml:1:1: holds Helm values, which base.yaml has in a control plane of some kind\n"
            "  fix: say which with --control-plane KIND: IstioOperator, Istio, HelmRelease, Application\n"
        ),
    )
    for kind in ("IstioOperator", "Istio", "HelmRelease", "Application"):
        ran = run("adopt", "dumps", "-C", kind, "--control-plane", kind, cwd=dumps.path)
        assert ran.code == 0, ran.err
        base = next(iter(yaml.safe_load_all((dumps.path / kind / "base.yaml").read_text())))
        assert base["kind"] == kind
        assert "ISTIO_MULTIROOT_MESH" in json.dumps(base)
        assert run("render", "-C", kind, cwd=dumps.path).code == 0
    for context in TODAY:
        dumps.set(f"{context}/istio-system.yaml", "items", 3, to=None)
    ran = run("adopt", "dumps", "-C", "none", "--control-plane", "HelmRelease", cwd=dumps.path)
    assert ran.code == 2
    assert (
        "error: dumps/east/istiooperator.yaml:1:1: no dump says which version of Istio runs in east\n  fix: dump the Deployment of istiod too\n"
        in ran.err
    )


def test_names_that_no_cluster_can_have(dumps: Dumps, run: Run) -> None:
    """An ID that is no label is told at the dump that it comes from; a context of EKS is no matter."""
    arn = "arn:aws:eks:eu-west-1:1:cluster/east"
    words = [f"{arn}={dumps.path}/dumps/east", f"west={dumps.path}/dumps/west"]
    ran = run("adopt", *words, "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    assert (
        yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text())["contexts"][arn][
            "clusterName"
        ]
        == "cluster1"
    )
    dumps.set("east/istiooperator.yaml", *VALUES, "multiCluster", "clusterName", to="Cluster_1")
    dumps.set("east/istio-system.yaml", "items", 3, to=None)
    dumps.set("west/secrets.yaml", "items", 1, to=None)
    ran = run("adopt", "dumps", "-C", "other", cwd=dumps.path)
    assert ran.code == 2
    assert (
        "makes contexts.east.clusterName, which must be a DNS-1123 label: lower-case letters, digits and `-`, at most 63"
        in ran.err
    )
    assert not (dumps.path / "other").exists()


def test_dumps_that_others_may_read(dumps: Dumps, run: Run) -> None:
    """They hold the keys of the mesh."""
    (dumps.path / "dumps/east/secrets.yaml").chmod(0o644)
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    what = "warning: dumps/east/secrets.yaml: holds keys or tokens, and others may read it (mode 0644)\n  fix: chmod 600; and delete it when the mesh is adopted\n"
    assert ran.err.startswith(what)
    assert ran.err.count("others may read") == 1


# What this tool rendered itself

EMPTY = (
    "ambient",
    "bundle",
    "csr",
    "declared-ambient",
    "first-day",
    "istioctl",
    "one-network",
    "primary-remote",
    "seed",
)
"""Cases of tests/golden whose trees hold all that the topology says."""


@pytest.mark.parametrize("case", EMPTY)
def test_a_tree_of_our_own_comes_back(case: str, tmp_path: Path, run: Run) -> None:
    """The tree as dumps: no difference, and the same bytes in every manifest."""
    tree = rendered_tree(case)
    folders = [p for p in sorted(tree.iterdir()) if not p.name.startswith("_")]
    words = [
        f"{json.loads((p / 'mesh.lock').read_text())['madeFrom']['context']}={p}" for p in folders
    ]
    if case == "bundle":
        words += [f"{words[0].partition('=')[0]}={tree}/_remote-secrets"]
    ran = run("adopt", *words, "-C", "mesh", "-o", "json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["differences"] == []
    assert run("render", "-C", "mesh", cwd=tmp_path).code == 0
    for folder in folders:
        before = {
            p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*.yaml")
            if p.name != "kustomization.yaml"
        }
        now = tmp_path / "mesh" / "out" / folder.name
        after = {
            p.relative_to(now).as_posix(): p.read_bytes()
            for p in now.rglob("*.yaml")
            if p.name != "kustomization.yaml"
        }
        if case != "bundle":
            assert after == before


def test_what_a_tree_does_not_say_is_told(tmp_path: Path, run: Run) -> None:
    """Annotations of a Service may be anybody's, so they are told and not taken; an istioctl file states no version."""
    for case, told in (
        (
            "two-networks",
            "what applies the tree leaves it; eastWestGateway.annotations of the topology puts it into the tree",
        ),
        ("istioctl-1.20", ""),
        ("canary", "istio.canary"),
    ):
        words = [
            f"{json.loads((p / 'mesh.lock').read_text())['madeFrom']['context']}={p}"
            for p in sorted(rendered_tree(case).iterdir())
        ]
        ran = run("adopt", *words, "-C", case, cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert told in ran.out
        assert (
            "states no version, and no Deployment of istiod is among the dumps; it is taken for the newest Istio"
            in ran.err
        ) == (case == "istioctl-1.20")
    canary = yaml.safe_load((tmp_path / "canary/topology.yaml").read_text())
    assert "1-30-3" not in json.dumps(canary)


def test_a_cluster_that_keeps_out(dumps: Dumps, run: Run) -> None:
    """Who holds none and is held by none, while others hold each other, has disableRegistryJoin; who holds some of the others, peers."""
    shutil.copytree(dumps.path / "dumps/east", dumps.path / "dumps/third")
    dumps.set("third/istiooperator.yaml", *VALUES, "multiCluster", "clusterName", to="cluster3")
    dumps.set("third/istio-system.yaml", "items", 3, to=None)
    holds = yaml.safe_load((dumps.path / "dumps/third/secrets.yaml").read_text())["items"][1]
    dumps.set("third/secrets.yaml", "items", 1, to=None)
    assert run("adopt", "dumps", "-C", "out", cwd=dumps.path).code == 0
    topology = yaml.safe_load((dumps.path / "out/topology.yaml").read_text())["contexts"]
    assert {c: e.get("disableRegistryJoin") for c, e in topology.items()} == {
        "east": None,
        "third": True,
        "west": None,
    }
    assert [e.get("peers") for e in topology.values()] == [None, None, None]
    dumps.edit("third/secrets.yaml", lambda v: v["items"].append(holds))
    assert run("adopt", "dumps", "-C", "some", cwd=dumps.path).code == 0
    topology = yaml.safe_load((dumps.path / "some/topology.yaml").read_text())["contexts"]
    assert {c: e.get("peers") for c, e in topology.items()} == {
        "east": ["west"],
        "third": ["west"],
        "west": ["east"],
    }


# Other control planes


def ambient(folder: Path, context: str, name: str) -> list[object]:
    """What the Sail operator has for ambient, and the gateway of the Gateway API."""
    istio = {
        **sail(name, f"net-{context}"),
        "spec": {
            "namespace": "istio-system",
            "profile": "ambient",
            "values": {
                "global": {
                    "meshID": "mesh1",
                    "multiCluster": {"clusterName": name},
                    "network": f"net-{context}",
                },
                "pilot": {"env": {"AMBIENT_ENABLE_MULTI_NETWORK": "true"}},
            },
            "version": "v1.30-latest",
        },
    }
    cni = printed(
        "IstioCNI",
        "default",
        "",
        spec={"namespace": "istio-cni", "profile": "ambient", "version": "v1.30-latest"},
    )
    zone = {"ztunnel": {"multiCluster": {"clusterName": name}, "network": f"net-{context}"}}
    ztunnel = printed(
        "ZTunnel",
        "default",
        "",
        spec={"namespace": "istio-system", "values": zone, "version": "v1.30-latest"},
    )
    tls = {"mode": "Terminate", "options": {"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"}}
    listeners = [
        {
            "allowedRoutes": {"namespaces": {"from": "Same"}},
            "name": "mesh",
            "port": 15008,
            "protocol": "HBONE",
            "tls": tls,
        }
    ]
    spec = {"gatewayClassName": "istio-east-west", "listeners": listeners}
    gateway = printed(
        "Gateway",
        "istio-eastwestgateway",
        labels={NETWORK: f"net-{context}"},
        spec=spec,
        status={"addresses": []},
    )
    sailed = [{**value, "apiVersion": "sailoperator.io/v1"} for value in (cni, ztunnel)]
    return [istio, *sailed, {**gateway, "apiVersion": "gateway.networking.k8s.io/v1"}]


def flux(folder: Path, context: str, name: str) -> list[object]:
    """The HelmReleases of Flux; one value that Istio does not know, and a gateway that is none of the mesh."""

    def release(name: str, chart: str, values: object) -> dict[str, object]:
        source = {
            "chart": chart,
            "sourceRef": {"kind": "HelmRepository", "name": "istio"},
            "version": "1.29.1",
        }
        spec = {"chart": {"spec": source}, "interval": "5m", "releaseName": name, "values": values}
        return {
            **printed("HelmRelease", name, spec=spec),
            "apiVersion": "helm.toolkit.fluxcd.io/v2",
        }

    values = {
        "global": {
            "meshID": "mesh1",
            "multiCluster": {"clusterName": name},
            "network": f"net-{context}",
        },
        "pilot": {"bogus": 1},
    }
    istiod = release("istiod", "istiod", {**values, "meshConfig": {"trustDomain": "acme.example"}})
    gateways = [
        release("istio-ingressgateway", "gateway", {}),
        release("istio-eastwestgateway", "gateway", {"networkGateway": f"net-{context}"}),
    ]
    return [istiod, release("istio-base", "base", {}), *gateways]


def primary_remote(folder: Path, context: str, name: str) -> list[object]:
    """One control plane for two clusters."""
    served = context == "west"
    label, annotation = (
        {NETWORK: f"net-{context}"},
        {"topology.istio.io/controlPlaneClusters": "cluster1"},
    )
    namespace = printed(
        "Namespace", "istio-system", "", labels=label, annotations=annotation if served else {}
    )
    values: dict[str, object] = {
        "global": {
            "externalIstiod": True,
            "meshID": "mesh1",
            "multiCluster": {"clusterName": name},
            "network": f"net-{context}",
        }
    }
    if served:
        values = {
            "global": {"remotePilotAddress": "192.0.2.7"},
            "istiodRemote": {"injectionPath": f"/inject/cluster/{name}/net/net-{context}"},
        }
    spec = {**({"profile": "remote"} if served else {}), "tag": "1.30.3", "values": values}
    return [
        namespace,
        {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec},
    ]


NETWORK = "topology.istio.io/network"
PLANES: dict[str, Callable[[Path, str, str], list[object]]] = {
    "ambient": ambient,
    "flux": flux,
    "primary-remote": primary_remote,
}


@pytest.mark.parametrize("case", PLANES)
def test_other_control_planes(case: str, dumps: Dumps, run: Run, golden: Golden) -> None:
    """What today's installers leave; the first render is told in the same way."""
    for context, name in TODAY.items():
        folder = dumps.path / "dumps" / context
        secrets = yaml.safe_load((folder / "secrets.yaml").read_text())["items"]
        shutil.rmtree(folder)
        served = case == "primary-remote" and context == "west"
        dump(
            folder / "all.yaml", *([] if served else secrets), *PLANES[case](folder, context, name)
        )
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    outcome(dumps.path / "mesh", golden, case, ran.out, ran.err)
    assert run("render", "-C", "mesh", cwd=dumps.path).code == 0


def test_a_cacerts_of_cert_manager(dumps: Dumps, run: Run) -> None:
    """cert-manager goes on making it; some of it by cert-manager and some not is a contradiction."""
    annotations = {
        f"cert-manager.io/issuer-{key}": value
        for key, value in (
            ("name", "mesh-root"),
            ("kind", "ClusterIssuer"),
            ("group", "cert-manager.io"),
        )
    }

    def made_there(context: str) -> dict[str, object]:
        folder = dumps.path / "ca" / context
        held = {
            "tls.crt": (folder / "ca-cert.pem").read_bytes(),
            "tls.key": (folder / "ca-key.pem").read_bytes(),
            "ca.crt": (folder / "root-cert.pem").read_bytes(),
        }
        return secret("cacerts", held, type="kubernetes.io/tls", annotations=annotations)

    dumps.set("east/secrets.yaml", "items", 0, to=made_there("east"))
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: dumps/east/secrets.yaml:3:3: was made by cert-manager, and not as those of the other clusters: a topology has one issuer\n"
            "  fix: have cert-manager make all of them, with an issuer of the same name, or none\n"
        ),
    )
    dumps.set("west/secrets.yaml", "items", 0, to=made_there("west"))
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    topology = yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text())
    assert topology["certificates"] == {
        "issuer": "cert-manager",
        "issuerRef": {"name": "mesh-root", "kind": "ClusterIssuer", "group": "cert-manager.io"},
    }
    assert not (dumps.path / "mesh/certs").exists()
    assert "  cluster1: Certificate istio-system/cacerts\n" in ran.out
    assert run("render", "-C", "mesh", cwd=dumps.path).code == 0


def test_a_token_is_judged_before_anything_is_written(dumps: Dumps, run: Run) -> None:
    """With a colon, as Rancher makes them, it is adopted as it is; one that is cut off is left out and named, and the mesh renders without it."""
    for user, there in (
        ({"token": "token-abcde:xyz"}, True),
        ({"token": token("cluster2")[:-9]}, False),
        ({"token": "two words"}, False),
    ):
        dumps.set(
            "east/secrets.yaml",
            "items",
            1,
            to=todays_remote("cluster2", "context-west-1", user=user),
        )
        folder = f"mesh-{len(list(dumps.path.iterdir()))}"
        ran = run("adopt", "dumps", "-C", folder, cwd=dumps.path)
        assert ran.code == 0, ran.err
        path = dumps.path / folder / "credentials/cluster2.token"
        assert path.exists() == there
        assert user["token"] not in ran.out + ran.err
        assert not there or path.read_text() == user["token"]
        assert ("its token is " in ran.out) != there
        assert run("render", cwd=dumps.path / folder).code == 0


# Where charts and images come from


def charted(kind: str, url: str, form: str) -> Callable[[str], list[object]]:
    """The control plane of a cluster whose charts come from a place: `chart` of a repository, or an OCI artifact (`path`, `oci`)."""

    def objects(name: str) -> list[object]:
        values = {
            "global": {
                "meshID": "mesh1",
                "multiCluster": {"clusterName": name},
                "network": f"net-{name}",
            }
        }
        if kind == "Application":
            where = (
                {"repoURL": f"{url}/istiod", "path": "."}
                if form == "path"
                else {"repoURL": url, "chart": "istiod"}
            )
            source = {**where, "targetRevision": "1.31.3", "helm": {"valuesObject": values}}
            spec = {
                "destination": {
                    "namespace": "istio-system",
                    "server": "https://kubernetes.default.svc",
                },
                "project": "default",
                "source": source,
            }
            return [
                {
                    **printed("Application", "istiod", "argocd", spec=spec),
                    "apiVersion": "argoproj.io/v1alpha1",
                }
            ]
        if form == "oci":
            chart: dict[str, object] = {
                "chartRef": {"kind": "OCIRepository", "name": "istiod-chart"}
            }
            source = {
                **printed(
                    "OCIRepository",
                    "istiod-chart",
                    spec={"interval": "1h", "ref": {"tag": "1.31.3"}, "url": f"{url}/istiod"},
                )
            }
        else:
            chart = {
                "chart": {
                    "spec": {
                        "chart": "istiod",
                        "sourceRef": {"kind": "HelmRepository", "name": "charts-of-istio"},
                        "version": "1.31.3",
                    }
                }
            }
            source = {
                **printed("HelmRepository", "charts-of-istio", spec={"interval": "1h", "url": url})
            }
        release = {
            **printed("HelmRelease", "istiod", spec={**chart, "interval": "5m", "values": values}),
            "apiVersion": "helm.toolkit.fluxcd.io/v2",
        }
        return [{**source, "apiVersion": "source.toolkit.fluxcd.io/v1"}, release]

    return objects


OWN_CHARTS = (
    "https://istio-release.storage.googleapis.com/charts",
    "https://blob.istio.io/istio-release/charts",
    "oci://gcr.io/istio-release/charts",
    "oci://ghcr.io/istio/release/charts",
)
FORMS = [
    *(("HelmRelease", url, "chart", None) for url in OWN_CHARTS),
    *(("Application", url.removeprefix("oci://"), "chart", None) for url in OWN_CHARTS),
    *(("Application", url, "path", None) for url in OWN_CHARTS[2:]),
    *(("HelmRelease", url, "oci", None) for url in OWN_CHARTS[2:]),
    (
        "HelmRelease",
        "https://charts.example.com/istio",
        "chart",
        "https://charts.example.com/istio",
    ),
    ("HelmRelease", "oci://registry.example.com/istio", "oci", "oci://registry.example.com/istio"),
    ("Application", "registry.example.com/istio", "chart", "oci://registry.example.com/istio"),
    ("Application", "oci://registry.example.com/istio", "path", "oci://registry.example.com/istio"),
]


@pytest.mark.parametrize(("kind", "url", "form", "charts"), FORMS)
def test_where_charts_come_from(
    kind: str, url: str, form: str, charts: str | None, dumps: Dumps, run: Run
) -> None:
    """Every home of Istio's own charts, old or new, is the default; another is `istio.charts`, in whatever form it was named."""
    for context, name in TODAY.items():
        folder = dumps.path / "dumps" / context
        secrets = yaml.safe_load((folder / "secrets.yaml").read_text())["items"]
        shutil.rmtree(folder)
        dump(folder / "all.yaml", *secrets, *charted(kind, url, form)(name))
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    topology = yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text())
    assert topology.get("istio", {}).get("charts") == charts
    base = yaml.safe_load((dumps.path / "mesh/base.yaml").read_text())
    assert base["kind"] == kind
    assert "chartRef" not in base["spec"]
    assert "path" not in base["spec"].get("source", {})
    assert run("render", "-C", "mesh", cwd=dumps.path).code == 0
    tree = "".join(p.read_text() for p in (dumps.path / "mesh/out").rglob("*.yaml"))
    assert (charts or "https://blob.istio.io/istio-release/charts").removeprefix("oci://") in tree
    assert "googleapis" not in tree
    assert "gcr.io" not in tree


@pytest.mark.parametrize(
    ("image", "hub"),
    [
        ("registry.redhat.io/openshift-service-mesh/istio-pilot-rhel9@sha256:0123", "built-in"),
        ("registry.istio.io/release/pilot:1.30.3", None),
        ("gcr.io/istio-release/pilot:1.30.3", None),
        ("docker.io/istio/pilot:1.30.3", None),
    ],
)
def test_images_of_a_vendor_stay(image: str, hub: str | None, dumps: Dumps, run: Run) -> None:
    """Where the Sail operator of a vendor brings images of its own, the first render does not replace them."""
    for context, name in TODAY.items():
        folder = dumps.path / "dumps" / context
        secrets = yaml.safe_load((folder / "secrets.yaml").read_text())["items"]
        shutil.rmtree(folder)
        pod = {"containers": [{"name": "discovery", "image": image}]}
        istiod = {
            **printed("Deployment", "istiod", spec={"template": {"spec": pod}}),
            "apiVersion": "apps/v1",
        }
        dump(folder / "all.yaml", *secrets, sail(name, f"net-{context}"), istiod)
    ran = run("adopt", "dumps", "-C", "mesh", cwd=dumps.path)
    assert ran.code == 0, ran.err
    assert (
        yaml.safe_load((dumps.path / "mesh/topology.yaml").read_text()).get("istio", {}).get("hub")
        == hub
    )
    assert run("render", "-C", "mesh", cwd=dumps.path).code == 0
    assert (
        "hub: docker.io/istio"
        in (dumps.path / "mesh/out/cluster1/2-control-plane/istio.yaml").read_text()
    ) == (hub is None)
