"""What Istio takes and a mesh does not survive: gateways without an address, ztunnel that istiod does not trust, readers, tags, versions."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_mesh import targets
from kubectl_mesh.targets import value_rules
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.yaml_io import read
from tests.conftest import Run, WorkDir
from tests.support.checked import check_results, page_data
from tests.support.starters import DELIVERIES, mesh

Make = Callable[..., WorkDir]
KINDS = tuple(DELIVERIES)
PATHS: Mapping[str, tuple[str, ...]] = {
    "Istio": ("spec", "values"),
    "IstioOperator": ("spec", "values"),
    "Application": ("spec", "source", "helm", "valuesObject"),
    "HelmRelease": ("spec", "values"),
}
CHART = {
    "Application": ("spec", "source", "chart"),
    "HelmRelease": ("spec", "chart", "spec", "chart"),
}
NODE_SELECTOR = "traffic.istio.io/nodeSelector"
NET = "network-west"


def put(value: dict[str, Any], path: tuple[str, ...], what: object) -> dict[str, Any]:
    """A mapping with something at a path."""
    inner = value
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner[path[-1]] = what
    return value


def base(
    kind: str, *settings: tuple[tuple[str, ...], object], documents: tuple[dict[str, Any], ...] = ()
) -> str:
    """A base.yaml of a kind with some of istiod's values, and more documents."""
    value = yaml.safe_load(targets.KINDS[kind].STARTER)
    for path, what in settings:
        put(value, path, what)
    return yaml.safe_dump_all([value, *documents])


def chart(kind: str, name: str, *settings: tuple[tuple[str, ...], object]) -> dict[str, Any]:
    """A document of base.yaml for a chart."""
    value = put({"apiVersion": targets.KINDS[kind].API_VERSION, "kind": kind}, CHART[kind], name)
    for path, what in settings:
        put(value, path, what)
    return value


def expect_refusal(run: Run, made: WorkDir, check: str) -> str:
    """What every command says of an error that `render` refuses: the same text."""
    found = check_results(run, made)[check]
    assert found["status"] == "error", found
    what = found["findings"][0]["what"]
    for words in (
        ("render",),
        ("render", "--check"),
        ("describe",),
        ("diff",),
        ("render", "--dry-run", "--strict"),
    ):
        ran = run(*words, cwd=made)
        assert ran.code == (1 if words == ("describe",) else 2), (words, ran.out)
        assert what in ran.err, (words, ran.err)
    assert run("check", cwd=made).code == 1
    assert check in {finding["id"] for finding in page_findings(run, made)}
    assert not (made / "out").exists()
    return str(what)


def page_findings(run: Run, made: WorkDir) -> list[dict[str, str]]:
    """What the page of `graph` has found, wherever it shows it."""
    data = page_data(run, made)
    return [f for part in (data, *data["clusters"], *data["networks"]) for f in part["findings"]]


def expect_success(run: Run, made: WorkDir, check: str) -> None:
    """No command objects."""
    found = check_results(run, made)[check]
    assert found["findings"] == []
    ran = run("render", cwd=made)
    assert ran.code == 0, ran.err


# Addresses of gateways


def gateway_mesh(path: Path, kind: str, over: Mapping[str, object]) -> WorkDir:
    """Two networks, one gateway each."""
    return mesh(path, "page", kind, over)


GATEWAYS = [
    *((kind, gateway) for kind in KINDS for gateway in (None, "Deployment", "Gateway")),
    *((kind, "Chart") for kind in ("Application", "HelmRelease")),
    ("IstioOperator", "IstioOperator"),
]


@pytest.mark.parametrize("service", ["NodePort", "ClusterIP"])
@pytest.mark.parametrize(("kind", "gateway"), GATEWAYS)
@pytest.mark.parametrize("where", ["mesh", "context"])
def test_a_gateway_without_an_address(
    where: str, kind: str, gateway: str | None, service: str, tmp_path: Path, run: Run
) -> None:
    """Refused for every target and kind of gateway; a stated address, or a way out, makes it right."""
    stated: dict[str, object] = {"serviceType": service, **({"kind": gateway} if gateway else {})}
    over: dict[str, Any] = (
        {"eastWestGateway": stated}
        if where == "mesh"
        else {"contexts": {"context-west-1": {"eastWestGateway": stated}}}
    )
    made = gateway_mesh(tmp_path / "mesh", kind, over)
    what = expect_refusal(run, made, "gateway-found")
    assert f"from a Service of type {service}" in what
    places = {f["path"] for f in check_results(run, made)["gateway-found"]["findings"]}
    assert places == {
        "eastWestGateway.serviceType"
        if where == "mesh"
        else "contexts.context-west-1.eastWestGateway.serviceType"
    }
    if gateway != "Gateway":
        networks = {
            n: {"gateways": [{"address": f"192.0.2.{i}"}]}
            for i, n in enumerate(("network-east", NET), 20)
        }
        made.topology({"networks": networks})
        expect_success(run, made, "gateway-found")


