"""`kubectl mesh adopt`: a running mesh becomes a working directory whose first render differs from it only in what is told."""

import base64
import json
import shutil
import stat
from pathlib import Path

import pytest
import yaml
from authorities import P256, cacerts, dump, make_root, makefile, openssl, secret
from conftest import SEED, TOP, Golden, Run

DUMPS = TOP / "tests" / "adopt"
OLD = {
    "context-east-1": "8f14e45f-ceea-467f-a0f5-0d2b6c8f1a01",
    "context-east-2": "c9f0f895-fb98-4ab9-8f2d-5a7a1c3e2b02",
    "context-west-1": "45c48cce-2e2d-4fbd-a7f2-9b1c4d6e3f03",
}
"""The clusters of the old mesh, and the IDs that `istioctl x multicluster` gave them: the UIDs of kube-system."""
TODAY = {"east": "cluster1", "west": "cluster2"}


def api_server(context: str) -> tuple[str, str]:
    """The server of a context of the page's kubeconfig, and its CA in base64."""
    value = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())
    cluster = {c["name"]: c["cluster"] for c in value["clusters"]}[{c["name"]: c["context"]["cluster"] for c in value["contexts"]}[context]]
    return cluster["server"], cluster["certificate-authority-data"]


def token(name: str, account: str = "istio-reader-service-account") -> str:
    """A token of a reader, as Kubernetes makes them."""
    parts = ({"alg": "RS256"}, {"sub": f"system:serviceaccount:istio-system:{account}", "name": name})
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + ".c2lnbmF0dXJl"


def kubeconfig(name: str, context: str, *, old: bool = False, user: object = None) -> str:
    """A kubeconfig as istioctl writes it: everything in it named for the context by 1.4, for the cluster by today's."""
    server, ca = api_server(context)
    value = {
        "apiVersion": "v1",
        "clusters": [{"cluster": {"certificate-authority-data": ca, "server": server}, "name": name}],
        "contexts": [{"context": {"cluster": name, "user": name}, "name": name}],
        "current-context": name,
        "kind": "Config",
        **({"preferences": {}} if old else {}),
        "users": [{"name": name, "user": user or {"token": token(name)}}],
    }
    return yaml.safe_dump(value)


def old_remote(context: str) -> dict[str, object]:
    """A remote secret of `istioctl x multicluster apply`, 1.4."""
    held = {OLD[context]: kubeconfig(context, context, old=True)}
    annotations = {"istio.io/clusterContext": context}
    return secret(f"istio-remote-secret-{OLD[context]}", held, labels={"istio/multiCluster": "true"}, annotations=annotations)


def todays_remote(name: str, context: str, user: object = None, **parts: object) -> dict[str, object]:
    """A remote secret of `istioctl create-remote-secret` as applied and printed again."""
    labels, annotations = {"istio/multiCluster": "true"}, {"networking.istio.io/cluster": name}
    return secret(f"istio-remote-secret-{name}", {name: kubeconfig(name, context, user=user)}, labels=labels, annotations=annotations, **parts)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Dumps of a mesh by the rules of setup-mesh.sh, with certificates as its Makefile made them: a folder per context."""
    shutil.copytree(DUMPS / "old", tmp_path / "dumps")
    makefile(tmp_path / "certs", tuple(OLD), "Example Org")
    for context in OLD:
        remotes = [old_remote(c) for c in OLD if c != context]
        dump(tmp_path / f"dumps/{context}/secrets.yaml", cacerts(tmp_path / f"certs/intermediate-{context}"), *remotes)
    return tmp_path


def intermediate(folder: Path, name: str) -> None:
    """An intermediate as `make NAME-cacerts` of today's tools/certs makes it, by the root of that folder."""
    inner = folder / name
    inner.mkdir()
    (inner / "x.conf").write_text(f"[req]\nprompt=no\ndistinguished_name=dn\n[dn]\nO=Istio\nCN=Intermediate CA\nL={name}\n")
    extensions = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nbasicConstraints=critical,CA:true,pathlen:0\n"
    extensions += "keyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment,keyCertSign\nsubjectAltName=DNS:istiod.istio-system.svc\n"
    (inner / "x.ext").write_text(extensions)
    openssl("genpkey", "-algorithm", *P256, "-out", "ca-key.pem", cwd=inner)
    openssl("req", "-new", "-config", "x.conf", "-key", "ca-key.pem", "-out", "x.csr", cwd=inner)
    signed = ("x509", "-req", "-days", 3650, "-CA", "../root.pem", "-CAkey", "../root.key", "-extfile", "x.ext", "-in", "x.csr", "-out", "ca-cert.pem")
    openssl(*signed, cwd=inner)
    (inner / "root-cert.pem").write_bytes((folder / "root.pem").read_bytes())
    (inner / "cert-chain.pem").write_bytes((inner / "ca-cert.pem").read_bytes() + (folder / "root.pem").read_bytes())


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
        dump(tmp_path / f"dumps/{context}/secrets.yaml", cacerts(tmp_path / "ca" / context), *others)
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
            assert (old / f"mesh/certs/intermediate-{name}/{part}").read_bytes() == (old / f"certs/intermediate-{context}/{part}").read_bytes()
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
