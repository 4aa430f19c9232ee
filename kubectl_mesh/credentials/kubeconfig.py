"""kubeconfig: a `Document` of kubectl's becomes, for each cluster of a `Topology`, the `Server` at
which its peers reach it.

From a kubeconfig come the server, its CA and the name to check the certificate for; credentials are
not even looked at.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from kubectl_mesh.credentials.kubeconfig_file import index_entries, parse_server
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Cluster, Document, Server, Topology
from kubectl_mesh.model.address import is_loopback, url_fault
from kubectl_mesh.text import Hints, shown
from kubectl_mesh.x509.parse import PemError, parse_certificates


@dataclass(frozen=True, slots=True)
class Entry:
    """What a kubeconfig says of one context's cluster; `fault` tells why it cannot be used."""

    place: Place
    server: str = ""
    ca: bytes | None = field(default=None, repr=False)
    ca_file: str | None = None
    tls_server_name: str | None = None
    insecure: bool = False
    fault: str = ""


NO_SERVER = "has no server"


def contexts(document: Document) -> dict[str, Entry]:
    """The contexts of a kubeconfig that was loaded with `typed=False`; of two with one name kubectl
    takes the last, and so do we.
    """
    if not isinstance(document.value, dict) or not isinstance(
        document.value.get("contexts", []), list | None
    ):
        raise MeshError(
            [Problem(Place(document.name), "is not a kubeconfig: it has no list of contexts")]
        )
    clusters = index_entries(document.value, "clusters")
    found = {}
    for index, item in enumerate(document.value.get("contexts") or ()):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            context = item.get("context")
            wanted = context.get("cluster") if isinstance(context, dict) else None
            place = document.place("contexts", index)
            if isinstance(wanted, str) and wanted in clusters:
                number, cluster = clusters[wanted]
                found[item["name"]] = _entry(document.place("clusters", number), cluster)
            else:
                fault = (
                    "is not named: the context has no `cluster`"
                    if wanted in (None, "")
                    else f"names the cluster {shown(wanted)}, which the file does not have"
                )
                found[item["name"]] = Entry(place, fault=fault)
    return found


def _entry(place: Place, cluster: Any) -> Entry:
    if cluster in (None, ""):
        cluster = {}  # as the original page prints it: `cluster:` with nothing below
    if not isinstance(cluster, dict):
        return Entry(place, fault="is not a mapping with a server and its CA")
    server = parse_server(cluster)
    if server.has_invalid_ca:
        return Entry(place, fault="has a certificate-authority-data that is not base64")
    return Entry(
        place,
        server=server.url or "",
        ca=server.ca or None,
        ca_file=server.ca_file or None,
        tls_server_name=server.tls_server_name or None,
        insecure=server.insecure,
        fault="" if server.url else NO_SERVER,
    )


def credentials(document: Document) -> bool:
    """Whether a kubeconfig holds a credential, so that git must never have it."""
    users = document.value.get("users") if isinstance(document.value, dict) else None
    kinds = {"token", "password", "client-key-data", "auth-provider"}
    return any(
        isinstance(u, dict) and isinstance(u.get("user"), dict) and kinds & set(u["user"])
        for u in (users if isinstance(users, list) else ())
    )


def ca_fault(pem: bytes) -> str:
    """Why a text is no CA for an API server, or nothing."""
    if b"PRIVATE KEY" in pem:
        return "holds a private key; a CA certificate is public"
    try:
        parse_certificates(pem, whole=False)
    except PemError:
        return "is not a PEM certificate that can be read"
    return ""