@pytest.mark.parametrize("kind", KINDS)
def test_one_gateway_of_a_network_is_enough(kind: str, tmp_path: Path, run: Run) -> None:
    """Two clusters on one network: the other one's load balancer is the address, and a gateway that is off needs none."""
    made = gateway_mesh(
        tmp_path / "mesh",
        kind,
        {"contexts": {"context-east-1": {"eastWestGateway": {"serviceType": "ClusterIP"}}}},
    )
    expect_success(run, made, "gateway-found")
    made = gateway_mesh(
        tmp_path / "other",
        kind,
        {"contexts": {"context-east-1": {"eastWestGateway": {"serviceType": "ClusterIP"}}}},
    )
    made.topology({"contexts": {"context-east-2": {"eastWestGateway": {"enabled": False}}}})
    expect_refusal(run, made, "gateway-found")
    made = gateway_mesh(tmp_path / "one", kind, {"eastWestGateway": {"serviceType": "ClusterIP"}})
    made.topology({"contexts": {"context-west-1": {"network": "network-east"}}})
    expect_success(run, made, "gateway-found")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", ["sidecar", "ambient"])
def test_nodes_that_an_annotation_selects(plane: str, kind: str, tmp_path: Path, run: Run) -> None:
    """The annotation makes a NodePort reachable, if it is JSON; istiod maps no port of ambient, and reads it for no other type."""
    over: dict[str, Any] = {
        "istio": {"dataPlane": plane},
        "eastWestGateway": {
            "serviceType": "NodePort",
            "annotations": {NODE_SELECTOR: '{"role": "edge"}'},
        },
    }
    made = gateway_mesh(tmp_path / "mesh", kind, over)
    if plane == "ambient":
        assert "15008" in expect_refusal(run, made, "gateway-found")
        return
    expect_success(run, made, "gateway-found")
    unknown = check_results(run, made)["gateway-pending"]["unknown"]
    assert "get nodes" in unknown["command"]
    text = "".join(p.read_text() for p in sorted((made / "out/context-west-1").rglob("*.yaml")))
    assert NODE_SELECTOR in text
    for annotations, service in (
        ({NODE_SELECTOR: "role=edge"}, "NodePort"),
        ({NODE_SELECTOR: "{}"}, "ClusterIP"),
    ):
        other = gateway_mesh(
            tmp_path / service,
            kind,
            {"eastWestGateway": {"serviceType": service, "annotations": annotations}},
        )
        expect_refusal(run, other, "gateway-found")


@pytest.mark.parametrize("kind", ["Application", "HelmRelease"])
def test_external_ips_of_the_gateway_chart(kind: str, tmp_path: Path, run: Run) -> None:
    """base.yaml can state externalIPs for the chart, and for nothing else that makes a gateway."""
    made = gateway_mesh(tmp_path / "mesh", kind, {"eastWestGateway": {"serviceType": "ClusterIP"}})
    document = chart(kind, "gateway", ((*PATHS[kind], "service", "externalIPs"), ["192.0.2.77"]))
    made.write("base.yaml", base(kind, documents=(document,)))
    expect_success(run, made, "gateway-found")
    assert (
        "192.0.2.77"
        in (made / "out/context-west-1/2-control-plane/istio-eastwestgateway.yaml").read_text()
    )
    other = gateway_mesh(
        tmp_path / "other",
        kind,
        {"eastWestGateway": {"serviceType": "ClusterIP", "kind": "Deployment"}},
    )
    other.write("base.yaml", base(kind, documents=(document,)))
    expect_refusal(run, other, "gateway-found")


# The account of the readers


