"""The API server of each cluster, from a kubeconfig and topology.yaml.

A kubeconfig provides the server, its CA and its TLS server name; credentials in it are ignored.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from kubectl_mesh.credentials.kubeconfig_file import index_entries, parse_server
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Cluster, Document, Server, Topology
from kubectl_mesh.model.address import is_loopback, url_fault
from kubectl_mesh.text import Suggestions, mesh_command, value_text, work_path
from kubectl_mesh.x509.parse import PemError, parse_certificates


@dataclass(frozen=True, slots=True)
class KubeconfigContext:
    """The API server of a kubeconfig's context; `fault` is the reason why it cannot be used."""

    place: Place
    server: str = ""
    ca: bytes | None = field(default=None, repr=False)
    ca_file: str | None = None
    tls_server_name: str | None = None
    insecure: bool = False
    fault: str = ""
    lacks_server: bool = False
    """The fault is a missing server."""


def parse_contexts(document: Document) -> dict[str, KubeconfigContext]:
    """The contexts of a kubeconfig that was loaded with `typed=False`. Of two with the same name
    the last one counts, as in kubectl.
    """
    if not isinstance(document.value, dict) or not isinstance(
        document.value.get("contexts", []), list | None
    ):
        raise MeshError(
            [
                Problem(
                    Place(document.name),
                    "is not a kubeconfig: it has no list of contexts",
                    code="not-a-kubeconfig",
                )
            ]
        )
    clusters = index_entries(document.value, "clusters")
    entries = {}
    for index, item in enumerate(document.value.get("contexts") or ()):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            context = item.get("context")
            cluster_name = context.get("cluster") if isinstance(context, dict) else None
            place = document.field_place("contexts", index)
            if isinstance(cluster_name, str) and cluster_name in clusters:
                number, cluster = clusters[cluster_name]
                entries[item["name"]] = _parse_entry(
                    document.field_place("clusters", number), cluster
                )
            else:
                fault = (
                    "is not named: the context has no `cluster`"
                    if cluster_name in (None, "")
                    else (
                        f"names the cluster {value_text(cluster_name)}, which the file does not"
                        " have"
                    )
                )
                entries[item["name"]] = KubeconfigContext(place, fault=fault)
    return entries


def _parse_entry(place: Place, cluster: Any) -> KubeconfigContext:
    if cluster in (None, ""):
        cluster = {}  # `cluster:` with nothing below, as in Istio's former example
    if not isinstance(cluster, dict):
        return KubeconfigContext(place, fault="is not a mapping with a server and its CA")
    server = parse_server(cluster)
    if server.has_invalid_ca:
        return KubeconfigContext(place, fault="has a certificate-authority-data that is not base64")
    return KubeconfigContext(
        place,
        server=server.url or "",
        ca=server.ca or None,
        ca_file=server.ca_file or None,
        tls_server_name=server.tls_server_name or None,
        insecure=server.insecure,
        fault="" if server.url else "has no server",
        lacks_server=not server.url,
    )


def has_credentials(document: Document) -> bool:
    """Whether a kubeconfig contains credentials, so that git must never have it."""
    users = document.value.get("users") if isinstance(document.value, dict) else None
    kinds = {"token", "password", "client-key-data", "auth-provider"}
    return any(
        isinstance(u, dict) and isinstance(u.get("user"), dict) and kinds & set(u["user"])
        for u in (users if isinstance(users, list) else ())
    )


def ca_fault(pem: bytes) -> str:
    """Why a text is not the CA of an API server, or an empty text."""
    if b"PRIVATE KEY" in pem:
        return "holds a private key; a CA certificate is public"
    try:
        parse_certificates(pem, strict=False)
    except PemError:
        return "is not a PEM certificate that can be read"
    return ""


