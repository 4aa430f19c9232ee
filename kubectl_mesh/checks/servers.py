"""The checks of the API servers, as the peers reach them."""

import shlex
from collections.abc import Iterable
from urllib.parse import urlsplit

from kubectl_mesh.checks.check import Check, StageCheck, Unknown
from kubectl_mesh.checks.context import ERROR, WARNING, CheckContext, Finding, InputFacts, Needs
from kubectl_mesh.checks.pending import PendingCheck
from kubectl_mesh.credentials.api_servers import ca_date_problems
from kubectl_mesh.model import Cluster, Server
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.text import mesh_command, work_path

_NEW_CA = (
    f"Put the new CA into `{work_path('clusters/NAME.crt')}` before the old one ends, render,"
    " review and apply."
)


def judge_ca_dates(context: CheckContext) -> tuple[Finding, ...]:
    """The CAs of API servers that expired or expire soon."""
    if context.inputs is None:
        return ()
    within = context.limits.fail_within
    return tuple(
        Finding(ERROR if p.id == ServerCaExpired.id or within is not None else WARNING, p)
        for p in ca_date_problems(context.inputs.server_cas, context.now, within)
    )


class CaDateCheck(Check):
    """A check of the dates of API servers' CAs."""

    def find_problems(self, context: CheckContext) -> Iterable[Finding]:
        return self.select_own(context.run_once(judge_ca_dates))


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


def _known_servers(inputs: InputFacts) -> list[Cluster]:
    return [c for c in inputs.topology.clusters if c.name in inputs.servers]


class KubeconfigContext(StageCheck):
    id = "kubeconfig-context"
    category = "servers"
    severity = ERROR
    sentence = "every context is in the kubeconfig, or states its server"
    prevents = "a remote secret for a cluster that does not exist"
    remedy = (
        "Write the context's name as the kubeconfig has it (`kubectl config get-contexts -o name`),"
        " or state `server` and `certificateAuthority`."
    )
    needs = Needs.INPUTS | Needs.EVERY_SERVER


class ServerReachable(StageCheck):
    id = "server-reachable"
    category = "servers"
    severity = ERROR
    sentence = "peers can reach every API server by https"
    prevents = "istiod: `failed to list … connection refused`, and no endpoints of the cluster"
    remedy = (
        "State in `contexts.CTX.server` the https URL by which the other clusters reach the API"
        " server; a loopback address is never it."
    )
    needs = Needs.INPUTS | Needs.SERVERS

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        known = _known_servers(inputs)
        if not known:
            return None
        first = known[0]
        peers = (c for c in inputs.topology.clusters if c.name != first.name and c.is_joined)
        peer = next(peers, first)
        pod = ["run", "-i", "--rm", "--restart=Never", "--image=curlimages/curl", "mesh-probe"]
        curl = ["--", "curl", "-ksS", "-m", "5", f"{inputs.servers[first.name].url}/livez"]
        what = "whether pods of the peers reach each API server"
        return Unknown(what, cluster_command(peer, "-n", peer.namespace, *pod, *curl))


class ServerCa(StageCheck):
    id = "server-ca"
    category = "servers"
    severity = ERROR
    sentence = "every API server has a CA that peers verify it by"
    prevents = "istiod: `x509: certificate signed by unknown authority`"
    remedy = (
        f"Put the CA of the API server into `{work_path('clusters/NAME.crt')}`; behind a proxy it"
        " is the CA of the proxy."
    )
    needs = Needs.INPUTS | Needs.SERVERS

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        known = _known_servers(inputs)
        if not known:
            return None
        file = inputs.ca_files.get(known[0].name)
        command = (
            tls_command(inputs.servers[known[0].name], file)
            if file is not None
            else cluster_command(known[0], "get", "--raw", "/readyz")
        )
        same: dict[bytes, list[str]] = {}
        for cluster in known:
            same.setdefault(inputs.servers[cluster.name].ca.strip(), []).append(cluster.name)
        shared = [names for names in same.values() if len(names) > 1]
        also = "".join(
            f"; {' and '.join(names[:3])}"
            f"{f' and {len(names) - 3} more' if len(names) > 3 else ''} have the same CA"
            for names in shared[:2]
        )
        what = f"whether each API server's certificate is signed by the CA given for it{also}"
        return Unknown(what, command)


class ServerCaExpired(CaDateCheck):
    id = "server-ca-expired"
    category = "servers"
    severity = ERROR
    sentence = "every CA that is given for an API server is valid today"
    prevents = (
        "istiod: `x509: certificate has expired or is not yet valid`, and no endpoints of the"
        " cluster"
    )
    remedy = _NEW_CA
    needs = Needs.INPUTS | Needs.SERVERS


class ServerCaExpiring(CaDateCheck):
    id = "server-ca-expiring"
    category = "servers"
    severity = WARNING
    sentence = (
        "no CA that is given for an API server expires soon; within the time of --fail-within it is"
        " an error"
    )
    prevents = "a cluster that vanishes from the mesh on the day its CA expires"
    remedy = _NEW_CA
    needs = Needs.INPUTS | Needs.SERVERS


class ServerUnique(StageCheck):
    id = "server-unique"
    category = "servers"
    severity = WARNING
    sentence = "no two clusters have the same API server"
    prevents = "one cluster's endpoints counted twice"
    remedy = "State the right server for each of them."
    needs = Needs.RENDER | Needs.SERVERS

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        known = _known_servers(inputs)
        if len(known) < 2:
            return None
        path = "jsonpath={.metadata.uid}"
        return Unknown(
            "whether two URLs lead to one cluster; the UIDs of kube-system differ if they do not",
            cluster_command(known[0], "get", "namespace", "kube-system", "-o", path),
        )


class ServerPending(PendingCheck):
    id = "server-pending"
    category = "servers"
    severity = WARNING
    sentence = "every API server that a peer reads is known"
    prevents = "a cluster that its peers do not discover"
    remedy = (
        "State `contexts.CTX.server`, or put a kubeconfig that has the context beside the topology."
    )
    needs = Needs.RENDER


class ServerBorrowed(StageCheck):
    id = "server-borrowed"
    category = "servers"
    severity = WARNING
    sentence = "no server is in kubeconfig.yaml alone where git ignores that file"
    prevents = (
        "a clone, or the pipeline that renders it, stops: `no such context`, or every server is"
        " pending"
    )
    remedy = (
        f"Run `{mesh_command('init')}` again, which copies servers and CAs into topology.yaml and"
        f" {work_path('clusters/')}; then commit both."
    )
    needs = Needs.RENDER