def read_base(kind: str, *settings: tuple[tuple[str, ...], object]) -> Any:
    """The first document of a base.yaml, as the rules take it."""
    return read.load_documents("base.yaml", base(kind, *settings).encode())[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_readers_account_is_that_of_the_topology(kind: str, tmp_path: Path) -> None:
    """Another name or namespace is an error, and so is the default account, which the charts then do not create."""
    path = (*PATHS[kind], "global", "readerServiceAccount")
    made = mesh(tmp_path / "mesh", "page", kind, {})
    topology = read_topology(str(made))

    def faults(account: object, creates: bool) -> list[str]:
        return [
            p.what
            for p in value_rules.reader_problems(
                read_base(kind, (path, account)), PATHS[kind], topology, creates=creates
            )
        ]

    assert faults({}, True) == faults(None, True) == faults({"namespace": "x"}, True) == []
    assert (
        "another account than istio-system/istio-reader-service-account"
        in faults({"name": "mine", "namespace": "istio-system"}, True)[0]
    )
    default = {"name": "istio-reader-service-account", "namespace": "istio-system"}
    assert "another account" in faults({**default, "namespace": "other"}, False)[0]
    assert "stops the charts from creating" in faults(default, True)[0]
    assert faults(default, False) == []
    (found,) = value_rules.reader_problems(
        read_base(kind, (path, default)), PATHS[kind], topology, creates=True
    )
    assert (found.id, found.where.path) == ("base-reader", ".".join(path))
    made.topology(
        {"contexts": {c.context: {"serviceAccountReader": "mine"} for c in topology.clusters}}
    )
    topology = read_topology(str(made))
    assert faults({"name": "mine", "namespace": "istio-system"}, True) == []
    assert faults({"name": "mine", "namespace": "other"}, True)
    made.topology({"contexts": {topology.clusters[0].context: {"serviceAccountReader": "yours"}}})
    topology = read_topology(str(made))
    assert "istio-system/yours" in faults({"name": "mine", "namespace": "istio-system"}, True)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_another_reader_is_refused_by_every_command(kind: str, tmp_path: Path, run: Run) -> None:
    """For istiod's values, and for the base chart that would create the account."""
    account = ("global", "readerServiceAccount"), {"name": "mine", "namespace": "istio-system"}
    made = mesh(tmp_path / "mesh", "page", kind, {"istio": {"version": "1.31.0"}})
    made.write("base.yaml", base(kind, ((*PATHS[kind], *account[0]), account[1])))
    assert "another account than istio-system/istio-reader-service-account" in expect_refusal(
        run, made, "base-reader"
    )
    if kind in CHART:
        other = mesh(tmp_path / "other", "page", kind, {"istio": {"version": "1.31.0"}})
        other.write(
            "base.yaml",
            base(kind, documents=(chart(kind, "base", ((*PATHS[kind], *account[0]), account[1])),)),
        )
        expect_refusal(run, other, "base-reader")
    contexts = {
        name: {"serviceAccountReader": "mine"}
        for name in ("context-east-1", "context-east-2", "context-west-1")
    }
    made.topology({"contexts": contexts})
    expect_success(run, made, "base-reader")


# Versions and tags


@pytest.mark.parametrize("kind", KINDS)
def test_control_planes_of_one_mesh_are_of_neighbouring_versions(
    kind: str, tmp_path: Path, run: Run
) -> None:
    """More than one minor version apart is a warning of every command, at the oldest; a canary counts too."""
    made = mesh(
        tmp_path / "mesh",
        "page",
        kind,
        {
            "istio": {"version": "1.30.3"},
            "contexts": {"context-east-1": {"istio": {"version": "1.29.6"}}},
        },
    )
    assert check_results(run, made)["version-skew"]["status"] == "ok"
    made.topology({"contexts": {"context-east-1": {"istio": {"version": "1.28.4"}}}})
    found = check_results(run, made)["version-skew"]
    (finding,) = found["findings"]
    assert (found["status"], finding["path"]) == ("warning", "contexts.context-east-1")
    assert "runs Istio 1.28.4 and context-east-2 runs 1.30.3" in finding["what"]
    for words in (("render", "--dry-run"), ("describe",), ("render",)):
        ran = run(*words, cwd=made)
        assert finding["what"] in ran.err, words
    canary = {
        "istio": {
            "version": "1.28.4",
            "revision": "old",
            "canary": {"version": "1.30.3", "revision": "new"},
        },
        "contexts": {"context-east-1": {"istio": None}},
    }
    made.topology(canary)
    assert check_results(run, made)["version-skew"]["status"] == "warning"


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind != "Istio"]
)  # Sail has an object for tags
def test_one_owner_per_revision_tag(kind: str, tmp_path: Path, run: Run) -> None:
    """base.yaml is for both control planes of a cluster with a canary: a tag there is claimed twice, which every command refuses."""
    over: dict[str, Any] = {
        "istio": {
            "version": "1.29.6",
            "revision": "old",
            "canary": {"version": "1.30.3", "revision": "new"},
        }
    }
    made = mesh(tmp_path / "mesh", "page", kind, over)
    made.write("base.yaml", base(kind, ((*PATHS[kind], "revisionTags"), ["prod"])))
    assert (
        expect_refusal(run, made, "revision-tag")
        == "is claimed by the revisions old and new of context-east-1"
    )
    made.topology({"istio": {"canary": None}})
    expect_success(run, made, "revision-tag")
    made.write("base.yaml", base(kind, ((*PATHS[kind], "revisionTags"), ["old"])))
    found = check_results(run, made)["revision-tag"]
    assert (
        found["findings"][0]["what"] == 'has the tag "old", which is a revision of context-east-1'
    )


