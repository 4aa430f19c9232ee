"""The view of a rendered tree: what it says of every golden tree, and what it says of a tree that somebody broke."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kubectl_mesh.observed import TreeReader, read_mesh_state
from kubectl_mesh.observed.mesh_state import MeshState
from kubectl_mesh.observed.tree_parser import exclude_paths
from kubectl_mesh.observed.tree_sources import convert_rendered_tree, read_tree
from tests.support.goldens import CASES, GOLDEN, rendered_tree

Tree = dict[str, dict[str, bytes | None]]


def tree(case: str) -> Tree:
    """A golden tree, read by nothing of ours."""
    top = rendered_tree(case)
    return {
        d.name: {p.relative_to(d).as_posix(): p.read_bytes() for p in d.rglob("*") if p.is_file()}
        for d in top.iterdir()
    }


def topology(case: str) -> dict[str, dict[str, object]]:
    """What the topology of a case says of each cluster, by name."""
    value = yaml.safe_load((GOLDEN / case / "in/topology.yaml").read_text())
    found = {}
    for context, entry in value["contexts"].items():
        name = entry.get("clusterName") or re.sub(r"[^a-z0-9]+", "-", str(context).lower()).strip(
            "-"
        )
        found[str(name)] = {"context": str(context), "mesh": value["mesh_id"], **entry}
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_tree_says_what_the_topology_asked_for(case: str) -> None:
    """Names, networks and namespaces, by each of the files that say them."""
    view = read_mesh_state(tree(case))
    assert view.problems == ()
    assert view.foreign_entries == ()
    wanted = topology(case)
    assert set(view.clusters) == set(wanted)
    for name, cluster in view.clusters.items():
        said = wanted[name]
        network, namespace = said["network"], said.get("namespace", "istio-system")
        assert cluster.network_label is not None
        assert cluster.network_label.value == network
        assert cluster.network_label.file == f"{name}/1-trust/namespace.yaml"
        assert {n.value for n in cluster.network_values} <= {network}
        assert {
            g.network
            for g in cluster.gateways
            if g.kind in ("Service", "chart gateway", "IstioOperator component")
        } <= {network, None}
        assert cluster.namespace is not None
        assert {cluster.namespace.value, *(n.value for n in cluster.namespace_values)} == {
            namespace
        }
        assert cluster.lock is not None
        assert {n.value for n in cluster.cluster_names} == (
            set() if cluster.lock.contents.pending else {name}
        )
        assert {m.value for m in cluster.mesh_ids} == {said["mesh"]}
        assert (cluster.lock.contents.context, cluster.lock.contents.cluster) == (
            said["context"],
            name,
        )
        assert (
            cluster.lock.edited_files,
            cluster.lock.missing_files,
            cluster.lock.foreign_files,
        ) == ((), (), ())


@pytest.mark.parametrize("case", CASES)
def test_trust_is_what_the_certificates_say(case: str) -> None:
    """In clear: the certificates themselves, and the lock says the same; else what the lock and the recipients say."""
    for name, cluster in read_mesh_state(tree(case)).clusters.items():
        trust, lock = cluster.cacerts, cluster.lock
        assert lock is not None
        assert trust.intermediate_fingerprint == lock.contents.intermediate
        folder = GOLDEN / case / "in/certs" / f"intermediate-{name}"
        if trust.store == "plain":
            assert trust.intermediate is not None
            assert (
                trust.intermediate.fingerprint
                == lock.contents.intermediate
                == trust.chain[0].fingerprint
            )
            assert (
                tuple(r.fingerprint for r in trust.roots)
                == lock.contents.roots
                == trust.root_fingerprints
            )
            assert trust.root_pem == (folder / "root-cert.pem").read_bytes()
            assert trust.key is not None
        elif trust.store in ("sops", "sealed"):
            assert trust.intermediate is None
            assert trust.ciphertext is not None
            assert trust.root_fingerprints == lock.contents.roots != ()
            assert (trust.recipients, trust.sealed_for) == (
                lock.contents.recipients,
                lock.contents.sealed_for,
            )
            assert trust.recipients or trust.sealed_for
        elif trust.store in ("external", "cert-manager", "istio-csr"):
            assert trust.issuer
        else:
            assert lock.contents.served_by or lock.contents.pending
            assert trust.store == "none"


@pytest.mark.parametrize("case", CASES)
def test_remote_secrets_are_what_the_kubeconfigs_say(case: str) -> None:
    """Key, name and annotation are the peer; server and CA are those of the lock; the edges are the files that are there."""
    source = tree(case)
    view = read_mesh_state(source)
    for directory in (*view.clusters.values(), *view.shared_directories.values()):
        for secret in directory.remote_secrets:
            assert (secret.name, secret.cluster_annotation, secret.has_label) == (
                f"istio-remote-secret-{secret.peer}",
                secret.peer,
                True,
            )
            assert secret.source is not None
            assert (secret.server, secret.ca_digest, secret.tls_server_name) == (
                secret.source.server,
                secret.source.ca,
                secret.source.tls_name,
            )
            assert secret.file in (
                f"{directory.name}/3-mesh/remote-secrets/{secret.peer}.yaml",
                f"_remote-secrets/{secret.peer}.yaml",
            )
            assert (secret.login_kind is None) == (secret.store in ("sops", "sealed"))
            assert (secret.login_digest is not None) == (
                secret.store == "plain" and secret.login_kind != "exec"
            )
    if "_remote-secrets" in source:
        assert view.discovery_edges == {
            (a, b) for a in view.clusters for b in view.clusters if a != b
        }
    else:
        assert view.discovery_edges == {
            (name, Path(path).stem)
            for name, files in source.items()
            for path in files
            if "/remote-secrets/" in path and not path.endswith("n.yaml")
        }


@pytest.mark.parametrize("case", CASES)
def test_releases_and_gateways(case: str) -> None:
    """Every cluster has a control plane, and where there are several networks a gateway or what stands for it."""
    view = read_mesh_state(tree(case))
    for cluster in view.clusters.values():
        assert cluster.lock is not None
        if cluster.lock.contents.pending:
            continue
        assert cluster.releases
        kinds = {c.kind for c in cluster.control_plane}
        assert cluster.lock.contents.control_plane in kinds
        assert all(c.version for c in cluster.releases) == (
            cluster.lock.contents.control_plane not in ("IstioOperator", "IstioControlPlane")
        )
        assert cluster.reader_accounts or not {b for _, b in view.discovery_edges} & {cluster.name}
    if len({c.network for c in view.clusters.values()}) > 1:
        assert any(c.gateways for c in view.clusters.values())


def test_a_canary_and_what_is_declared() -> None:
    """Two releases with their revisions; addresses with their ports; a gateway that stands for another network's."""
    canary = read_mesh_state(tree("canary")).clusters["east"]
    assert {(r.version, r.revision) for r in canary.releases} == {
        ("1.29.10", "1-29-10"),
        ("1.31.3", "1-31-3"),
    }
    seed = read_mesh_state(tree("seed")).clusters["context-east-1"]
    declared = {
        g.name: (g.addresses, g.registries) for g in seed.gateways if g.kind == "meshNetworks"
    }
    assert declared["network-west"] == ((("198.51.100.99", 443),), ("context-west-1",))
    assert declared["network-east"][1] == ("Kubernetes", "context-east-2")
    ambient = read_mesh_state(tree("declared-ambient")).clusters["east"]
    assert [(g.network, g.addresses) for g in ambient.gateways if g.addresses] == [
        ("west", (("192.0.2.21", 15008),))
    ]
    remote = read_mesh_state(tree("primary-remote")).clusters["west"]
    assert remote.served_by is not None
    assert remote.served_by.value == "east"


