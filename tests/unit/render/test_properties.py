"""Properties over random valid topologies, and that no key or token ever shows."""

import base64
import json
import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubectl_mesh import cli
from kubectl_mesh.cli import clock
from kubectl_mesh.model import Pki, Plan, Server, Tree
from kubectl_mesh.operations import build
from kubectl_mesh.operations.checked_inputs import load_inputs
from kubectl_mesh.pki.issue import issue_pki
from kubectl_mesh.pki.profile import CertificateProfile
from kubectl_mesh.plan import KnownClusters
from kubectl_mesh.plan import build_plan as make_plan
from kubectl_mesh.render import RenderInputs, render_tree
from kubectl_mesh.stores.plain import Plain
from kubectl_mesh.targets import KINDS
from kubectl_mesh.topology.names import derive_cluster_name
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load_document
from kubectl_mesh.yaml_io.templates import Manifests
from kubectl_mesh.yaml_io.write import dump_yaml
from tests.conftest import SEED, Run, WorkDir

CA = base64.b64decode(
    yaml.safe_load((SEED / "kubeconfig.yaml").read_text())["clusters"][0]["cluster"][
        "certificate-authority-data"
    ]
)
ODD = [
    "no",
    "y",
    "001",
    "1e3",
    "0x1F",
    "null",
    "on",
    "12:30",
    "arn:aws:eks:us-east-1:1:cluster/x",
    "admin@talos.edge-7",
    "Ünïcode",
    'quo"te',
    "a b",
    "~",
]
contexts = st.one_of(
    st.sampled_from(ODD),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9@:/_. -]{0,20}[A-Za-z0-9]", fullmatch=True),
)
networks = st.sampled_from(["east", "west", "no", "001", "1e3", "Net.A_b"])


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, object]:
    """Valid topologies of one to eight clusters, with everything that the target renders."""
    names = draw(
        st.lists(contexts, min_size=1, max_size=8, unique_by=derive_cluster_name).filter(
            lambda cs: all(derive_cluster_name(c) for c in cs)
        )
    )
    entries: dict[str, dict[str, object]] = {}
    for name in names:
        entry: dict[str, object] = {
            "network": draw(networks),
            "server": f"https://{draw(st.sampled_from(['[2001:db8::1]', '192.0.2.1', 'api.example']))}:6443",
        }
        if draw(st.booleans()):
            entry["disableRegistryJoin"] = draw(st.booleans())
        if draw(st.integers(0, 3)) == 0:
            entry["serviceAccountReader"] = draw(st.sampled_from(["reader", "no", "1e3"]))
        if draw(st.integers(0, 3)) == 0:
            entry["namespace"] = draw(st.sampled_from(["mesh", "no", "1e3"]))
        if draw(st.integers(0, 2)) == 0:
            entry["gateways"] = [{"address": f"203.0.113.{len(entries)}"}]
        entries[name] = entry
    for name, entry in entries.items():
        others = [n for n in names if n != name and not entries[n].get("disableRegistryJoin")]
        if others and not entry.get("disableRegistryJoin") and draw(st.integers(0, 2)) == 0:
            entry["peers"] = draw(st.lists(st.sampled_from(others), unique=True))
    return {"mesh_id": draw(st.sampled_from(["mesh", "no", "001"])), "contexts": entries}


KEPT: dict[str, bytes] = {}