# Where ztunnel is, and whom istiod trusts


def put_component(
    kind: str, part: str, namespace: str, *more: tuple[tuple[str, ...], object]
) -> tuple[list[tuple[tuple[str, ...], object]], tuple[dict[str, Any], ...]]:
    """The settings of istiod's document, and other documents, that put a component into a namespace."""
    if kind == "Istio":
        name = {"cni": "IstioCNI", "ztunnel": "ZTunnel"}[part]
        value: dict[str, Any] = {
            "apiVersion": "sailoperator.io/v1",
            "kind": name,
            "spec": {"namespace": namespace},
        }
        for path, what in more:
            put(value, ("spec", "values", "ztunnel", *path), what)
        return [], (value,)
    if kind == "IstioOperator":
        return [
            (("spec", "components", part, "namespace"), namespace),
            *(((*PATHS[kind], "ztunnel", *path), what) for path, what in more),
        ], ()
    key = (
        ("spec", "destination", "namespace")
        if kind == "Application"
        else ("spec", "targetNamespace")
    )
    return [], (
        chart(
            kind, part, (key, namespace), *(((*PATHS[kind], *path), what) for path, what in more)
        ),
    )


def namespace_of(made: WorkDir, kind: str, part: str) -> object:
    """Where the rendered tree puts a component."""
    folder = made / "out/context-west-1/2-control-plane"
    if kind == "Istio":
        return yaml.safe_load(
            (folder / {"cni": "istiocni.yaml", "ztunnel": "ztunnel.yaml"}[part]).read_text()
        )["spec"]["namespace"]
    if kind == "IstioOperator":
        return yaml.safe_load((folder / "istiooperator.yaml").read_text())["spec"]["components"][
            part
        ]["namespace"]
    spec = yaml.safe_load(
        (folder / {"cni": "istio-cni.yaml", "ztunnel": "ztunnel.yaml"}[part]).read_text()
    )["spec"]
    return spec["destination"]["namespace"] if kind == "Application" else spec["targetNamespace"]


