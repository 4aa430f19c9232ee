"""Ways to break a mesh: what somebody does to a rendered tree or to a working directory, and what `check` has to say of it."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kubectl_mesh import targets
from kubectl_mesh.pki.certificate_builder import (
    Issuer,
    build_intermediate,
    build_root,
    dump_key,
    generate_keys,
)
from kubectl_mesh.pki.profile import CertificateProfile
from tests.conftest import SEED, WorkDir

NAMES = ("a", "b", "c", "d", "e", "f")
FOREVER = "made-up-token-of-"
Break = Callable[[WorkDir], object]


def make(
    mesh: WorkDir, kind: str = "Istio", names: tuple[str, ...] = NAMES, version: str = "1.31.3"
) -> WorkDir:
    """Six clusters on three networks, everything there that a render needs."""
    contexts = {
        name: {"network": f"net-{index // 2}", "server": f"https://192.0.2.{index + 1}:6443"}
        for index, name in enumerate(names)
    }
    value: dict[str, Any] = {
        "mesh_id": "acme",
        "certificates": {"keyType": "ec-p256"},
        "contexts": contexts,
    }
    if kind == "IstioControlPlane":
        value["networks"] = {
            f"net-{i}": {"gateways": [{"address": f"198.51.100.{i + 1}"}]}
            for i in range((len(names) + 1) // 2)
        }
    mesh.write("topology.yaml", yaml.safe_dump(value, sort_keys=False))
    mesh.write("base.yaml", targets.KINDS[kind].STARTER.replace("1.31.3", version))
    authority = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())["clusters"][0]["cluster"][
        "certificate-authority-data"
    ]
    for name in names:
        mesh.write(f"clusters/{name}.crt", base64.b64decode(authority))
        mesh.token(name, FOREVER + name)
    return mesh


def edit(mesh: WorkDir, path: str, change: Callable[[Any], object]) -> None:
    """Changes a manifest of the tree as by hand."""
    file = mesh / f"out/{path}"
    value = yaml.safe_load(file.read_text())
    change(value)
    file.write_text(yaml.safe_dump(value, sort_keys=False))


def relock(mesh: WorkDir) -> None:
    """Makes every lock list what lies beside it: whoever broke the tree covered the tracks."""
    for lock in (mesh / "out").glob("*/mesh.lock"):
        value = json.loads(lock.read_text())
        files = sorted(p for p in lock.parent.rglob("*") if p.is_file() and p != lock)
        listed = {
            p.relative_to(lock.parent).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in files
        }
        if listed != value["files"]:
            lock.write_text(json.dumps({**value, "files": listed}, indent=2))


def _b64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def cacerts(mesh: WorkDir, name: str, **files: bytes) -> None:
    """Puts other files into the cacerts of a cluster; `_` stands for `-`, and `.pem` is added."""
    edit(
        mesh,
        f"{name}/1-trust/cacerts.yaml",
        lambda v: v["data"].update(
            {f"{k.replace('_', '-')}.pem": _b64(b) for k, b in files.items()}
        ),
    )


def remote(
    mesh: WorkDir, holder: str, peer: str, change: Callable[[dict[str, Any]], object]
) -> None:
    """Changes the kubeconfig in a remote secret."""

    def inside(value: dict[str, Any]) -> None:
        config = yaml.safe_load(base64.b64decode(value["data"][peer]))
        change(config)
        value["data"][peer] = _b64(yaml.safe_dump(config, sort_keys=False).encode())

    edit(mesh, f"{holder}/3-mesh/remote-secrets/{peer}.yaml", inside)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def root_of(mesh: WorkDir) -> tuple[x509.Certificate, Any]:
    """The mesh's root and its key."""
    key = serialization.load_pem_private_key((mesh / "certs/root-key.pem").read_bytes(), None)
    return x509.load_pem_x509_certificate((mesh / "certs/root-cert.pem").read_bytes()), key


def wanted(name: str, days: int = 30) -> CertificateProfile:
    """How a certificate for a cluster is wanted."""
    return CertificateProfile("acme", "ec-p256", 3650, days, {name: "istio-system"})


def wrong_root(mesh: WorkDir, name: str) -> None:
    """Another root in the place of the mesh's."""
    key = generate_keys("ec-p256", [], True, lambda done, of: None)[""]
    cacerts(mesh, name, root_cert=_pem(build_root(wanted(name), key, datetime.now(UTC))))


def swapped(mesh: WorkDir, one: str, other: str) -> None:
    """The cacerts of two clusters exchanged."""
    paths = [mesh / f"out/{name}/1-trust/cacerts.yaml" for name in (one, other)]
    bodies = [p.read_bytes() for p in paths]
    paths[0].write_bytes(bodies[1])
    paths[1].write_bytes(bodies[0])


