"""Who signs in a cluster where it is not an intermediate of ours: cert-manager makes one there, or
istio-csr signs in istiod's place.

cert-manager: pkg/apis/certmanager/v1/types_certificate.go; istiod reads `tls.crt`, `tls.key` and
`ca.crt` of cacerts too (security/pkg/pki/ca). istio-csr: deploy/charts/istio-csr/values.yaml.
"""

from collections.abc import Mapping

from kubectl_mesh.model import Cluster, Topology
from kubectl_mesh.x509.certificates import DEFAULT_KEY_TYPE, KEY_TYPES
from kubectl_mesh.yaml_io.manifest import document_text

HOURS_PER_DAY = 24


def certificate_text(topology: Topology, cluster: Cluster, annotations: Mapping[str, str]) -> str:
    """The Certificate that makes `cacerts` in the cluster itself; renewed in the last eighth of its
    life, with a new key.
    """
    hours = topology.intermediate_days * HOURS_PER_DAY
    key = KEY_TYPES[topology.key_type or DEFAULT_KEY_TYPE]
    return document_text(
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {
                "name": "cacerts",
                "namespace": cluster.namespace,
                **({"annotations": dict(annotations)} if annotations else {}),
            },
            "spec": {
                "commonName": "Intermediate CA",
                "dnsNames": [f"istiod.{cluster.namespace}.svc"],
                "duration": f"{hours}h",
                "isCA": True,
                "issuerRef": _issuer_ref_json(topology),
                "privateKey": {**key._asdict(), "rotationPolicy": "Always"},
                "renewBefore": f"{hours // 8}h",
                "secretName": "cacerts",
                "subject": {
                    "localities": [f"intermediate-{cluster.name}"],
                    "organizations": [topology.organization],
                },
                "usages": ["cert sign", "crl sign"],
            },
        }
    )


def _issuer_ref_json(topology: Topology) -> dict[str, str]:
    assert topology.issuer_ref is not None
    name, kind, group = topology.issuer_ref
    return {"group": group, "kind": kind, "name": name}


def istio_csr_values_text(topology: Topology, cluster: Cluster, ztunnel: str | None) -> str:
    """The values for istio-csr's chart in one cluster: what has to agree with istiod there;
    `ztunnel` is its namespace and account.
    """
    server: dict[str, object] = {"clusterID": cluster.name}
    if ztunnel is not None:
        server = {"caTrustedNodeAccounts": ztunnel, **server}
    return document_text(
        {
            "app": {
                "certmanager": {
                    "issuer": {"enabled": True, **_issuer_ref_json(topology)},
                    "namespace": cluster.namespace,
                },
                "istio": {
                    "namespace": cluster.namespace,
                    "revisions": [release.revision or "default" for release in cluster.releases],
                },
                "server": server,
                "tls": {"trustDomain": topology.trust_domain or "cluster.local"},
            }
        }
    )