def secrets_of(case: str) -> list[bytes]:
    """The private keys and tokens of a case, as they stand and in base64, in pieces of a line."""
    found = []
    for path in [
        *(GOLDEN / case / "in").rglob("*key.pem"),
        *(GOLDEN / case / "in").rglob("*.token"),
    ]:
        body = path.read_bytes()
        for piece in (
            [body.strip(), *body.splitlines()]
            if path.suffix == ".token"
            else body.splitlines()[1:-1]
        ):
            found += [
                piece,
                base64.b64encode(piece)[:-4],
                piece.hex().encode(),
                hashlib.sha256(piece).hexdigest().encode(),
            ]
        found += [base64.b64encode(body)[:-4], hashlib.sha256(body).hexdigest().encode()]
    return [f for f in found if len(f) > 7]


@pytest.mark.parametrize("case", CASES)
def test_nothing_secret_is_in_a_repr(case: str) -> None:
    """No key, token or ciphertext, nor the digest of one, in what a debugger would print."""
    view = read_mesh_state(tree(case))
    text = repr(view).encode()
    for secret in secrets_of(case):
        assert secret not in text
    for body in (b for files in tree(case).values() for b in files.values() if b is not None):
        for cipher in re.findall(
            rb"ENC\[AES256_GCM,data:([^,]{20,})|^ +[^ :]+: \"(Ag[A-Za-z0-9+/]{40,})",
            body,
            re.MULTILINE,
        ):
            assert (cipher[0] or cipher[1]) not in text
    for directory in (*view.clusters.values(), *view.shared_directories.values()):
        for secret in directory.remote_secrets:
            assert secret.kubeconfig_digest.digest not in text
            assert repr(secret.kubeconfig_digest.digest)[2:-1] not in text.decode()