AMBIENT = {"istio": {"version": "1.30.3", "dataPlane": "ambient"}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stated_namespace_of_ztunnel_stays(kind: str, tmp_path: Path, run: Run) -> None:
    """As stated, with its Namespace in stage 1, if istiod trusts it there; else every command refuses it."""
    made = mesh(tmp_path / "mesh", "page", kind, AMBIENT)
    settings, documents = put_component(kind, "ztunnel", "ztunnel")
    made.write("base.yaml", base(kind, *settings, documents=documents))
    what = expect_refusal(run, made, "ztunnel-trusted")
    assert "trusts istio-system/ztunnel, and ztunnel runs as ztunnel/ztunnel" in what
    trust = ((*PATHS[kind], "pilot", "trustedZtunnelNamespace"), "ztunnel")
    made.write("base.yaml", base(kind, *settings, trust, documents=documents))
    expect_success(run, made, "ztunnel-trusted")
    assert namespace_of(made, kind, "ztunnel") == "ztunnel"
    namespace = yaml.safe_load(
        (made / "out/context-west-1/1-trust/namespace-ztunnel.yaml").read_text()
    )
    assert (namespace["kind"], namespace["metadata"]["name"]) == ("Namespace", "ztunnel")
    assert "labels" not in namespace["metadata"]
    listed = yaml.safe_load((made / "out/context-west-1/1-trust/kustomization.yaml").read_text())[
        "resources"
    ]
    assert listed.index("namespace-ztunnel.yaml") == 1 + listed.index("namespace.yaml")
    assert run("check", cwd=made).code == 0, run("check", "-o", "short", cwd=made).out
    assert run("render", "--check", cwd=made).code == 0
    lost = [f["path"] for f in check_results(run, made)["base-lost"]["findings"]]
    assert not [path for path in lost if "amespace" in path]
    # The trust alone, without ztunnel there, is the same fault the other way about.
    other = mesh(tmp_path / "other", "page", kind, AMBIENT)
    other.write("base.yaml", base(kind, trust))
    assert "trusts ztunnel/ztunnel, and ztunnel runs as istio-system/ztunnel" in expect_refusal(
        run, other, "ztunnel-trusted"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_stated_namespace_of_the_cni_stays(kind: str, tmp_path: Path, run: Run) -> None:
    """The field of an IstioCNI cannot change; one that a cluster has by itself needs no Namespace."""
    for namespace in ("istio-cni", "kube-system"):
        made = mesh(tmp_path / namespace, "page", kind, AMBIENT)
        settings, documents = put_component(kind, "cni", namespace)
        made.write("base.yaml", base(kind, *settings, documents=documents))
        expect_success(run, made, "ztunnel-trusted")
        assert namespace_of(made, kind, "cni") == namespace
        assert (made / f"out/context-west-1/1-trust/namespace-{namespace}.yaml").exists() == (
            namespace == "istio-cni"
        )
        assert run("check", cwd=made).code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_whom_istiod_trusts_by_any_way(kind: str, tmp_path: Path, run: Run) -> None:
    """By the platform, by a list of accounts, by the account's name: what counts is what the chart makes of it."""

    def fault(
        *settings: tuple[tuple[str, ...], object],
        namespace: str = "",
        more: tuple[tuple[tuple[str, ...], object], ...] = (),
    ) -> str:
        own, documents = put_component(kind, "ztunnel", namespace, *more) if namespace else ([], ())
        made.write("base.yaml", base(kind, *own, *settings, documents=documents))
        found = check_results(run, made)
        assert found["base-valid"]["findings"] == []
        return str(
            found["ztunnel-trusted"]["findings"][0]["what"]
            if found["ztunnel-trusted"]["findings"]
            else ""
        )

    made = mesh(tmp_path / "mesh", "page", kind, AMBIENT)
    pilot = (*PATHS[kind], "pilot")
    openshift = ((*PATHS[kind], "global", "platform"), "openshift")
    assert "trusts kube-system/ztunnel, and ztunnel runs as istio-system/ztunnel" in fault(
        openshift
    )
    assert fault(openshift, namespace="kube-system") == ""
    assert fault(openshift, ((*pilot, "trustedZtunnelNamespace"), "istio-system")) == ""
    assert fault(((*PATHS[kind], "global", "platform"), "gke")) == ""
    accounts = (*pilot, "env", "CA_TRUSTED_NODE_ACCOUNTS")
    assert fault((accounts, "a/ztunnel,b/ztunnel"), namespace="b") == ""
    assert "trusts a/ztunnel, b/ztunnel, and ztunnel runs as c/ztunnel" in fault(
        (accounts, "a/ztunnel,b/ztunnel"), namespace="c"
    )
    assert fault((accounts, ""), namespace="istio-system") == ""
    resource = ((("resourceName",), "zt"),)
    assert "ztunnel runs as istio-system/zt:" in fault(namespace="istio-system", more=resource)
    if kind != "IstioOperator":  # istioctl's schema of values does not have the name
        name = ((*pilot, "trustedZtunnelName"), "zt")
        if kind != "Istio":
            assert fault(name, namespace="istio-system", more=resource) == ""
    made.topology({"istio": {"dataPlane": "sidecar"}})
    assert fault(openshift) == ""


@pytest.mark.parametrize("kind", ["Istio", "IstioOperator"])
def test_profiles_of_a_platform(kind: str, tmp_path: Path, run: Run) -> None:
    """`openshift-ambient` of Sail moves the trust alone, that of istioctl ztunnel as well."""
    made = mesh(tmp_path / "mesh", "page", kind, AMBIENT)
    made.write("base.yaml", base(kind, (("spec", "profile"), "openshift-ambient")))
    if kind == "IstioOperator":
        expect_success(run, made, "ztunnel-trusted")
        return
    assert "trusts kube-system/ztunnel, and ztunnel runs as istio-system/ztunnel" in expect_refusal(
        run, made, "ztunnel-trusted"
    )


def test_a_platform_that_the_operator_detects(tmp_path: Path, run: Run) -> None:
    """Whether Sail finds OpenShift is in no file; a stated trust is."""
    made = mesh(tmp_path / "mesh", "page", "Istio", AMBIENT)
    found = check_results(run, made)["ztunnel-trusted"]
    assert found["status"] == "unknown"
    assert "CA_TRUSTED_NODE_ACCOUNTS" in found["unknown"]["command"]
    made.write(
        "base.yaml",
        base("Istio", (("spec", "values", "pilot", "trustedZtunnelNamespace"), "istio-system")),
    )
    assert check_results(run, made)["ztunnel-trusted"]["status"] == "ok"


def test_istio_csr_trusts_ztunnel_where_it_is(tmp_path: Path, run: Run) -> None:
    """With istio-csr istiod signs nothing, and istio-csr has to trust ztunnel."""
    over = {**AMBIENT, "certificates": {"issuer": "istio-csr", "issuerRef": {"name": "mesh"}}}
    made = mesh(tmp_path / "mesh", "page", "Istio", over)
    _, documents = put_component("Istio", "ztunnel", "zt")
    made.write("base.yaml", base("Istio", documents=documents))
    expect_success(run, made, "ztunnel-trusted")
    text = (made / "out/context-west-1/1-trust/istio-csr.values").read_text()
    assert "caTrustedNodeAccounts: zt/ztunnel\n" in text


def test_sail_finds_istiod_outside_of_istio_system(tmp_path: Path, run: Run) -> None:
    """The chart of ztunnel looks for istiod in istio-system unless a value names the namespace."""
    namespaces = {
        "contexts": {
            name: {"namespace": "mesh"}
            for name in ("context-east-1", "context-east-2", "context-west-1")
        }
    }
    made = mesh(tmp_path / "mesh", "page", "Istio", {**AMBIENT, **namespaces})
    expect_success(run, made, "ztunnel-trusted")
    value = yaml.safe_load((made / "out/context-west-1/2-control-plane/ztunnel.yaml").read_text())
    assert value["spec"]["values"]["ztunnel"]["istioNamespace"] == "mesh"


def test_a_namespace_of_its_own_moves_no_network(tmp_path: Path, run: Run) -> None:
    """`diff` and `check` take the Namespace of ztunnel for what it is, and not for Istio's."""
    made = mesh(tmp_path / "mesh", "page", "Istio", AMBIENT)
    assert run("render", cwd=made).code == 0
    before = made.path.rename(tmp_path / "before")
    made = mesh(tmp_path / "mesh", "page", "Istio", AMBIENT)
    _, documents = put_component("Istio", "ztunnel", "a-ztunnel")
    made.write(
        "base.yaml",
        base(
            "Istio",
            (("spec", "values", "pilot", "trustedZtunnelNamespace"), "a-ztunnel"),
            documents=documents,
        ),
    )
    assert run("render", cwd=made).code == 0
    facts = json.loads(run("diff", "-o", "json", before / "out", made / "out").out)
    text = json.dumps(facts)
    assert {(f["group"], f["subject"]) for f in facts["lines"]} >= {
        ("new", "Namespace a-ztunnel"),
        ("changed", "ztunnel"),
    }
    assert not {f["kind"] for f in facts["lines"]} & {"namespace", "network"}
    assert "on each node traffic of the mesh stops" in text
    back = run("diff", made / "out", before / "out").out
    assert "the Namespace stays in the cluster" in back
    assert "delete namespace" not in back
    for name in (
        "1-trust/namespace.yaml",
        "1-trust/namespace-a-ztunnel.yaml",
        "2-control-plane/ztunnel.yaml",
    ):
        path = made / f"out/context-west-1/{name}"
        path.write_text(path.read_text() + "# by hand\n")
    found = check_results(run, made)
    assert found["tree-edited"]["status"] == "error", "else the tree is not read"
    assert (found["tree-network"]["status"], found["tree-namespace"]["status"]) == ("ok", "ok")


def test_a_target_namespace_of_istiod_is_the_meshs(tmp_path: Path, run: Run) -> None:
    """A HelmRelease that installs istiod where no cacerts is would sign by a root of its own."""
    made = mesh(tmp_path / "mesh", "page", "HelmRelease", {})
    made.write("base.yaml", base("HelmRelease", (("spec", "targetNamespace"), "other")))
    found = check_results(run, made)["base-valid"]
    assert found["findings"][0]["what"].startswith(
        'installs the chart istiod into "other", and Istio\'s namespace in context-east-1 is'
    )
    made.write("base.yaml", base("HelmRelease", (("spec", "targetNamespace"), "istio-system")))
    expect_success(run, made, "base-valid")