def ca_date_problems(
    cas: Iterable[tuple[str, bytes, Place]], now: datetime, within: timedelta | None = None
) -> list[Problem]:
    """CAs of API servers that have expired, or expire within a time (None: soon); each with its
    cluster and its place.

    Of several certificates in one text the last to expire counts, because peers accept any of them.
    """
    problems: list[Problem] = []
    known: dict[bytes, tuple[datetime, datetime] | None] = {}
    for name, pem, place in cas:
        if pem not in known:
            known[pem] = ca_dates(pem)
        dates = known[pem]
        if dates is None:
            continue
        begin, end = dates
        soon = within if within is not None else min(timedelta(days=30), (end - begin) / 10)
        ca, fix = (
            f"the CA of the API server of {name}",
            f"put the new CA into clusters/{name}.crt, render and apply",
        )
        if begin > now:
            problems.append(
                Problem(
                    place, f"{ca} is not valid before {begin:%Y-%m-%d}", fix, "server-ca-expired"
                )
            )
        elif end <= now:
            problems.append(
                Problem(place, f"{ca} expired on {end:%Y-%m-%d}", fix, "server-ca-expired")
            )
        elif end - now <= soon:
            problems.append(
                Problem(
                    place,
                    f"{ca} expires on {end:%Y-%m-%d}, in {(end - now).days} days",
                    fix,
                    "server-ca-expiring",
                )
            )
    return problems


