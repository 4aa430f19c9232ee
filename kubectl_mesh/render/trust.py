"""Stage 1: Istio's namespace, and the Secret with the intermediate that istiod signs with."""

import base64
from collections.abc import Iterator, Mapping

from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.istio.versions import can_read_crl
from kubectl_mesh.model import SEALED_PLACEHOLDER, Member, Pki, Plan, SecretManifest
from kubectl_mesh.render import issuers
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.stores import store_of
from kubectl_mesh.targets.node_components import extra_namespaces
from kubectl_mesh.yaml_io.templates import Manifests

ISTIO_CSR_VALUES_FILE = "istio-csr.values"
"""The values for istio-csr's chart, in stage 1; no manifest, so not called one."""


def find_cluster_crl(member: Member, pki: Pki) -> bytes | None:
    """The CRLs that a cluster gets; None where nothing is revoked, or nobody there reads it."""
    return (
        pki.crl.pem
        if pki.crl is not None and any(can_read_crl(r.version) for r in member.cluster.releases)
        else None
    )


def add_trust(
    stage: Stage,
    plan: Plan,
    member: Member,
    pki: Pki,
    manifests: Manifests,
    accounts: Mapping[str, str],
) -> None:
    """Adds the namespaces and the intermediate; `accounts` are those of the components on the
    nodes.

    A cluster that another's istiod serves gets no Secret: that istiod signs for it, and an
    annotation allows it.
    """
    cluster, topology = member.cluster, plan.topology
    keep = delivery_of(topology).KEEP
    for file, text in _namespace_texts(plan, member, manifests, accounts):
        stage.add_file(file, text)
    if topology.issuer_kind.signs_workloads:
        # Not for kubectl: the chart of istio-csr reads it.
        stage.files[ISTIO_CSR_VALUES_FILE] = issuers.istio_csr_values_text(
            topology, cluster, accounts.get("ztunnel")
        )
        return
    if member.primary is not None or member.lacks_intermediate:
        return
    annotations = dict([keep]) if keep is not None else {}
    if topology.issuer_kind.creates_cacerts:
        stage.add_file("cacerts.yaml", issuers.certificate_text(topology, cluster, annotations))
        return
    store = store_of(topology)
    own = store.cacerts_object(topology, cluster, annotations, find_cluster_crl(member, pki))
    stage.add_file("cacerts.yaml", own or _cacerts_manifest(plan, member, pki, manifests))


def _namespace_texts(
    plan: Plan, member: Member, manifests: Manifests, accounts: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Istio's namespace, and those of the components on the nodes."""
    cluster = member.cluster
    keep_key, keep = delivery_of(plan.topology).KEEP or (None, None)
    served_by = member.primary.name if member.primary is not None else None
    yield (
        "namespace.yaml",
        manifests.render(
            "namespace.yaml",
            namespace=cluster.namespace,
            network=cluster.network,
            served_by=served_by,
            keep_key=keep_key,
            keep=keep,
        ),
    )
    for namespace in extra_namespaces(accounts, cluster) if not member.trust_stage_only else ():
        yield (
            f"namespace-{namespace}.yaml",
            manifests.render(
                "component-namespace.yaml", namespace=namespace, keep_key=keep_key, keep=keep
            ),
        )


def _cacerts_manifest(plan: Plan, member: Member, pki: Pki, manifests: Manifests) -> SecretManifest:
    """The Secret with the intermediate."""
    cluster, topology = member.cluster, plan.topology
    intermediate, revoked = pki.intermediates[cluster.name], find_cluster_crl(member, pki)
    keep_key, keep = delivery_of(topology).KEEP or (None, None)

    def text(key: bytes) -> str:
        return manifests.render_once(
            "cacerts.yaml",
            namespace=cluster.namespace,
            keep_key=keep_key,
            keep=keep,
            ca_crl=None if revoked is None else base64.b64encode(revoked).decode(),
            ca_cert=base64.b64encode(intermediate.ca_cert).decode(),
            ca_key=base64.b64encode(key).decode(),
            cert_chain=base64.b64encode(intermediate.cert_chain).decode(),
            root_cert=base64.b64encode(intermediate.root_cert).decode(),
        )

    body = None if intermediate.ca_key is None else text(intermediate.ca_key)
    public = text(SEALED_PLACEHOLDER.encode()) if store_of(topology).ENCRYPTS else ""
    return SecretManifest(body, public, f"certs/intermediate-{cluster.name}/ca-key.pem")