@pytest.mark.parametrize("case", CASES)
def test_disk_and_memory_say_the_same(case: str) -> None:
    """Read through descriptors, or as a render would hand it over."""
    assert read_tree(str(rendered_tree(case))) == tree(case)
    reader = TreeReader()
    assert (
        reader.read_state(read_tree(str(rendered_tree(case))))
        == reader.read_state(tree(case))
        == read_mesh_state(tree(case))
    )
    assert convert_rendered_tree({}) == {}


@pytest.mark.parametrize("case", ["two-networks", "sops", "external", "argocd", "seed"])
def test_formatting_is_not_what_a_file_says(case: str) -> None:
    """Order of keys, quotes and comments leave the digests of objects as they are; one other value does not."""
    before, source = read_mesh_state(tree(case)), tree(case)
    for files in source.values():
        for path, body in files.items():
            if path.endswith(".yaml") and body is not None:
                files[path] = (
                    b"# by hand\n"
                    + yaml.dump(
                        yaml.safe_load(body),
                        default_style='"' if b"port" not in body else None,
                        sort_keys=True,
                    ).encode()
                )
    after = read_mesh_state(source)
    assert after.problems == ()
    for one, other in zip(
        (*before.clusters.values(), *before.shared_directories.values()),
        (*after.clusters.values(), *after.shared_directories.values()),
        strict=True,
    ):
        assert [o.digest for o in one.objects] == [o.digest for o in other.objects]
        assert one.remote_secrets == other.remote_secrets
        assert other.lock is not None
        assert other.lock.edited_files != ()
    name = next(iter(before.clusters))
    body = source[name]["1-trust/namespace.yaml"]
    assert body is not None
    source[name]["1-trust/namespace.yaml"] = body.replace(
        b"topology.istio.io/network", b"topology.istio.io/net"
    )
    changed = read_mesh_state(source).clusters[name]
    assert changed.network_label is None
    assert [o.digest for o in changed.objects] != [o.digest for o in before.clusters[name].objects]


