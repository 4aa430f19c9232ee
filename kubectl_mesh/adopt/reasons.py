"""Explanations of the differences between the first render and the running mesh."""

import re
from collections.abc import Mapping, Sequence

from kubectl_mesh.istio import versions
from kubectl_mesh.observed.dumped_control_planes import HELM_VALUES, parse_control_plane
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.observed.kubeconfigs import Login
from kubectl_mesh.observed.signing_ca import CACERTS, is_signing_ca
from kubectl_mesh.targets import is_applied
from kubectl_mesh.targets.istiooperator import EAST_WEST
from kubectl_mesh.text import path_text
from kubectl_mesh.x509.parse import find_blocks
from kubectl_mesh.yaml_io.lookup import value_at

CACERTS_REASONS = {
    "ca-cert.pem": "the cluster would sign with another intermediate",
    "ca-key.pem": "the cluster would sign with another key",
    "cert-chain.pem": "the chain that goes with every workload's certificate",
    "root-cert.pem": "the roots that the workloads trust",
}


def certificate_reason(key: str, rendered: bytes, dumped: bytes) -> str:
    """What it means that a file of cacerts is another."""
    reason = CACERTS_REASONS.get(key, "the mesh sets it")
    if rendered.split() == dumped.split():
        return f"{reason}: the same, with other white space"
    if key == "root-cert.pem" and b"".join(dumped.split()) in b"".join(rendered.split()):
        return f"{reason}: those of the other clusters too, the first step to one root"
    blocks = [
        sorted(text[b.start : b.end] for b in find_blocks(text))
        for text in (one.replace(b"\r", b"").rstrip() + b"\n" for one in (rendered, dumped))
    ]
    return f"{reason}: the same, in another order" if blocks[0] == blocks[1] != [] else reason


def kubeconfig_reason(logins: Sequence[Login]) -> str:
    """In what two kubeconfigs differ."""
    if len(logins) != 2:
        return "another kubeconfig: istiod reconnects to the cluster"
    rendered, dumped = logins
    parts: list[tuple[str, object, object]] = [
        ("server", rendered.server, dumped.server),
        ("CA", rendered.ca, dumped.ca),
    ]
    parts += [
        ("TLS server name", rendered.tls_server_name, dumped.tls_server_name),
        ("login", rendered.user, dumped.user),
    ]
    other = [name for name, one, two in parts if one != two]
    if other:
        return f"another {' and '.join(other)}: istiod reconnects to the cluster"
    return (
        "the same server, CA and login, written in other bytes: istiod reconnects to the cluster"
        " once"
    )


def reconnect_text(version: str | None) -> str:
    """What a changed remote secret costs in a version of Istio."""
    if versions.can_lose_endpoints(version):
        return f" ({version} can lose that cluster's endpoints then, until istiod restarts)"
    if version is not None and versions.minor_version(version) < 6:
        return " (Pilot up to 1.5.0 sees it only when it is restarted)"
    return ""


def renamed_reason(rendered: DumpedObject) -> str:
    """What it means that an object has another name."""
    if not is_applied(rendered.kind):
        return "istioctl reads the file, and the name is that of its record in the cluster"
    if rendered.kind == "Gateway":
        return "delete it once the tree's is there, for both do the same"
    return (
        "the tree has it under a name of its own: what has the old name goes when the new one"
        " serves"
    )


def missing_reason(rendered: DumpedObject, dumped: Sequence[DumpedObject]) -> str:
    """Why no dump has an object of the tree."""
    if (
        rendered.kind == "Secret"
        and rendered.name == CACERTS
        and any(is_signing_ca(o) for o in dumped)
    ):
        return (
            "istiod signs for itself (istio-ca-secret): this is the same CA, which trusts the roots"
            " of the other clusters too; istiod looks for a cacerts when it starts only, so restart"
            " it once"
        )
    if rendered.kind == "Namespace" and not value_at(rendered.value, "metadata", "labels"):
        return (
            "no dump has it: it is the namespace of a component on the nodes, and stays if it"
            " exists"
        )
    plane = parse_control_plane(rendered)
    if (
        plane is not None
        and plane.is_istiod
        and any(
            p.kind == HELM_VALUES
            for p in (parse_control_plane(o, dumped) for o in dumped)
            if p is not None
        )
    ):
        return (
            "what runs was installed by Helm with the values that base.yaml has; this takes its"
            " place"
        )
    return _MISSING_REASONS.get(
        rendered.kind, "no dump has it: the first apply makes it, or it was not dumped"
    )


