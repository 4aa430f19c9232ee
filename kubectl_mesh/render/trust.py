"""Stage 1: Istio's namespace, and the Secret with the intermediate that istiod signs with."""

import base64
from collections.abc import Mapping

from kubectl_mesh.istio.versions import reads_crl
from kubectl_mesh.model import SEALED, Member, Pki, Plan, Secret
from kubectl_mesh.render import issuers
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.stores import ENCRYPTED, external
from kubectl_mesh.targets.node_components import extra_namespaces
from kubectl_mesh.yaml_io.manifest import Manifests

KEEP: dict[str, tuple[str | None, str | None]] = {
    "kubectl": (None, None),
    "argocd": ("argocd.argoproj.io/sync-options", "Prune=false,Delete=false"),
    "flux": ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
}
"""The annotation by which a tool never deletes an object, whatever becomes of its file; its key and
value.
"""

ISTIO_CSR = "istio-csr.values"
"""The values for istio-csr's chart, in stage 1; no manifest, so not called one."""


def crls(member: Member, pki: Pki) -> bytes | None:
    """The CRLs that a cluster gets; None where nothing is revoked, or nobody there reads it."""
    return (
        pki.crl.pem
        if pki.crl is not None and any(reads_crl(r.version) for r in member.cluster.releases)
        else None
    )


def add(
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
    keep_key, keep = KEEP[plan.topology.delivery.tool]
    served_by = member.primary.name if member.primary is not None else None
    text = manifests.render(
        "namespace.yaml",
        namespace=cluster.namespace,
        network=cluster.network,
        served_by=served_by,
        keep_key=keep_key,
        keep=keep,
    )
    stage.add("namespace.yaml", text)
    for namespace in extra_namespaces(accounts, cluster) if not member.waits else ():
        stage.add(
            f"namespace-{namespace}.yaml",
            manifests.render(
                "component-namespace.yaml", namespace=namespace, keep_key=keep_key, keep=keep
            ),
        )
    if topology.issuer == "istio-csr":
        # Not for kubectl: the chart of istio-csr reads it.
        stage.files[ISTIO_CSR] = issuers.istio_csr_values(
            topology, cluster, accounts.get("ztunnel")
        )
        return
    if member.primary is not None or member.held:
        return
    annotations = {keep_key: keep} if keep_key is not None and keep is not None else {}
    if topology.issuer == "cert-manager":
        stage.add("cacerts.yaml", issuers.certificate(topology, cluster, annotations))
        return
    revoked = crls(member, pki)
    if topology.store == "external":
        stage.add("cacerts.yaml", external.cacerts(topology, cluster, annotations, revoked))
        return
    intermediate = pki.intermediates[cluster.name]

    def made(key: bytes) -> str:
        return manifests.once(
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

    body = None if intermediate.ca_key is None else made(intermediate.ca_key)
    public = made(SEALED.encode()) if topology.store in ENCRYPTED else ""
    stage.add("cacerts.yaml", Secret(body, public, f"certs/intermediate-{cluster.name}/ca-key.pem"))