def ca_date_problems(
    cas: Iterable[tuple[str, bytes, Place]], now: datetime, within: timedelta | None = None
) -> list[Problem]:
    """CAs of API servers that have expired, or expire within a time (None: soon). `cas` has a
    cluster, its PEM text and its place.

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
        if begin > now:
            what, code = f"is not valid before {begin:%Y-%m-%d}", "certificate-not-yet-valid"
        elif end <= now:
            what, code = f"expired on {end:%Y-%m-%d}", "certificate-expired"
        elif end - now <= soon:
            what = f"expires on {end:%Y-%m-%d}, in {(end - now).days} days"
            code = "certificate-expiring"
        else:
            continue
        problems.append(
            Problem(
                place,
                f"the CA of the API server of {name} {what}",
                f"put the new CA into {work_path(f'clusters/{name}.crt')}, render and apply",
                "server-ca-expiring" if code == "certificate-expiring" else "server-ca-expired",
                code=code,
            )
        )
    return problems


def ca_dates(pem: bytes) -> tuple[datetime, datetime] | None:
    """The validity of the certificate that expires last; None if a text contains no readable one,
    which `server-ca` reports.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        return None
    return max(
        ((c.not_valid_before_utc, c.not_valid_after_utc) for c in certificates),
        key=lambda dates: dates[1],
    )


@dataclass(frozen=True, slots=True)
class Servers:
    """The known API servers of a mesh."""

    servers: Mapping[str, Server] = field(default_factory=dict)
    """By cluster."""
    faults: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """The problems with the servers of other clusters, by cluster."""
    problems: tuple[Problem, ...] = ()
    """Why the kubeconfig cannot be used at all."""


def find_servers(
    topology: Topology, kubeconfig: Document | None, files: Mapping[str, bytes]
) -> Servers:
    """The API servers of all clusters that state one.

    A server of the kubeconfig comes with the CA next to it. A server of the topology comes with
    `clusters/NAME.crt`, or else with that CA. `certificateAuthority` overrides both. `files` are
    the CA files of the working directory, by their names in the topology.
    """
    try:
        entries = parse_contexts(kubeconfig) if kubeconfig is not None else None
    except MeshError as error:
        return Servers(problems=error.problems)
    source = kubeconfig.name if kubeconfig is not None else ""
    search = _Search(topology, source, entries, files)
    servers: dict[str, Server] = {}
    faults: dict[str, tuple[Problem, ...]] = {}
    for cluster in topology.clusters:
        server = search.find_server(cluster)
        if isinstance(server, Server):
            servers[cluster.name] = server
        elif server is not None:
            faults[cluster.name] = (server,)
    return Servers(servers, faults)


class _Search:
    """Finds the servers of clusters, one after the other."""

    def __init__(
        self,
        topology: Topology,
        source: str,
        entries: Mapping[str, KubeconfigContext] | None,
        files: Mapping[str, bytes],
    ) -> None:
        self._topology, self._source, self._files = topology, source, files
        self._entries = entries
        self._hints = Suggestions()
        used = {c.context for c in topology.clusters}
        self._unused = sorted(set(entries or ()) - used)

    def find_server(self, cluster: Cluster) -> Server | Problem | None:
        """The server of a cluster, or its problem; None if no server is stated."""
        if cluster.server is not None:
            return self._stated_server(cluster, cluster.server)
        if self._entries is None:
            return None
        if cluster.context not in self._entries:
            return self._unknown_context(cluster)
        entry = self._entries[cluster.context]
        stated = self._stated_ca(cluster)
        if isinstance(stated, Problem):
            return stated
        find = entry_problem if stated is None else reach_problem
        problem = find(entry, cluster.context, cluster.place, self._source)
        if problem is not None:
            return problem
        ca = stated if stated is not None else entry.ca
        assert ca is not None
        return Server(entry.server, ca, cluster.tls_server_name or entry.tls_server_name)

    def _unknown_context(self, cluster: Cluster) -> Problem:
        hint = self._hints.did_you_mean(cluster.context, lambda: self._unused)
        some = f"{', '.join(self._unused[:5])}{', …' if len(self._unused) > 5 else ''}"
        fix = (
            ""
            if hint or not self._unused
            else f"of its contexts these are not in the topology: {some}"
        )
        what = f"no such context in {self._source}{hint}"
        return Problem(cluster.place, what, fix, "kubeconfig-context", code="context-unknown")

    def _stated_server(self, cluster: Cluster, url: str) -> Server | Problem:
        """The server of the topology, with its CA."""
        ca = self._stated_ca(cluster)
        if ca is None:
            ca = self._read_ca(f"clusters/{cluster.name}.crt")
        if isinstance(ca, Problem):
            return ca
        entry = (self._entries or {}).get(cluster.context)
        if (
            ca is None
            and entry is not None
            and not entry.insecure
            and not ca_fault(entry.ca or b"")
        ):
            ca = entry.ca
        if ca is None:
            return Problem(
                cluster.place,
                "states a server but no CA for it",
                f"put the CA into {work_path(f'clusters/{cluster.name}.crt')}, or state"
                f" contexts.{cluster.context}.certificateAuthority",
                "server-ca",
                code="server-without-ca",
            )
        return Server(url, ca, cluster.tls_server_name)

    def _stated_ca(self, cluster: Cluster) -> bytes | Problem | None:
        """The CA of `certificateAuthority`."""
        if cluster.certificate_authority is None:
            return None
        place = self._topology.document.field_place(
            "contexts", cluster.context, "certificateAuthority"
        )
        if "-----BEGIN" in cluster.certificate_authority:
            pem = cluster.certificate_authority.encode()
            return _ca_problem(place, pem) or pem
        if cluster.certificate_authority not in self._files:
            what = f"there is no file {value_text(cluster.certificate_authority)}"
            return Problem(place, what, id="server-ca", code="server-ca-missing")
        return self._read_ca(cluster.certificate_authority)

    def _read_ca(self, name: str) -> bytes | Problem | None:
        pem = self._files.get(name)
        return None if pem is None else _ca_problem(Place(name), pem) or pem


