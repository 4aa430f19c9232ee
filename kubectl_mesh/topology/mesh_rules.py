"""Rules for the mesh as a whole: the bundle, delivery, stores and issuers."""

from collections.abc import Iterator

from kubectl_mesh.errors import Problem
from kubectl_mesh.model.issuers import DEFAULT_ISSUER, ISSUERS
from kubectl_mesh.text import value_text
from kubectl_mesh.topology.kinds import TOOL_FACTS, ToolFacts, store_facts, tool_facts
from kubectl_mesh.topology.stated_topology import StatedTopology


def bundle_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Settings that a bundle for all clusters does not allow."""
    if topology.value.get("remoteSecrets") != "bundle":
        return
    if topology.value.get("readers") == "perPeer":
        place = topology.document.field_place("remoteSecrets")
        yield Problem(
            place,
            "a bundle gives all clusters the same remote secrets, and readers: perPeer each"
            " its own",
            "remove one of the two",
            code="bundle-with-readers-per-peer",
        )
    namespaces: dict[str, str] = {}
    for context, entry in topology.contexts.items():
        if isinstance(entry.get("peers"), list):
            what = "a bundle gives every cluster the remote secrets of all, whatever peers says"
            yield Problem(
                topology.document.field_place("contexts", context, "peers"),
                what,
                "remove it, or remoteSecrets: bundle",
                code="bundle-with-peers",
            )
        namespace = entry.get("namespace", "istio-system")
        first = namespaces.setdefault("", namespace)
        if (
            isinstance(namespace, str)
            and entry.get("disableRegistryJoin") is not True
            and namespace != first
        ):
            what = f"a bundle has one namespace, and this is not {value_text(first)} as before"
            yield Problem(
                topology.document.field_place("contexts", context, "namespace"),
                what,
                "give all clusters the same namespace, or remove remoteSecrets: bundle",
                code="bundle-with-namespaces",
            )


def delivery_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Missing, superfluous and invalid keys of `delivery`."""
    delivery = topology.value.get("delivery")
    if not isinstance(delivery, dict):
        return
    tool = delivery.get("tool", "kubectl")
    facts = tool_facts(tool)
    if facts is None:
        return
    place = topology.document.field_place
    for key, owners in _foreign_delivery_keys(facts):
        if key in delivery:
            what = f"is for delivery.tool {owners}"
            yield Problem(place("delivery", key), what, "remove it", code="key-of-delivery-tool")
    if not facts.reads_git:
        return
    if "repoURL" not in delivery:
        yield Problem(
            topology.document.field_place("delivery"),
            f"{tool} has to know where the tree is kept",
            "state repoURL: URL of the git repository (and revision, path)",
            code="repository-missing",
        )
    url = delivery.get("repoURL")
    if isinstance(url, str) and not facts.accepts_url(url):
        what = f"{value_text(url)} is not a URL that {facts.title} reads a git repository from"
        yield Problem(
            topology.document.field_place("delivery", "repoURL"),
            what,
            "write https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH",
            code="repository-url-invalid",
        )


def _foreign_delivery_keys(facts: ToolFacts) -> Iterator[tuple[str, str]]:
    """The keys of `delivery` that a tool does not have, each with the tools that have it."""
    readers = {name: tool for name, tool in TOOL_FACTS.items() if tool.reads_git}
    own = {key: name for name, tool in readers.items() for key in tool.own_keys}
    if not facts.reads_git:
        for key in ("repoURL", "revision", "path", "namespace", *own):
            yield key, " or ".join(readers)
        return
    for key, owner in own.items():
        if key not in facts.own_keys:
            yield key, owner


def secret_store_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Missing and superfluous settings of the store."""
    stated = topology.value.get("secrets")
    stated = stated if isinstance(stated, dict) else {}
    store = stated.get("store", "plain")
    facts = store_facts(store)
    place = topology.document.field_place
    own = [context for context, entry in topology.contexts.items() if entry.get("recipients")]
    if facts.needs_recipients:
        for context in (
            () if stated.get("recipients") else [c for c in topology.contexts if c not in own]
        ):
            what = (
                f"{value_text(context)} has no recipient, so nobody could open what is"
                " encrypted for it"
            )
            fix = (
                "run `age-keygen` for that cluster, and state the public key under its recipients"
                " (or under secrets.recipients)"
            )
            yield Problem(place("contexts", context), what, fix, code="recipient-missing")
    elif own or "recipients" in stated:
        where = (
            place("secrets", "recipients")
            if "recipients" in stated
            else place("contexts", own[0], "recipients")
        )
        yield Problem(
            where,
            f"recipients are for the store sops; the store {store} has no use for them",
            "remove them, or write store: sops",
            code="recipients-unused",
        )
    if not facts.can_bundle and topology.value.get("remoteSecrets") == "bundle":
        what = "the store sealed seals for one cluster, and a bundle is for all of them"
        fix = "remove it, or take the store sops or external"
        yield Problem(place("remoteSecrets"), what, fix, code="bundle-with-sealed-store")
    if facts.needs_secret_store and "secretStore" not in stated:
        what = "the store external does not say which: secretStore is missing"
        yield Problem(
            place("secrets"),
            what,
            "state secretStore: {kind: ClusterSecretStore, name: NAME}, as it is in every cluster",
            code="secret-store-missing",
        )
    for key in ("secretStore", "path") if not facts.needs_secret_store else ():
        if key in stated:
            what = f"is for the store external; the store {store} has no use for it"
            fix = "remove it, or write store: external"
            yield Problem(place("secrets", key), what, fix, code="key-of-external-store")


def issuer_problems(topology: StatedTopology) -> Iterator[Problem]:
    """A missing or superfluous `issuerRef`."""
    stated = topology.value.get("certificates")
    stated = stated if isinstance(stated, dict) else {}
    issuer = stated.get("issuer", DEFAULT_ISSUER)
    facts = ISSUERS.get(issuer) if isinstance(issuer, str) else None
    if facts is None:
        return
    if facts.in_clusters and "issuerRef" not in stated:
        what = f"the issuer {issuer} does not say which: issuerRef is missing"
        yield Problem(
            topology.document.field_place("certificates"),
            what,
            "state issuerRef: {name: NAME, kind: ClusterIssuer}, as it is in every cluster",
            code="issuer-reference-missing",
        )
    if not facts.in_clusters and "issuerRef" in stated:
        what = (
            f"is for the issuers cert-manager and istio-csr; the issuer {issuer} has no use for it"
        )
        yield Problem(
            topology.document.field_place("certificates", "issuerRef"),
            what,
            "remove it, or write issuer: cert-manager",
            code="issuer-reference-unused",
        )