def ca_dates(pem: bytes) -> tuple[datetime, datetime] | None:
    """The validity of the certificate that expires last; None if a text holds none that can be
    read, which `server-ca` reports.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        return None
    return max(
        ((c.not_valid_before_utc, c.not_valid_after_utc) for c in certificates),
        key=lambda dates: dates[1],
    )


Judge = Callable[[bytes], str]
"""As `ca_fault`."""


def servers(
    topology: Topology,
    kubeconfig: Document | None,
    files: Mapping[str, bytes],
    judge: Judge = ca_fault,
) -> tuple[dict[str, Server], dict[str, tuple[Problem, ...]]]:
    """The server of every cluster for which it is known, and what is wrong with those of the
    others, by cluster name.

    A server from the kubeconfig goes with the CA beside it there, one that the topology states with
    `clusters/NAME.crt` or else that CA too; a `certificateAuthority` goes before either. `files`
    holds the CA files of the working directory by the names that the topology uses. `judge` says
    what is wrong with the text of a CA.
    """
    entries = contexts(kubeconfig) if kubeconfig is not None else None
    source = kubeconfig.name if kubeconfig is not None else ""
    used = {c.context for c in topology.clusters}
    hints, free = Hints(), sorted(set(entries or ()) - used)
    problems: dict[str, tuple[Problem, ...]] = {}
    found: dict[str, Server] = {}
    for cluster in topology.clusters:
        at = cluster.place
        if cluster.server is None and entries is not None and cluster.context not in entries:
            hint = hints.near(cluster.context, lambda: free)
            fix = (
                ""
                if hint or not free
                else (
                    "of its contexts these are not in the topology:"
                    f" {', '.join(free[:5])}{', …' if len(free) > 5 else ''}"
                )
            )
            problems[cluster.name] = (
                Problem(at, f"no such context in {source}{hint}", fix, "kubeconfig-context"),
            )
            continue
        entry = entries[cluster.context] if cluster.server is None and entries is not None else None
        if cluster.server is None and entry is None:
            continue
        try:
            stated = _stated_ca(topology, cluster, files, judge)
            if entry is None:
                assert cluster.server is not None
                ca = (
                    stated
                    if stated is not None
                    else _read(files, f"clusters/{cluster.name}.crt", judge)
                )
                if (
                    ca is None
                    and entries is not None
                    and cluster.context in entries
                    and not entries[cluster.context].insecure
                ):
                    ca = entries[cluster.context].ca
                if ca is None or judge(ca):
                    raise MeshError(
                        [
                            Problem(
                                at,
                                "states a server but no CA for it",
                                f"put the CA into clusters/{cluster.name}.crt, or state"
                                f" contexts.{cluster.context}.certificateAuthority",
                                id="server-ca",
                            )
                        ]
                    )
                found[cluster.name] = Server(cluster.server, ca, cluster.tls_server_name)
            else:
                ca = (
                    stated
                    if stated is not None
                    else usable(entry, cluster.context, at, source, judge)
                )
                if stated is not None:
                    reachable(entry, cluster.context, at, source)
                found[cluster.name] = Server(
                    entry.server, ca, cluster.tls_server_name or entry.tls_server_name
                )
        except MeshError as error:
            problems[cluster.name] = error.problems
    return found, problems


def _read(files: Mapping[str, bytes], name: str, judge: Judge) -> bytes | None:
    pem = files.get(name)
    if pem is not None and (fault := judge(pem)):
        raise MeshError([Problem(Place(name), fault, id="server-ca")])
    return pem


def _stated_ca(
    topology: Topology, cluster: Cluster, files: Mapping[str, bytes], judge: Judge
) -> bytes | None:
    """The CA that `certificateAuthority` names or holds."""
    if cluster.authority is None:
        return None
    place = topology.document.place("contexts", cluster.context, "certificateAuthority")
    if "-----BEGIN" in cluster.authority:
        pem = cluster.authority.encode()
        if fault := judge(pem):
            raise MeshError([Problem(place, fault, id="server-ca")])
        return pem
    if cluster.authority not in files:
        raise MeshError(
            [Problem(place, f"there is no file {shown(cluster.authority)}", id="server-ca")]
        )
    return _read(files, cluster.authority, judge)


def reachable(entry: Entry, context: str, at: Place, source: str) -> None:
    """Raises where peers cannot use the server that a kubeconfig gives."""
    stands = f"{source}:{entry.place.line}"
    fix = (
        f"state the server as the peers reach it: contexts.{context}.server (and its CA in"
        f" contexts.{context}.certificateAuthority, if it is another)"
    )
    if entry.fault == NO_SERVER:
        words = f"kubectl mesh add {shlex.quote(context)} --network NETWORK"
        fix = (
            f"copy it from your own kubeconfig: `{words}`; or state contexts.{context}.server and"
            f" contexts.{context}.certificateAuthority"
        )
    if entry.fault:
        raise MeshError(
            [Problem(at, f"its cluster in {stands} {entry.fault}", fix, id="server-reachable")]
        )
    if fault := url_fault(entry.server):
        raise MeshError(
            [
                Problem(
                    at,
                    f"its server in {stands}, {shown(entry.server)}, {fault}",
                    fix,
                    id="server-reachable",
                )
            ]
        )
    if is_loopback(entry.server):
        if context.startswith("kind-"):
            fix += "; kind prints it with `kind get kubeconfig --internal`"
        what = (
            f"its server in {stands} is the loopback address {entry.server}, at which no peer"
            " reaches it"
        )
        raise MeshError([Problem(at, what, fix, id="server-reachable")])
    if entry.server.startswith("http:"):
        what = (
            f"its server in {stands} is plain http, {entry.server}, over which tokens would travel"
            " in clear"
        )
        raise MeshError([Problem(at, what, fix, id="server-reachable")])


def usable(entry: Entry, context: str, at: Place, source: str, judge: Judge = ca_fault) -> bytes:
    """The CA of an entry that peers can use; raises a `MeshError` where they cannot."""
    reachable(entry, context, at, source)
    stands = f"{source}:{entry.place.line}"
    fix = f"state contexts.{context}.certificateAuthority"
    if entry.insecure:
        raise MeshError(
            [
                Problem(
                    at,
                    f"its cluster in {stands} has insecure-skip-tls-verify; peers verify the API"
                    " server",
                    fix,
                    id="server-ca",
                )
            ]
        )
    if entry.ca is None and entry.ca_file:
        flat = f"kubectl config view --raw --flatten --minify --context={shlex.quote(context)}"
        what = (
            f"its cluster in {stands} names the CA as a file, {shown(entry.ca_file)}, which is not"
            " there, or not read by a render"
        )
        raise MeshError(
            [Problem(at, what, f"{fix}, or take the kubeconfig from `{flat}`", id="server-ca")]
        )
    if entry.ca is None:
        raise MeshError([Problem(at, f"its cluster in {stands} has no CA", fix, id="server-ca")])
    if fault := judge(entry.ca):
        raise MeshError(
            [Problem(at, f"the CA of its cluster in {stands} {fault}", fix, id="server-ca")]
        )
    return entry.ca