def _ca_problem(place: Place, pem: bytes) -> Problem | None:
    fault = ca_fault(pem)
    return Problem(place, fault, id="server-ca", code="server-ca-invalid") if fault else None


def reach_problem(entry: KubeconfigContext, context: str, at: Place, source: str) -> Problem | None:
    """Why peers cannot reach the server of a kubeconfig."""
    line = f"{source}:{entry.place.line}"
    fix = (
        f"state the server as the peers reach it: contexts.{context}.server (and its CA in"
        f" contexts.{context}.certificateAuthority, if it is another)"
    )
    if entry.lacks_server:
        add = mesh_command(f"add {shlex.quote(context)} --network NETWORK")
        fix = (
            f"copy it from your own kubeconfig: `{add}`; or state contexts.{context}.server and"
            f" contexts.{context}.certificateAuthority"
        )
    if entry.fault:
        what, code = f"its cluster in {line} {entry.fault}", "server-missing"
    elif fault := url_fault(entry.server):
        what, code = (
            f"its server in {line}, {value_text(entry.server)}, {fault}",
            "server-url-invalid",
        )
    elif is_loopback(entry.server):
        if context.startswith("kind-"):
            fix += "; kind prints it with `kind get kubeconfig --internal`"
        what, code = (
            (
                f"its server in {line} is the loopback address {entry.server}, at which no peer"
                " reaches it"
            ),
            "server-loopback",
        )
    elif entry.server.startswith("http:"):
        what, code = (
            (
                f"its server in {line} is plain http, {entry.server}, over which tokens would"
                " travel in clear"
            ),
            "server-plain-http",
        )
    else:
        return None
    return Problem(at, what, fix, "server-reachable", code=code)


def entry_problem(entry: KubeconfigContext, context: str, at: Place, source: str) -> Problem | None:
    """Why peers cannot use the server and the CA of a kubeconfig; None if they can."""
    if problem := reach_problem(entry, context, at, source):
        return problem
    line = f"{source}:{entry.place.line}"
    fix = f"state contexts.{context}.certificateAuthority"
    if entry.insecure:
        what, code = (
            (f"its cluster in {line} has insecure-skip-tls-verify; peers verify the API server"),
            "server-unverified",
        )
    elif entry.ca is None and entry.ca_file:
        flat = f"kubectl config view --raw --flatten --minify --context={shlex.quote(context)}"
        what, code = (
            (
                f"its cluster in {line} names the CA as a file, {value_text(entry.ca_file)}, which"
                " is"
                " not there, or not read by a render"
            ),
            "server-ca-missing",
        )
        fix += f", or take the kubeconfig from `{flat}`"
    elif entry.ca is None:
        what, code = f"its cluster in {line} has no CA", "server-without-ca"
    elif fault := ca_fault(entry.ca):
        what, code = f"the CA of its cluster in {line} {fault}", "server-ca-invalid"
    else:
        return None
    return Problem(at, what, fix, "server-ca", code=code)


def usable_ca(entry: KubeconfigContext, context: str, at: Place, source: str) -> bytes:
    """The CA of a context that peers can use; raises a `MeshError` if they cannot."""
    problem = entry_problem(entry, context, at, source)
    if problem is not None:
        raise MeshError([problem])
    assert entry.ca is not None
    return entry.ca