def reissued(mesh: WorkDir, name: str, start: timedelta, days: int) -> None:
    """An intermediate with another life, under the mesh's own root, which is backdated for it in tree and certs alike."""
    root, root_key = root_of(mesh)
    key = generate_keys("ec-p256", [name], False, lambda done, of: None)[name]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        extensions=list(
            build_intermediate(wanted(name), name, key, Issuer(root, root_key), now).extensions
        )
    )
    made = build_intermediate(wanted(name), name, key, Issuer(root, root_key), now)
    builder = (
        builder.subject_name(made.subject)
        .issuer_name(made.issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )
    certificate = (
        builder.not_valid_before(now + start)
        .not_valid_after(now + start + timedelta(days=days))
        .sign(root_key, hashes.SHA256())
    )
    cacerts(
        mesh,
        name,
        ca_cert=_pem(certificate),
        ca_key=dump_key(key),
        cert_chain=_pem(certificate) + _pem(root),
    )


def expired(mesh: WorkDir, name: str) -> None:
    """An intermediate that ended yesterday."""
    reissued(mesh, name, timedelta(days=-31), 30)


def deleted(mesh: WorkDir, holder: str, peer: str, *, listed: bool = False) -> None:
    """A remote secret taken away, and out of the list that kustomize follows."""
    (mesh / f"out/{holder}/3-mesh/remote-secrets/{peer}.yaml").unlink()
    if not listed:
        edit(
            mesh,
            f"{holder}/3-mesh/kustomization.yaml",
            lambda v: v["resources"].remove(f"remote-secrets/{peer}.yaml"),
        )


def doubled(mesh: WorkDir, holder: str, peer: str) -> None:
    """A second remote secret for a cluster, applied too."""
    source = mesh / f"out/{holder}/3-mesh/remote-secrets/{peer}.yaml"
    value = yaml.safe_load(source.read_text())
    value["metadata"]["name"] += "-new"
    (source.parent / f"{peer}-new.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    edit(
        mesh,
        f"{holder}/3-mesh/kustomization.yaml",
        lambda v: v["resources"].append(f"remote-secrets/{peer}-new.yaml"),
    )


def extra(mesh: WorkDir, holder: str) -> None:
    """A remote secret for a cluster that nobody knows."""
    source = next((mesh / f"out/{holder}/3-mesh/remote-secrets").glob("*.yaml"))
    body = (
        source.read_text()
        .replace(f'-{source.stem}"', '-gone"')
        .replace(f'"{source.stem}"', '"gone"')
        .replace(f"-{source.stem}\n", "-gone\n")
    )
    value = yaml.safe_load(body)
    value["data"] = {"gone": next(iter(value["data"].values()))}
    value["metadata"]["name"], value["metadata"]["annotations"]["networking.istio.io/cluster"] = (
        "istio-remote-secret-gone",
        "gone",
    )
    (source.parent / "gone.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    edit(
        mesh,
        f"{holder}/3-mesh/kustomization.yaml",
        lambda v: v["resources"].append("remote-secrets/gone.yaml"),
    )


def rekeyed(mesh: WorkDir, holder: str, peer: str) -> None:
    """The data key of a remote secret misspelt."""
    edit(
        mesh,
        f"{holder}/3-mesh/remote-secrets/{peer}.yaml",
        lambda v: v.update(data={f"{peer}{peer}": next(iter(v["data"].values()))}),
    )


def annotated(mesh: WorkDir, holder: str, peer: str, other: str) -> None:
    """The annotation of a remote secret says another cluster."""
    edit(
        mesh,
        f"{holder}/3-mesh/remote-secrets/{peer}.yaml",
        lambda v: v["metadata"]["annotations"].update({"networking.istio.io/cluster": other}),
    )


def labelled(mesh: WorkDir, name: str, network: str) -> None:
    """The label of a namespace edited."""
    edit(
        mesh,
        f"{name}/1-trust/namespace.yaml",
        lambda v: v["metadata"]["labels"].update({"topology.istio.io/network": network}),
    )


def valued(
    mesh: WorkDir, name: str, change: Callable[[dict[str, Any]], object], file: str = "istio"
) -> None:
    """The values of a control plane edited."""
    edit(mesh, f"{name}/2-control-plane/{file}.yaml", lambda v: change(v["spec"]["values"]))


def stale(mesh: WorkDir, name: str) -> None:
    """A file of an earlier render, left in the tree."""
    mesh.write(
        f"out/{name}/3-mesh/old-gateway.yaml",
        (mesh / f"out/{name}/3-mesh/reader-token.yaml").read_bytes(),
    )


def lines(path: Path) -> list[str]:
    """What may not be shown of a private file, line by line."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("-----")]
