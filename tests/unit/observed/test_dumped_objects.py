"""What is parsed in one place: objects of a tree and of a dump say the same, whoever asks."""

import base64
from typing import Any

import pytest
import yaml

from kubectl_mesh.credentials.api_servers import parse_contexts
from kubectl_mesh.errors import Place
from kubectl_mesh.model import CACERTS_PATH
from kubectl_mesh.observed import read_mesh_state
from kubectl_mesh.observed.dumped_control_planes import (
    HELM_VALUES,
    list_statements,
    parse_control_plane,
)
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.observed.dumped_remote_secrets import (
    is_dumped_remote_secret,
    parse_remote_secrets,
)
from kubectl_mesh.observed.kubeconfigs import Login
from kubectl_mesh.observed.signing_ca import parse_signing_ca
from kubectl_mesh.observed.tree_sources import read_tree
from kubectl_mesh.yaml_io.read import load_document
from tests.support.goldens import CASES, rendered_tree


def tree(case: str) -> dict[str, dict[str, bytes | None]]:
    return read_tree(str(rendered_tree(case)))


def found(file: str, body: bytes) -> list[DumpedObject]:
    return [DumpedObject("", Place(file), value) for value in yaml.safe_load_all(body) if value]


def untyped(body: bytes) -> Any:
    return load_document("", body, typed=False)


def test_there_are_cases() -> None:
    assert len(CASES) > 5


@pytest.mark.parametrize("case", CASES)
def test_a_tree_is_read_as_a_dump_is(case: str) -> None:
    """The same objects, read by the rules of trees and by those of dumps, state the same control planes and the same servers."""
    for name, cluster in read_mesh_state(tree(case)).clusters.items():
        files = tree(case)[name]
        dumped = {
            (path, o.name): o
            for path, body in files.items()
            if path.endswith(".yaml") and body
            for o in found(f"{name}/{path}", body)
        }
        for document in cluster.control_plane:
            plane = parse_control_plane(dumped[document.file.partition("/")[2], document.name])
            if plane is None:
                assert document.component in ("gateway", "eastwest")
                continue
            stated = {s.setting: s.value for s in list_statements(plane)}
            assert plane.component == document.component
            assert plane.kind != HELM_VALUES
            if (
                plane.is_istiod
                and document.version is not None
                and plane.kind != "IstioControlPlane"
            ):
                assert stated["version"] == document.version
            assert not plane.is_istiod or stated.get("revision") == document.revision
        for secret in cluster.remote_secrets:
            if secret.store != "plain":
                continue
            held = dumped[secret.file.partition("/")[2], secret.name]
            assert is_dumped_remote_secret(held)
            logins = {r.cluster_id: r.login for r in parse_remote_secrets(held, untyped)}
            login = logins[secret.peer]
            assert isinstance(login, Login)
            assert (login.server, login.tls_server_name) == (secret.server, secret.tls_server_name)


def test_the_names_of_cert_manager_come_first() -> None:
    """istiod takes tls.crt where there is one, so a tree that has both is read as istiod would, and as adopt reads it."""
    name, files = next(
        (name, files)
        for case in CASES
        for name, files in sorted(tree(case).items())
        if b"\n  ca-cert.pem: " in (files.get(CACERTS_PATH) or b"")
        and b"sops" not in files[CACERTS_PATH]
    )
    value = yaml.safe_load(files[CACERTS_PATH])
    stated = value["data"]
    stated |= {
        "tls.crt": stated["root-cert.pem"],
        "tls.key": stated["ca-key.pem"],
        "ca.crt": stated["root-cert.pem"],
    }
    changed = {**files, CACERTS_PATH: yaml.safe_dump(value).encode()}
    trust = read_mesh_state({name: changed}).clusters[name].cacerts
    authority = parse_signing_ca(DumpedObject("", Place(CACERTS_PATH), value))
    root = base64.b64decode(stated["root-cert.pem"])
    assert trust.files["ca-cert.pem"] == authority.files["ca-cert.pem"] == root
    assert {"ca-cert.pem", "ca-key.pem", "cert-chain.pem"} <= set(trust.other_keys)


def test_of_two_with_one_name_the_last_counts() -> None:
    """kubectl takes the last of two contexts, and of two clusters, that have one name; so does everything that reads a kubeconfig."""
    first, last = "https://first.example.com", "https://last.example.com"
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "east",
        "clusters": [{"name": "east", "cluster": {"server": s}} for s in (first, last)],
        "contexts": [{"name": "east", "context": {"cluster": "east", "user": "east"}}],
        "users": [{"name": "east", "user": {"token": "t"}}],
    }
    body = yaml.safe_dump(value).encode()
    assert parse_contexts(untyped(body))["east"].server == last
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "istio-remote-secret-east", "labels": {"istio/multiCluster": "true"}},
        "data": {"east": base64.b64encode(body).decode()},
    }
    [remote] = parse_remote_secrets(DumpedObject("", Place("dump.yaml"), secret), untyped)
    assert remote.login.server == last
    files = {"3-mesh/remote-secrets/east.yaml": yaml.safe_dump(secret).encode()}
    [seen] = read_mesh_state({"west": files}).clusters["west"].remote_secrets
    assert seen.server == last
