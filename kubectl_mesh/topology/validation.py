"""Validates a topology."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import (
    DEFAULT_READER_ACCOUNT,
    Alerts,
    Cluster,
    Credential,
    Delivery,
    Document,
    EastWestGateway,
    Gateway,
    Release,
    Topology,
)
from kubectl_mesh.model.issuers import DEFAULT_ISSUER
from kubectl_mesh.text import path_text
from kubectl_mesh.topology import rules
from kubectl_mesh.topology.names import LABEL_PATTERN, PENDING_ADDRESS, derive_cluster_name
from kubectl_mesh.topology.stated_topology import StatedTopology
from kubectl_mesh.yaml_io.read import EitherFix
from kubectl_mesh.yaml_io.schema import schema_problems


def validate_document(document: Document, schema: Mapping[str, Any]) -> Topology:
    """The topology of a document, checked against its schema and the rules that a schema cannot
    express. Raises a `MeshError` with every problem.
    """
    reported = {(p.where.line, p.where.column) for p in document.problems} | {
        p.where.path for p in document.problems
    }
    schema_faults = list(schema_problems(document, schema))
    invalid = [
        p
        for p in schema_faults
        if p.where.path not in reported and (p.where.line, p.where.column) not in reported
    ]
    for variant in document.variants:
        variant_problems = list(variant.later_value_problems(schema_problems(variant, schema)))
        invalid += [
            p
            for p in variant_problems
            if (p.where.line, p.where.column) not in reported
            or p.where == variant.field_place(*variant.replaced_path)
        ]
        invalid += variant.later_value_problems(
            rules.rule_problems(StatedTopology(variant, {p.where.path for p in variant_problems}))
        )
    # A value that wants quotes is a text to the schema: where that is right, it can be meant as
    # nothing else.
    faulty_paths = {p.where.path for p in schema_faults}
    yaml_problems = [
        replace(p, fix=p.fix.if_text)
        if isinstance(p.fix, EitherFix) and p.where.path not in faulty_paths
        else p
        for p in document.problems
    ]
    problems = [*yaml_problems, *(_with_valid_name(p, document) for p in invalid)]
    if problems:
        # What the schema cannot say rests on the shapes that it guards; so the rest is told where
        # the shapes are right.
        if isinstance(document.value, dict) and isinstance(document.value.get("contexts"), dict):
            problems += rules.rule_problems(
                StatedTopology(document, {p.where.path for p in problems})
            )
        raise MeshError(problems)
    topology = StatedTopology(document, set())
    problems = rules.rule_problems(topology)
    if problems:
        raise MeshError(problems)
    return _build_topology(topology)


def _with_valid_name(problem: Problem, document: Document) -> Problem:
    """A problem of a clusterName, with a name that is valid and near; cluster IDs of Istio may have
    capitals, `_` and `.`, and names may not.
    """
    if not problem.where.path.endswith(".clusterName"):
        return problem
    contexts: Any = document.value.get("contexts") if isinstance(document.value, dict) else None
    for context, entry in contexts.items() if isinstance(contexts, dict) else ():
        stated = entry.get("clusterName") if isinstance(entry, dict) else None
        if (
            isinstance(stated, str)
            and problem.where.path == path_text(("contexts", context, "clusterName"))
            and LABEL_PATTERN.match(derive_cluster_name(stated))
        ):
            return replace(
                problem,
                fix=problem.fix
                or f"write clusterName: {derive_cluster_name(stated)}; a cluster that runs under"
                " another"
                " cluster ID gets this one",
            )
    return problem


def _build_cluster(topology: StatedTopology, context: str, entry: dict[str, Any]) -> Cluster:
    name = entry.get("clusterName") or derive_cluster_name(context)
    peers, primary = entry.get("peers"), entry.get("controlPlane")
    istio = {**topology.value.get("istio", {}), **entry.get("istio", {})}
    canary = istio.get("canary")
    way, stated = next(
        iter(entry.get("credential", {}).items()), ("tokenFile", f"credentials/{name}.token")
    )
    address = entry.get("controlPlaneAddress")
    return Cluster(
        name=name,
        context=context,
        network=entry["network"],
        namespace=entry.get("namespace", "istio-system"),
        reader_account=entry.get("serviceAccountReader", DEFAULT_READER_ACCOUNT),
        is_joined=not entry.get("disableRegistryJoin", False),
        server=entry.get("server"),
        tls_server_name=entry.get("tlsServerName"),
        certificate_authority=entry.get("certificateAuthority"),
        token_file=stated if way == "tokenFile" else f"credentials/{name}.token",
        gateways=_build_gateways(entry),
        peers=None if peers is None else tuple(topology.cluster_name(p) for p in peers),
        place=topology.document.field_place("contexts", context),
        releases=(
            Release(istio.get("version"), istio.get("revision")),
            *([Release(canary["version"], canary["revision"])] if canary else []),
        ),
        primary=None if primary is None else topology.cluster_name(primary),
        istiod_address=None if address == PENDING_ADDRESS else address,
        east_west=_build_east_west(
            {**topology.value.get("eastWestGateway", {}), **entry.get("eastWestGateway", {})}
        ),
        credential=Credential(way, stated if isinstance(stated, dict) else {}),
        recipients=tuple(dict.fromkeys(entry.get("recipients", ()))),
        token_generation=entry.get("tokens", {}).get("generation", 1),
        second_generation=entry.get("tokens", {}).get("beside"),
        highest_generation=entry.get("tokens", {}).get("last", 1),
    )


def _build_east_west(entry: Mapping[str, Any]) -> EastWestGateway:
    return EastWestGateway(
        enabled=entry.get("enabled", True),
        kind=entry.get("kind"),
        port=entry.get("port"),
        service_type=entry.get("serviceType", "LoadBalancer"),
        annotations=tuple(sorted(entry.get("annotations", {}).items())),
        replicas=entry.get("replicas"),
    )


def _build_topology(topology: StatedTopology) -> Topology:
    value = topology.value
    istio, certificates = value.get("istio", {}), value.get("certificates", {})
    secrets = value.get("secrets", {})
    clusters = sorted(
        (_build_cluster(topology, c, e) for c, e in topology.contexts.items()), key=lambda c: c.name
    )
    return Topology(
        mesh_id=value["mesh_id"],
        organization=value.get("organization", value["mesh_id"]),
        trust_domain=value.get("trustDomain"),
        data_plane=istio.get("dataPlane", "sidecar"),
        key_type=certificates.get("keyType"),
        root_days=certificates.get("rootDays", 3650),
        intermediate_days=certificates.get("intermediateDays", 730),
        issuer=certificates.get("issuer", DEFAULT_ISSUER),
        store=secrets.get("store", "plain"),
        has_stated_store="store" in secrets,
        delivery=_build_delivery(value.get("delivery", {})),
        networks={
            name: _build_gateways(entry)
            for name, entry in sorted(value.get("networks", {}).items())
        },
        clusters=tuple(clusters),
        document=topology.document,
        pending_networks=_find_pending_networks(topology),
        chart_repository=istio.get("charts"),
        image_hub=istio.get("hub"),
        has_remote_secret_bundle=value.get("remoteSecrets") == "bundle",
        reader_per_peer=value.get("readers") == "perPeer",
        secret_store=_secret_store(secrets.get("secretStore")),
        secret_path=secrets.get("path", value["mesh_id"]),
        issuer_ref=_issuer_reference(certificates.get("issuerRef")),
        recipients=tuple(dict.fromkeys(secrets.get("recipients", ()))),
        alerts=_build_alerts(value.get("alerts", {})),
        warnings=tuple(sorted(topology.warnings)),
        has_stated_organization="organization" in value,
    )


def _build_delivery(stated: Mapping[str, Any]) -> Delivery:
    return Delivery(
        tool=stated.get("tool", "kubectl"),
        repo=stated.get("repoURL"),
        revision=stated.get("revision"),
        path=stated.get("path", "out"),
        namespace=stated.get("namespace"),
        project=stated.get("project", "default"),
        secret=stated.get("secret"),
    )


def _find_pending_networks(topology: StatedTopology) -> frozenset[str]:
    """The networks with a gateway whose address is not known yet, less those of clusters that
    nobody discovers.
    """
    return frozenset(
        network
        for network, path, gateway in topology.list_gateways()
        if gateway["address"] == PENDING_ADDRESS
        and not (
            path[0] == "contexts" and topology.contexts[str(path[1])].get("disableRegistryJoin")
        )
    )


def _secret_store(stated: Mapping[str, str] | None) -> tuple[str, str] | None:
    return (stated["kind"], stated["name"]) if stated else None


def _issuer_reference(stated: Mapping[str, str] | None) -> tuple[str, str, str] | None:
    if not stated:
        return None
    kind, group = stated.get("kind", "ClusterIssuer"), stated.get("group", "cert-manager.io")
    return stated["name"], kind, group


def _build_alerts(stated: Mapping[str, Any]) -> Alerts | None:
    if not stated.get("prometheusRule"):
        return None
    return Alerts(stated.get("namespace"), tuple(sorted(stated.get("labels", {}).items())))


def _build_gateways(entry: Mapping[str, Any]) -> tuple[Gateway, ...]:
    """The known gateways of an entry; `pending` ones are not known."""
    known = {
        Gateway(g["address"], g.get("port"))
        for g in entry.get("gateways", ())
        if g["address"] != PENDING_ADDRESS
    }
    return tuple(sorted(known, key=lambda g: (g.address, g.port or 0)))
