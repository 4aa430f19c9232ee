"""A mesh as it runs becomes the files of a working directory: topology.yaml, base.yaml, and what
they name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_mesh.adopt.credentials import parse_credential
from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running_mesh import DEFAULT_NAMESPACE, RunningCluster, RunningMesh
from kubectl_mesh.credentials.logins import parse_claims, token_fault
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio.retired_registries import BUILT_IN_HUB
from kubectl_mesh.model import DEFAULT_READER_ACCOUNT
from kubectl_mesh.observed.dumped_control_planes import HELM_VALUES
from kubectl_mesh.targets import DEFAULT, KINDS, OLD
from kubectl_mesh.targets.target import Target
from kubectl_mesh.text import mesh_command, value_text
from kubectl_mesh.yaml_io.lookup import value_at

TOPOLOGY_HEADER = (
    "# Which clusters form the mesh, as `kubectl mesh adopt` found it. REFERENCE.md explains every"
    " key.\n"
)


def choose_base_kind(mesh: RunningMesh, option: str | None, notes: Notes) -> str:
    """The kind of base.yaml: that of the control planes that run, else what was asked for."""
    mains = [c.istiod_install for c in mesh.clusters if c.istiod_install is not None]
    kinds = list(dict.fromkeys(m.kind for m in mains if m.kind != HELM_VALUES))
    if len(kinds) > 1:
        first, other = (next(m for m in mains if m.kind == kind) for kind in kinds[:2])
        what = (
            f"{first.resource} is a control plane of another kind than {other.resource} in"
            f" {other.resource.place}"
        )
        notes.problems.append(
            Problem(
                first.resource.place,
                what,
                "a mesh has one base.yaml; adopt the clusters of each kind for themselves",
                code="control-plane-kinds-differ",
            )
        )
    if kinds and option not in (None, kinds[0]):
        what = f"{option} is asked for, and {kinds[0]} is what runs"
        notes.problems.append(
            Problem(
                Place("--control-plane"),
                what,
                "leave it out; change the kind once the mesh is adopted",
                code="control-plane-kind-not-running",
            )
        )
    target = KINDS.get(kinds[0] if kinds else option or "")
    if mains and target is not None and target.STATES_VERSION and target.FIXED_VERSION is None:
        notes.problems += _version_problems(mesh)
    if kinds:
        return kinds[0]
    if option is None and mains:
        known = ", ".join(k for k in sorted(KINDS, reverse=True) if k != OLD)
        what = "holds Helm values, which base.yaml has in a control plane of some kind"
        fix = f"say which with --control-plane KIND: {known}"
        notes.problems.append(
            Problem(mains[0].resource.place, what, fix, code="control-plane-kind-unknown")
        )
    old = any(c.version is not None and int(c.version.split(".")[1]) < 5 for c in mesh.clusters)
    return option or (OLD if old else DEFAULT)


def _version_problems(mesh: RunningMesh) -> list[Problem]:
    """A problem for each cluster with a control plane whose version nothing states."""
    return [
        Problem(
            cluster.istiod_install.resource.place,
            f"no dump says which version of Istio runs in {cluster.context}",
            "dump the Deployment of istiod too",
            code="istio-version-unknown",
        )
        for cluster in mesh.clusters
        if cluster.istiod_install is not None and cluster.version is None
    ]


def build_topology(
    mesh: RunningMesh,
    kind: str,
    certificates: Mapping[str, Any],
    organization: str | None,
    name_of: Callable[[str], str],
    notes: Notes,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """topology.yaml as a value, and the files that it names or that a render looks for: path in the
    working directory -> bytes.
    """
    files: dict[str, bytes] = {}
    target = KINDS[kind]
    contexts = {c.context: _context_entry(c, name_of, files, notes) for c in mesh.clusters}
    istio: dict[str, Any] = {}
    for what in ("version", "revision"):
        values = {c.context: getattr(c, what) for c in mesh.clusters}
        common = next(iter(values.values()), None) if len(set(values.values())) == 1 else None
        # What base.yaml states is not stated twice.
        stated = (
            what == "version"
            and target.STATES_VERSION
            and any(c.istiod_install and c.istiod_install.kind == kind for c in mesh.clusters)
        )
        if common is not None and not stated:
            istio[what] = common
        for context, value in values.items():
            if common is None and value is not None and target.FIXED_VERSION is None:
                contexts[context].setdefault("istio", {})[what] = value
    if mesh.chart_repository is not None:
        istio["charts"] = mesh.chart_repository
    if mesh.has_own_images and target.BRINGS_IMAGES:
        istio["hub"] = BUILT_IN_HUB  # the operator brings them, unless base.yaml states a hub
    if any(_is_ambient(c) for c in mesh.clusters):
        istio["dataPlane"] = "ambient"
    networks = {
        n: {"gateways": [_gateway_entry(a, p, target) for a, p in each]}
        for n, each in mesh.gateways.items()
    }
    whole = {
        "mesh_id": mesh.mesh_id,
        **({"organization": organization} if organization not in (None, mesh.mesh_id) else {}),
        **({"trustDomain": mesh.trust_domain} if mesh.trust_domain is not None else {}),
        **({"istio": istio} if istio else {}),
        **({"certificates": dict(certificates)} if certificates else {}),
        **({"networks": networks} if networks else {}),
        "contexts": contexts,
    }
    return whole, files


def _gateway_entry(address: str, port: int | None, target: Target) -> dict[str, Any]:
    is_stated = port not in (None, target.GATEWAY_PORT)
    return {"address": address, **({"port": port} if is_stated else {})}


def _is_ambient(cluster: RunningCluster) -> bool:
    main = cluster.istiod_install
    profiles = (
        []
        if main is None
        else [value_at(main.value, "spec", "profile"), value_at(main.values, "profile")]
    )
    return any(p.component == "ztunnel" for p in cluster.control_planes) or any(
        str(p).endswith("ambient") for p in profiles
    )


def _context_entry(
    cluster: RunningCluster, name_of: Callable[[str], str], files: dict[str, bytes], notes: Notes
) -> dict[str, Any]:
    entry: dict[str, Any] = {"network": cluster.network}
    if cluster.name != name_of(cluster.context):
        entry["clusterName"] = cluster.name
    if cluster.namespace != DEFAULT_NAMESPACE:
        entry["namespace"] = cluster.namespace
    entry |= _access_entry(cluster, files, notes)
    if cluster.primary is not None:
        entry["controlPlane"] = cluster.primary
    if cluster.istiod_address is not None:
        entry["controlPlaneAddress"] = cluster.istiod_address
    if not cluster.is_joined:
        entry["disableRegistryJoin"] = True
    if cluster.peers is not None and cluster.primary is None:
        entry["peers"] = list(cluster.peers)
    return entry


def _access_entry(cluster: RunningCluster, files: dict[str, bytes], notes: Notes) -> dict[str, Any]:
    """Server, CA and login of a cluster."""
    login, where = cluster.login, cluster.objects[0]
    if login is None:
        return {}
    entry: dict[str, Any] = {}
    if login.server and login.ca is not None and not login.is_insecure:
        entry["server"] = login.server
        if login.tls_server_name is not None:
            entry["tlsServerName"] = login.tls_server_name
        files[f"clusters/{cluster.name}.crt"] = login.ca
    elif login.server:
        why = (
            "the certificate of its API server is not verified"
            if login.is_insecure
            else "no CA is stated for it"
        )
        notes.add_unused(
            where, f"{why}; give `{mesh_command('add')}` the CA", f"the server of {cluster.name}"
        )
    if login.user:
        entry |= _credential_entry(cluster, login.user, files, notes)
    return entry


def _credential_entry(
    cluster: RunningCluster, user: Mapping[str, Any], files: dict[str, bytes], notes: Notes
) -> dict[str, Any]:
    """How the peers log in to a cluster, as its entry in the topology states it."""
    where = cluster.objects[0]
    found = parse_credential(cluster.name, user)
    if isinstance(found, str):
        notes.add_unused(where, found, f"the login to {cluster.name}")
        return {}
    if found.topology_value is None and (fault := token_fault(user["token"].encode())):
        notes.add_unused(where, f"its token {fault}", f"the login to {cluster.name}")
        return {}
    files |= found.files
    if found.topology_value is not None:
        return {"credential": dict(found.topology_value)}
    said = parse_claims(user["token"])
    parts = said.subject.split(":") if said is not None else []
    if parts[:2] != ["system", "serviceaccount"] or len(parts) != 4:
        return {}
    if parts[2] != cluster.namespace:
        what = (
            f"the token of {cluster.name} is of an account in namespace {value_text(parts[2])}, and"
            f" the tree's would be in {value_text(cluster.namespace)}"
        )
        notes.add_unused(where, "the token is taken all the same", what)
        return {}
    return {"serviceAccountReader": parts[3]} if parts[3] != DEFAULT_READER_ACCOUNT else {}


def note_unused_objects(clusters: Sequence[RunningCluster], notes: Notes) -> None:
    """Says of what is left why nothing is made of it."""
    for cluster in clusters:
        for found in cluster.objects:
            if id(found) not in notes.used_objects:
                notes.add_unused(
                    found, _UNUSED_REASONS.get(found.kind, "nothing here is made of it")
                )


_UNUSED_REASONS = {
    "ConfigMap": "the control plane makes its own; nothing else is made of it",
    "Deployment": "the control plane brings it",
    "Service": "the control plane brings it",
    "ServiceAccount": "the control plane brings it",
    "ClusterRole": "the control plane brings it",
    "ClusterRoleBinding": "the control plane brings it",
    "CustomResourceDefinition": "the control plane brings it",
    "Secret": "it is neither cacerts, istio-ca-secret nor a remote secret",
}