def made(value: dict[str, object]) -> tuple[Plan, Pki, Tree]:
    """The stages from a topology's text to its tree, with tokens for every cluster; keys are made once for each name."""
    topology = validate_document(
        load_document("topology.yaml", dump_yaml(value).encode()),
        assets.load_schema("topology.schema.json"),
    )
    servers = {c.name: Server(c.server or "", CA) for c in topology.clusters}
    tokens = {(c.name, ""): {"token": f"token-of-{c.name}"} for c in topology.clusters}
    target = KINDS["IstioControlPlane"]
    plan = make_plan(topology, target.plan_traits(topology), KnownClusters(servers, tokens))
    pki = issue_pki(
        CertificateProfile(
            "test", "ec-p256", 3650, 730, {c.name: c.namespace for c in topology.clusters}
        ),
        KEPT,
        clock.read_clock(),
    )
    KEPT.update(pki.new_files)
    return (
        plan,
        pki,
        render_tree(RenderInputs(plan, {}, pki, target), Manifests(assets.template_text), Plain()),
    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(topologies(), st.randoms(use_true_random=False))
def test_topologies(value: dict[str, object], random: object) -> None:
    """Order is irrelevant; twice is the same; n clusters hold n(n-1) remote secrets less those that are off or no peers; everyone's name is the same everywhere."""
    plan, _, tree = made(value)
    entries: dict[str, dict[str, object]] = value["contexts"]  # type: ignore[assignment]
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert made({**value, "contexts": {name: entries[name] for name in shuffled}})[2] == tree
    joined = {n for n, e in entries.items() if not e.get("disableRegistryJoin")}
    for context, entry in entries.items():
        name = derive_cluster_name(context)
        expected = set()
        if context in joined:
            expected = {derive_cluster_name(p) for p in entry.get("peers", joined - {context})}  # type: ignore[union-attr]
        remotes = {
            p.removeprefix("3-mesh/remote-secrets/").removesuffix(".yaml")
            for p in tree[name]
            if "remote-secrets" in p
        }
        assert remotes == expected
        assert set(plan.members[name].peers) == expected
        for path, file in tree[name].items():
            if path.endswith(".yaml"):
                parsed = yaml.safe_load(file.body)
                assert parsed["kind"]
                if "namespace" in parsed["metadata"] if "metadata" in parsed else False:
                    assert parsed["metadata"]["namespace"] in (
                        entry.get("namespace", "istio-system"),
                        "istio-operator",
                    )
        control = yaml.safe_load(tree[name]["2-control-plane/istiocontrolplane.yaml"].body)["spec"][
            "values"
        ]
        assert control["global"]["multiCluster"]["clusterName"] == name
        assert (
            control["global"]["network"]
            == entry["network"]
            == control["gateways"]["istio-ingressgateway"]["env"]["ISTIO_MESH_NETWORK"]
        )
        assert control["global"]["meshNetworks"] == control["pilot"]["meshNetworks"]
        if context in joined:
            seen = [
                e["fromRegistry"]
                for n in control["global"]["meshNetworks"]["networks"].values()
                for e in n["endpoints"]
            ]
            assert sorted(seen) == sorted([*expected, "Kubernetes"])
            own = control["global"]["meshNetworks"]["networks"][entry["network"]]["endpoints"]
            assert {"fromRegistry": "Kubernetes"} in own
        else:
            assert control["global"]["meshNetworks"] == {}
        lock = json.loads(tree[name]["mesh.lock"].body)
        assert lock["files"] == {
            path: file.digest for path, file in tree[name].items() if path != "mesh.lock"
        }


def forms(secret: bytes) -> set[bytes]:
    """A secret's own text, its base64 at every offset, and its hex."""
    found = {secret, secret.hex().encode()}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret)
        found.add(encoded[4:-4] if shift else encoded[:-4])
    return found


def secrets_of(mesh: Path) -> set[bytes]:
    """Every line of every private key and every token, in all its forms."""
    found: set[bytes] = set()
    for path in mesh.rglob("*key.pem"):
        for line in path.read_bytes().splitlines():
            if not line.startswith(b"-----") and len(line) > 20:
                found |= forms(line)
    for path in mesh.rglob("*.token"):
        found |= forms(path.read_bytes().strip())
    return found


