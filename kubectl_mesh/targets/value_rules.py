"""Values of Istio's charts that Istio takes, and that break a mesh of several clusters."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import DEFAULT_READER_ACCOUNT, Document, Json, Topology
from kubectl_mesh.targets.values import Path, value_at
from kubectl_mesh.text import value_text

_SET_WHERE_NEEDED = "remove it: the mesh sets it where it is needed"


class StatedValues(NamedTuple):
    """The values of Istio's charts in a document of base.yaml."""

    base: Document
    path: Path
    """Where the values are."""
    mesh: Path | None = None
    """Where a meshConfig is that is not among them."""

    def _path(self, keys: tuple[str | int, ...]) -> Path:
        apart = (
            self.mesh is not None
            and keys[0] == "meshConfig"
            and value_at(self.base.value, (*self.path, *keys)) is None
        )
        return (*(self.mesh or ()), *keys[1:]) if apart else (*self.path, *keys)

    def find_value(self, *keys: str) -> Any:
        """A value; None where it is not stated."""
        return value_at(self.base.value, self._path(keys))

    def value_place(self, *keys: str | int) -> Place:
        """The place of a value."""
        return self.base.field_place(*self._path(keys))


def value_problems(
    stated: StatedValues, topology: Topology, *, creates_reader: bool
) -> Iterator[Problem]:
    """Values that break a mesh; `creates_reader` says whether these values also decide if the
    default reader account is created.
    """
    if stated.find_value("global", "enableReaderRBAC") is False:
        yield Problem(
            stated.value_place("global", "enableReaderRBAC"),
            "takes away the account as which the peers read a cluster, so that none discovers"
            " another",
            "remove it",
            "base-reader",
            code="reader-account-removed",
        )
    yield from reader_problems(stated.base, stated.path, topology, creates=creates_reader)
    yield from _tag_problems(
        stated.find_value("revisionTags"), stated.value_place("revisionTags"), topology
    )
    yield from _registry_problems(stated)
    yield from _identity_problems(stated, topology)
    yield from _control_plane_problems(stated, topology)
    yield from _trust_domain_problems(stated, topology)
    path = ("pilot", "env", "PILOT_MULTICLUSTER_KUBECONFIG_PATH")
    if stated.find_value(*path) is not None:
        yield Problem(
            stated.value_place(*path),
            "makes istiod read kubeconfigs from files and pass over every remote secret",
            "remove it",
            "base-reader",
            code="remote-secrets-not-read",
        )


def _registry_problems(stated: StatedValues) -> Iterator[Problem]:
    """Endpoints in meshNetworks under the name that a cluster called itself in old versions."""
    networks = stated.find_value("global", "meshNetworks")
    for name, network in networks.items() if isinstance(networks, dict) else ():
        endpoints = network.get("endpoints") if isinstance(network, dict) else None
        for index, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
            if isinstance(endpoint, dict) and endpoint.get("fromRegistry") == "Kubernetes":
                yield Problem(
                    stated.value_place(
                        "global", "meshNetworks", name, "endpoints", index, "fromRegistry"
                    ),
                    '"Kubernetes" is what a cluster called itself up to Istio 1.5; istiod refuses'
                    " the whole of meshNetworks for it",
                    "name the cluster; or remove it, for the mesh sets what is needed",
                    "base-registry",
                    code="registry-named-kubernetes",
                )


def _identity_problems(stated: StatedValues, topology: Topology) -> Iterator[Problem]:
    """Settings that give all clusters one identity, or another mesh."""
    proxy = ("meshConfig", "defaultConfig")
    mesh_id = stated.find_value(*proxy, "meshId")
    if isinstance(mesh_id, str) and mesh_id != topology.mesh_id:
        yield Problem(
            stated.value_place(*proxy, "meshId"),
            f"gives the proxies another mesh than {value_text(topology.mesh_id)}, which is the"
            " mesh_id"
            " of the topology",
            "remove it",
            "base-identity",
            code="mesh-id-differs",
        )
    for key in ("ISTIO_META_NETWORK", "ISTIO_META_CLUSTER_ID", "ISTIO_META_MESH_ID"):
        if stated.find_value(*proxy, "proxyMetadata", key) is not None:
            yield Problem(
                stated.value_place(*proxy, "proxyMetadata", key),
                "gives the proxies of all clusters the same, so that they contradict what istiod"
                " knows of their cluster",
                "remove it: the mesh sets it for each cluster",
                "base-identity",
                code="identity-same-in-all-clusters",
            )
    for key in ("CLUSTER_ID", "EXTERNAL_ISTIOD"):
        if stated.find_value("pilot", "env", key) is not None:
            yield Problem(
                stated.value_place("pilot", "env", key),
                "gives istiod of all clusters the same",
                _SET_WHERE_NEEDED,
                "base-identity",
                code="identity-same-in-all-clusters",
            )


