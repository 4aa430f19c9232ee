"""The checks that pass offline and still prove nothing about a running cluster, each with the
command that shows it.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from kubectl_mesh.checks.result import Unknown
from kubectl_mesh.credentials.accounts import reader_secret
from kubectl_mesh.credentials.logins import claims
from kubectl_mesh.model import Cluster, Plan, Server, Topology
from kubectl_mesh.model.commands import address_command, kubectl
from kubectl_mesh.text import count

_TREE = (
    "tree-complete",
    "tree-root",
    "tree-own",
    "tree-chain",
    "tree-pair",
    "tree-ca",
    "tree-expired",
    "tree-expiring",
)
_REMOTES = ("remote-server", "remote-ca", "remote-login")


def unknown_checks(
    topology: Topology,
    servers: Mapping[str, Server],
    plan: Plan | None,
    ca_file: Callable[[Cluster], str | None],
    *,
    is_proven: bool,
    can_detect_platform: bool,
) -> dict[str, Unknown]:
    """What stays unknown, by check; `ca_file` names the file with a cluster's CA, `is_proven` if
    what is sealed in the tree can be compared.

    `can_detect_platform` if an operator chooses the ztunnel that istiod trusts.
    """
    found = dict(_server_checks(topology, servers, ca_file))
    found |= _version_checks(topology)
    found |= _tree_checks(topology, is_proven=is_proven)
    if can_detect_platform and topology.ambient and topology.issuer != "istio-csr":
        found |= _ztunnel_checks(topology)
    if plan is not None:
        found |= _gateway_checks(plan)
        found |= _token_checks(plan)
    return found


def tls_command(server: Server, ca: str) -> str:
    """The command that verifies an API server by a CA in a file."""
    url = urlsplit(server.url)
    host, port = url.hostname or "", url.port or 443
    shown = f"[{host}]" if ":" in host else host
    name = server.tls_server_name or host
    verify = "-verify_ip" if name.replace(".", "").isdigit() or ":" in name else "-verify_hostname"
    words = [
        "openssl",
        "s_client",
        "-connect",
        f"{shown}:{port}",
        *(["-servername", name] if verify == "-verify_hostname" else []),
    ]
    return shlex.join([*words, "-CAfile", ca, verify, name, "-verify_return_error"]) + " </dev/null"


def _server_checks(
    topology: Topology, servers: Mapping[str, Server], ca_file: Callable[[Cluster], str | None]
) -> Iterator[tuple[str, Unknown]]:
    known = [c for c in topology.clusters if c.name in servers]
    if not known:
        return
    first = known[0]
    server = servers[first.name]
    file = ca_file(first)
    command = (
        tls_command(server, file) if file is not None else kubectl(first, "get", "--raw", "/readyz")
    )
    same: dict[bytes, list[str]] = {}
    for cluster in known:
        same.setdefault(servers[cluster.name].ca.strip(), []).append(cluster.name)
    shared = [names for names in same.values() if len(names) > 1]
    also = "".join(
        f"; {' and '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} have"
        " the same CA"
        for names in shared[:2]
    )
    yield (
        "server-ca",
        Unknown(
            f"whether each API server's certificate is signed by the CA given for it{also}", command
        ),
    )
    peer = next((c for c in topology.clusters if c.name != first.name and c.joined), first)
    probe = [
        "run",
        "-i",
        "--rm",
        "--restart=Never",
        "--image=curlimages/curl",
        "mesh-probe",
        "--",
        "curl",
        "-ksS",
        "-m",
        "5",
        f"{server.url}/livez",
    ]
    yield (
        "server-reachable",
        Unknown(
            "whether pods of the peers reach each API server",
            kubectl(peer, "-n", peer.namespace, *probe),
        ),
    )
    if len(known) > 1:
        uid = kubectl(first, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
        yield (
            "server-unique",
            Unknown(
                "whether two URLs lead to one cluster; the UIDs of kube-system differ if they"
                " do not",
                uid,
            ),
        )


def _version_checks(topology: Topology) -> dict[str, Unknown]:
    silent = [
        c
        for c in topology.clusters
        if c.primary is None and any(r.version is None for r in c.releases)
    ]
    if not silent:
        return {}
    what = (
        f"no version of Istio is stated for {count(len(silent), 'cluster')}, and the newest known"
        " version is assumed"
    )
    command = f"istioctl version --context={shlex.quote(silent[0].context)}"
    return {
        check: Unknown(what, command)
        for check in (
            "istio-version",
            "istio-known",
            "version-skew",
            "certs-key-type",
            "crl-read",
            "secret-change",
        )
    }


def _tree_checks(topology: Topology, *, is_proven: bool) -> dict[str, Unknown]:
    own = next((c for c in topology.clusters if c.primary is None), None)
    if own is None:
        return {}
    where = kubectl(
        own,
        "-n",
        own.namespace,
        "get",
        "secret",
        "cacerts",
        "-o",
        'go-template={{index .data "root-cert.pem" | base64decode}}',
    )
    if not topology.own_intermediates:
        what = f"{topology.issuer} issues the certificates in the clusters, and the tree has none"
        return dict.fromkeys((*_TREE, "certs-one-root"), Unknown(what, where))
    if topology.store == "external":
        what = "the tree only names entries of the secret store"
        return dict.fromkeys(("tree-complete", *_TREE), Unknown(what, where))
    if topology.store != "plain" and not is_proven:
        what = (
            "the Secrets in the tree are encrypted, and certs/seal-key, by which they are compared,"
            " is missing"
        )
        return dict.fromkeys(
            (*_TREE, *_REMOTES), Unknown(what, "kubectl mesh verify --identity FILE")
        )
    return {}


def _ztunnel_checks(topology: Topology) -> dict[str, Unknown]:
    cluster = topology.clusters[0]
    env = '{.spec.template.spec.containers[0].env[?(@.name=="CA_TRUSTED_NODE_ACCOUNTS")].value}'
    what = (
        "whether the Sail operator runs on OpenShift, where istiod trusts ztunnel in kube-system"
        " unless trustedZtunnelNamespace is stated"
    )
    return {
        "ztunnel-trusted": Unknown(
            what,
            kubectl(
                cluster,
                "-n",
                cluster.namespace,
                "get",
                "deployment",
                "-l",
                "app=istiod",
                "-o",
                f"jsonpath={{.items[*]{env[1:]}",
            ),
        )
    }


def _gateway_checks(plan: Plan) -> dict[str, Unknown]:
    """The gateways that istiod finds by a label: their addresses are in the Services, or are those
    of nodes.
    """
    if not plan.several_networks:
        return {}
    by_label = [m for m in plan.members.values() if m.gateway_kind is not None and not m.declared]
    if not by_label:
        return {}
    what = (
        f"whether the Services of {count(len(by_label), 'east-west gateway')} have an address,"
        " which istiod reads from them"
    )
    first = by_label[0].cluster
    nodes = kubectl(
        first,
        "get",
        "nodes",
        "-o",
        'jsonpath={.items[*].status.addresses[?(@.type=="ExternalIP")].address}',
    )
    return {
        "gateway-pending": Unknown(
            what, nodes if first.east_west.service_type == "NodePort" else address_command(first)
        )
    }


def _token_checks(plan: Plan) -> dict[str, Unknown]:
    """A token that is not a JWT has no date, and one that is not here cannot be read; whether
    Kubernetes still accepts one is in no file.
    """
    silent = [
        m
        for m in plan.members.values()
        if m.absent or any(_has_no_date(login) for login in m.logins.values())
    ]
    missing = [m for m in plan.members.values() if m.readers and not m.logins]
    unread = sorted({m.cluster.name for m in (*silent, *missing)})
    if not unread:
        return {}
    cluster = plan.members[unread[0]].cluster
    command = kubectl(
        cluster,
        "-n",
        cluster.namespace,
        "get",
        "secret",
        reader_secret(cluster),
        "-o",
        "jsonpath={.metadata.creationTimestamp}",
    )
    what = (
        f"the tokens of {count(len(unread), 'cluster')}"
        f" ({', '.join(unread[:3])}{', …' if len(unread) > 3 else ''}) have no date, or are not"
        " here"
    )
    return dict.fromkeys(("token-expired", "token-expiring", "token-old"), Unknown(what, command))


def _has_no_date(login: Mapping[str, object]) -> bool:
    token = login.get("token")
    return isinstance(token, str) and claims(token) is None