def test_no_secret_shows(workdir: "object", run: Run) -> None:
    """In no output of any verb, in no error, in no repr: not a line of a key, not a token, in no form."""
    mesh: WorkDir = workdir(tokens=True)  # type: ignore[operator]
    for name in ("context-east-1", "context-east-2", "context-west-1"):
        mesh.token(
            name, f"eyJhbGciOiJub25lIn0.eyJtYWRlIjoidXAifQ.{'made-up-token-of-' + name:_<40}"
        )
    texts = []
    for words in (
        ["render"],
        ["render", "-o", "json"],
        ["check"],
        ["describe"],
        ["describe", "-o", "json"],
        ["teardown"],
        ["check", "-o", "json"],
    ):
        ran = run(*words, cwd=mesh)
        assert ran.code == 0, (words, ran.err)
        texts.append(ran.out + ran.err)
    inputs = load_inputs(str(mesh), None, clock.read_machine())
    rendered = build.build_mesh(inputs, clock.read_clock(), str(mesh / "out"))
    texts += [
        repr(inputs),
        repr(rendered),
        repr(rendered.plan),
        repr(rendered.pki),
        repr(rendered.tree),
        repr(
            issue_pki(CertificateProfile("t", "ec-p256", 9, 9, {"a": "b"}), {}, clock.read_clock())
        ),
    ]
    secrets = secrets_of(mesh.path)
    assert len(secrets) > 30
    # What breaks on the way must not show one either.
    for name in ("context-east-1", "context-west-1"):
        key = mesh / f"certs/intermediate-{name}/ca-key.pem"
        for broken in (
            key.read_text().replace("PRIVATE KEY", "PUBLIC KEY"),
            key.read_text()[:-40],
            key.read_text() * 2 + "x",
            "-----BEGIN PRIVATE KEY-----\n" + key.read_text(),
        ):
            before = key.read_text()
            key.write_text(broken)
            for words in (["render"], ["check"], ["describe"]):
                ran = run(*words, cwd=mesh)
                texts.append(ran.out + ran.err)
            key.write_text(before)
    token = mesh / "credentials/context-east-2.token"
    good = token.read_text()
    for wrong in (
        f"{good} {good}",
        f"{good}\n{good}\n",
        base64.b64encode(good.encode()).decode(),
        f"Bearer {good}",
        f'"{good}"',
    ):
        token.write_text(wrong)
        ran = run("render", cwd=mesh)
        assert ran.code == 2
        texts.append(ran.err + ran.out)
    token.write_text(good)
    for field, value in (
        ("server", good),
        ("clusterName", good),
        ("namespace", good),
        ("certificateAuthority", (mesh / "certs/root-key.pem").read_text()),
        (good, "x"),
        ("network", [good]),
    ):
        kept = (mesh / "topology.yaml").read_text()
        mesh.topology({"contexts": {"context-east-2": {field: value}}})
        ran = run("render", cwd=mesh)
        assert ran.code == 2, field
        if field != good:  # the name of a field is shown; nobody puts a secret there
            texts.append(ran.err + ran.out)
        mesh.write("topology.yaml", kept)
    whole = "\n".join(texts).encode()
    assert not [s for s in secrets if s in whole]


def test_rendered_secrets_are_found_by_the_search_above(workdir: "object", run: Run) -> None:
    """The search of the test above does find what the plain store writes: else it would prove nothing."""
    mesh: WorkDir = workdir(tokens=True)  # type: ignore[operator]
    assert run("render", cwd=mesh).code == 0
    secrets = secrets_of(mesh.path)
    cacerts = base64.b64decode(
        re.search(
            rb"ca-key.pem: \"?([^\"\n]+)",
            (mesh / "out/context-east-1/1-trust/cacerts.yaml").read_bytes(),
        )[1]
    )  # type: ignore[index]
    assert [s for s in secrets if s in cacerts]
    ((_, data),) = yaml.safe_load(
        (mesh / "out/context-east-1/3-mesh/remote-secrets/context-west-1.yaml").read_bytes()
    )["data"].items()
    assert [s for s in secrets if s in base64.b64decode(data)]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_umask_matters_to_public_files_only(umask: int) -> None:
    """Whatever the umask, a private file is 0600 and nothing is for others to write."""
    import os

    before = os.umask(umask)
    try:
        with tempfile.TemporaryDirectory() as folder:
            mesh = Path(folder)
            for name in ("topology.yaml", "kubeconfig.yaml"):
                (mesh / name).write_bytes((SEED / name).read_bytes())
            (mesh / "topology.yaml").write_text(
                (mesh / "topology.yaml").read_text() + "certificates: {keyType: ec-p256}\n"
            )
            assert cli.run_command(["render", "-C", folder]) == 0
            for path in [*(mesh / "out").rglob("*"), *(mesh / "certs").rglob("*")]:
                mode = path.stat().st_mode & 0o777
                assert not mode & 0o022, path
                if path.name in ("cacerts.yaml", "ca-key.pem", "root-key.pem"):
                    assert mode == 0o600, path
    finally:
        os.umask(before)