def _control_plane_problems(stated: StatedValues, topology: Topology) -> Iterator[Problem]:
    """Settings that take away what every cluster with a control plane of its own needs."""
    if stated.find_value("pilot", "enabled") is False:
        yield Problem(
            stated.value_place("pilot", "enabled"),
            "leaves every cluster without istiod",
            "remove it, and use contexts.CTX.controlPlane",
            "base-identity",
            code="istiod-disabled",
        )
    if stated.find_value("global", "remotePilotAddress") not in (None, ""):
        yield Problem(
            stated.value_place("global", "remotePilotAddress"),
            "gives every cluster the istiod of another one",
            f"{_SET_WHERE_NEEDED} (contexts.CTX.controlPlane)",
            "base-identity",
            code="istiod-of-another-cluster",
        )
    server = stated.find_value("pilot", "env", "ENABLE_CA_SERVER")
    if str(server).lower() == "false" and not topology.issuer_kind.signs_workloads:
        yield Problem(
            stated.value_place("pilot", "env", "ENABLE_CA_SERVER"),
            "keeps istiod from signing with the intermediates of the mesh",
            "remove it; certificates.issuer: istio-csr sets it",
            "base-identity",
            code="ca-server-disabled",
        )


def _trust_domain_problems(stated: StatedValues, topology: Topology) -> Iterator[Problem]:
    """Another trust domain than the topology's, of which the mesh does not know."""
    domain, aliases = (
        stated.find_value("meshConfig", "trustDomain"),
        stated.find_value("meshConfig", "trustDomainAliases"),
    )
    known = aliases if isinstance(aliases, list) else []
    if (
        isinstance(domain, str)
        and topology.trust_domain not in (None, domain)
        and domain not in known
    ):
        yield Problem(
            stated.value_place("meshConfig", "trustDomain"),
            f"is another trust domain than {value_text(topology.trust_domain)} of the topology;"
            " workloads that still have it would be refused",
            f"remove one of the two, or list {value_text(domain)} in meshConfig.trustDomainAliases",
            "trust-domain",
            code="trust-domain-differs",
        )


def reader_problems(
    base: Document, path: Path, topology: Topology, *, creates: bool
) -> Iterator[Problem]:
    """A reader account in values (Istio 1.31) that does not leave the topology's reader with its
    rights.

    The charts bind the readers' role to it, and `creates` says whether these values also stop the
    default account from being created.
    """
    where = (*path, "global", "readerServiceAccount")
    account = value_at(base.value, where)
    name = account.get("name") if isinstance(account, dict) else None
    if not isinstance(account, dict) or not name:
        return
    for cluster in topology.clusters:
        reader = f"{cluster.namespace}/{cluster.reader_account}"
        what = ""
        if (name, account.get("namespace")) != (cluster.reader_account, cluster.namespace):
            what = (
                f"gives the readers' rights to another account than {reader}, which the peers of"
                f" {cluster.name} use"
            )
        elif creates and name == DEFAULT_READER_ACCOUNT and not topology.reader_per_peer:
            what = f"stops the charts from creating {reader}, which the peers of {cluster.name} use"
        if what:
            fix = (
                "remove it; if the account has another name, state"
                f" contexts.{cluster.context}.serviceAccountReader"
            )
            yield Problem(
                base.field_place(*where), what, fix, "base-reader", code="reader-account-differs"
            )
            return


def _tag_problems(tags: Json, place: Place, topology: Topology) -> Iterator[Problem]:
    """Revision tags that each control plane of a cluster would claim: base.yaml is for all of
    them.
    """
    names = [str(tag) for tag in tags] if isinstance(tags, list) else []
    if not names:
        return
    for cluster in topology.clusters:
        revisions = [release.revision or "default" for release in cluster.releases]
        same = sorted(set(names) & set(revisions))
        if len(revisions) > 1:
            what = f"is claimed by the revisions {' and '.join(revisions)} of {cluster.name}"
            fix = (
                f"remove it, and run: istioctl --context={cluster.context} tag set {names[0]}"
                f" --revision {revisions[0]}"
            )
        elif same:
            what, fix = (
                f"has the tag {value_text(same[0])}, which is a revision of {cluster.name}",
                "give the tag another name",
            )
        else:
            continue
        yield Problem(place, what, fix, "revision-tag", code="revision-tag-claimed")
        return