_MISSING_REASONS = {
    "Namespace": "no dump has it: it has to be labelled with the network",
}


def field_reason(
    rendered: DumpedObject, path: tuple[str | int, ...], action: str, dropped: Mapping[str, str]
) -> str:
    """Why a field of an object differs; `dropped` is what base.yaml could not hold, with why."""
    if action == "order":
        return "the same, in another order"
    text = path_text(path)
    for gone, why in dropped.items():
        if action == "absent" and (text == gone or text.startswith((f"{gone}.", f"{gone}["))):
            return f"base.yaml cannot hold it: {why}"
    for pattern, reason in _FIELD_REASONS:
        if re.search(pattern, text):
            return reason
    if (
        rendered.kind in ("Gateway", "Service")
        and path[:2] == ("metadata", "annotations")
        and action == "absent"
    ):
        return (
            "what applies the tree leaves it; eastWestGateway.annotations of the topology puts it"
            " into the tree"
        )
    plane = parse_control_plane(rendered)
    if plane is None:
        return (
            "what runs has it, and nothing of the mesh needs it"
            if action == "absent"
            else "the tree states it"
        )
    if plane.component in ("gateway", EAST_WEST):
        return (
            "the east-west gateway is as the topology has it (eastWestGateway); base.yaml does not"
            " customise it"
        )
    return {
        "absent": "base.yaml is one for all clusters, and most of them do not have it",
        "change": "base.yaml is one for all clusters, and has what most of them have",
    }.get(action, "the tree has it: from base.yaml, as most clusters have it, or by the mesh")


_FIELD_REASONS: tuple[tuple[str, str], ...] = (
    (
        r"(^|\.)hub$",
        (
            "the mesh states the image registry: the one that is built in is, or may be, switched"
            " off (docs/istio-move.md)"
        ),
    ),
    (
        r"source\.(repoURL|chart|path)$|chartRef|sourceRef",
        "the same chart, from where `istio.charts` of the topology, or its default, has it",
    ),
    (
        r"^apiVersion$",
        "the version that this kind has; what ran had another, which nothing checked",
    ),
    (r"^metadata\.name", "the mesh names it"),
    (
        r"topology\.istio\.io/network",
        "the network, by which istiod of 1.8 and later finds endpoints and gateways",
    ),
    (
        r"ingressGateways\[\d+\]\.k8s\.service\.ports",
        (
            "the ports that the mesh needs and no more: those of istiod only where it serves other"
            " clusters"
        ),
    ),
    (
        r"meshNetworks",
        "the mesh sets it: every network, its registries, and the gateways that are declared",
    ),
    (r"multiCluster\.clusterName", "the mesh sets it: the cluster's ID"),
    (
        r"(global|ztunnel)\.network$|\.network$|ISTIO_MESH_NETWORK",
        "the mesh sets it: the cluster's network",
    ),
    (r"meshID$|meshId$", "the mesh sets it: mesh_id of the topology"),
    (
        r"istioNamespace$|defaultNamespace$|spec\.namespace$|metadata\.namespace$",
        "the mesh sets it: Istio's namespace",
    ),
    (r"trustDomain$", "the mesh sets it: trustDomain of the topology"),
    (r"revision$", "the mesh sets it: istio.revision of the topology"),
    (r"controlPlaneSecurityEnabled$|selfSigned$", "the mesh sets it, as the old tool did"),
    (
        r"remotePilotAddress$|injectionPath$|externalIstiod$",
        "the mesh sets it, for clusters without a control plane",
    ),
    (
        r"proxyMetadata\.ISTIO_META_",
        "istiod knows it of each cluster; stated for all it would be wrong",
    ),
    (
        r"^spec\.version$|targetRevision$|chart\.spec\.version$|^spec\.tag$",
        "the version that is stated for the cluster",
    ),
    (
        r"argocd\.argoproj\.io|kustomize\.toolkit\.fluxcd\.io|^spec\.destination|^spec\.ignoreDifferences",
        "delivery.tool of the topology sets it",
    ),
    (
        r"networking\.istio\.io/service-type",
        "the type of the Service that istiod makes for it: LoadBalancer, as without it",
    ),
)