BROKEN: dict[str, tuple[Callable[[dict[str, bytes | None]], object], str]] = {
    "no YAML": (
        lambda f: f.update({"2-control-plane/istio.yaml": b"a: [1"}),
        "west/2-control-plane/istio.yaml: is not YAML (line 2)",
    ),
    "a key twice": (
        lambda f: f.update({"1-trust/namespace.yaml": b"kind: Namespace\nkind: Secret\n"}),
        "west/1-trust/namespace.yaml: is not YAML (line 1)",
    ),
    "an alias": (
        lambda f: f.update({"1-trust/namespace.yaml": b"a: &a [1]\nb: [*a, *a]\n"}),
        "west/1-trust/namespace.yaml: holds a YAML alias, which no manifest of ours has",
    ),
    "deep": (
        lambda f: f.update({"1-trust/namespace.yaml": b"[" * 5000}),
        "west/1-trust/namespace.yaml: is not YAML",
    ),
    "not a mapping": (
        lambda f: f.update({"1-trust/cacerts.yaml": b"- 1\n"}),
        'west/1-trust/cacerts.yaml: data."ca-cert.pem": ca-cert.pem is missing',
    ),
    "no bytes of text": (
        lambda f: f.update({"1-trust/namespace.yaml": b"\xff\xfe\x00"}),
        "west/1-trust/namespace.yaml: is not YAML",
    ),
    "a link": (
        lambda f: f.update({"1-trust/namespace.yaml": None}),
        "west/1-trust/namespace.yaml: is not a regular file",
    ),
    "no base64": (
        lambda f: f.update(
            {
                "3-mesh/remote-secrets/east.yaml": re.sub(
                    rb"east: \".*\"", b'east: "*"', f["3-mesh/remote-secrets/east.yaml"] or b""
                )
            }
        ),
        "west/3-mesh/remote-secrets/east.yaml: data.east: is not base64",
    ),
    "no kubeconfig": (
        lambda f: f.update(
            {
                "3-mesh/remote-secrets/east.yaml": re.sub(
                    rb"east: \".*\"", b"east: MQ==", f["3-mesh/remote-secrets/east.yaml"] or b""
                )
            }
        ),
        "west/3-mesh/remote-secrets/east.yaml: data.east: holds no mapping",
    ),
    "no certificate": (
        lambda f: f.update(
            {
                "1-trust/cacerts.yaml": re.sub(
                    rb"root-cert.pem: .*", b"root-cert.pem: MQ==", f["1-trust/cacerts.yaml"] or b""
                )
            }
        ),
        'west/1-trust/cacerts.yaml: data."root-cert.pem": is not made of PEM certificates as istiod reads them',
    ),
    "a damaged lock": (lambda f: f.update({"mesh.lock": b"{"}), "west/mesh.lock: is damaged"),
    "another lock": (
        lambda f: f.update({"mesh.lock": json.dumps({"files": []}).encode()}),
        "west/mesh.lock: is damaged",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_malformed_is_told_and_the_rest_is_read(kind: str) -> None:
    """A sentence with the file; the other cluster is as it was."""
    source = tree("two-networks")
    change, wanted = BROKEN[kind]
    change(source["west"])
    view = read_mesh_state(source)
    assert any(str(p).startswith(wanted) for p in view.problems), view.problems
    assert all(p.fix for p in view.problems)
    assert view.clusters["east"] == read_mesh_state(tree("two-networks")).clusters["east"]


def test_what_is_missing_edited_or_foreign_is_told_by_the_lock() -> None:
    """And a tree without locks is read all the same; an empty one too."""
    source = tree("two-networks")
    del source["west"]["1-trust/cacerts.yaml"]
    source["west"]["notes.txt"] = b"mine"
    source["west"]["1-trust/namespace.yaml"] = (
        source["west"]["1-trust/namespace.yaml"] or b""
    ) + b"# mine\n"
    source["docs"] = {"a.md": b"mine"}
    source[""] = {"README": b"mine"}
    view = read_mesh_state(source)
    west = view.clusters["west"]
    assert west.lock is not None
    assert (west.lock.edited_files, west.lock.missing_files, west.lock.foreign_files) == (
        ("1-trust/namespace.yaml",),
        ("1-trust/cacerts.yaml",),
        ("notes.txt",),
    )
    assert view.foreign_entries == ("README", "docs")
    assert west.cacerts.store == "none"
    del source["west"]["mesh.lock"]
    assert read_mesh_state(source).clusters["west"].lock is None
    assert read_mesh_state(source).clusters["west"].network_label == west.network_label
    assert read_mesh_state({}) == MeshState({}, {})


def test_only_what_is_asked_for_is_read() -> None:
    """Directories, and files in them."""
    view = read_mesh_state(tree("two-networks"), {"west": {"3-mesh/remote-secrets/east.yaml"}})
    assert list(view.clusters) == ["west"]
    assert [o.name for o in view.clusters["west"].objects] == ["istio-remote-secret-east"]
    assert view.discovery_edges == {("west", "east")}


@pytest.mark.parametrize("case", ["argocd", "seed", "declared-ambient", "external"])
def test_fields_are_the_same_asked_for_one_by_one_or_all_at_once(case: str) -> None:
    """A path that is looked up before the rest is made gives what it gives afterwards, and what is left out is left out."""
    one, other = (read_mesh_state(tree(case)) for _ in range(2))
    for a, b in zip(one.clusters.values(), other.clusters.values(), strict=True):
        for x, y in zip(a.objects, b.objects, strict=True):
            everything = dict(x.fields)
            assert all(y.fields[path] == value for path, value in everything.items())
            for path in (
                "spec",
                "nothing",
                "metadata.nothing.name",
                "spec.servers[0]",
                'metadata.labels."no"',
            ):
                assert (path in y.fields) == (path in everything)
            left = exclude_paths(y.fields, "metadata")
            assert dict(left) == {
                p: v for p, v in everything.items() if not p.startswith("metadata.")
            }
            assert "metadata.name" not in left
            assert (left == y.fields) == (dict(left) == everything)


def test_a_secret_is_in_no_field_however_it_is_kept() -> None:
    """What kubectl keeps of a Secret in an annotation, and lists of Secrets, are not among the fields that a diff shows."""
    hidden = base64.b64encode(b"correct-horse").decode()
    kept = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps(
            {"kind": "Secret", "data": {"token": hidden}}
        ),
        "team": "mesh",
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "x", "annotations": kept},
        "data": {"token": hidden},
    }
    listed = {"apiVersion": "v1", "kind": "SecretList", "items": [secret]}
    files = {
        f"3-mesh/{n}.yaml": yaml.safe_dump(v).encode()
        for n, v in enumerate((secret, listed, {**listed, "kind": "List"}))
    }
    seen = read_mesh_state({"east": files}).clusters["east"].objects
    assert [o.kind for o in seen] == ["Secret", "SecretList", "List"]
    assert all(hidden not in str(dict(o.fields)) for o in seen)
    assert dict(seen[0].fields)["metadata.annotations.team"] == "mesh"
