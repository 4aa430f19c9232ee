"""The checks of the remote secrets in a tree: one for every edge, under one name, to the right
server, by the right login.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from kubectl_mesh.checks.asked import Asked
from kubectl_mesh.checks.result import ERROR, Check
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import BUNDLE, REMOTE_SECRETS
from kubectl_mesh.model.address import is_loopback, url_fault
from kubectl_mesh.observed.values import RemoteSecret
from kubectl_mesh.text import shown

_BLIND = "istiod of the one cluster has no endpoints of the other: `no healthy upstream`"
CHECKS = (
    Check(
        "remote-missing",
        "tree",
        ERROR,
        "there is a remote secret for every cluster that a cluster discovers",
        _BLIND,
        "Render, which makes it; where the topology's `peers` is what changed, state it there.",
    ),
    Check(
        "remote-extra",
        "tree",
        ERROR,
        "there is no remote secret but for the clusters that a cluster discovers",
        "endpoints of a cluster that is no part of the mesh, or `Unauthorized` and an istiod that"
        " waits for it",
        "Render, which removes it. Then delete the Secret from the cluster (`kubectl apply` deletes"
        " nothing; Argo CD and Flux delete it on merge).",
    ),
    Check(
        "remote-double",
        "tree",
        ERROR,
        "no cluster is in two remote secrets of another",
        "istiod: `cluster has already been registered`: the one that comes first counts, the other"
        " is passed over",
        "Take away the one that `render` did not make; if it is in the cluster, delete it there"
        " too.",
    ),
    Check(
        "remote-names",
        "tree",
        ERROR,
        "a remote secret's data key, name, annotation and file name the same cluster",
        "istiod knows the cluster by the data key alone: endpoints under a name that no subset,"
        " network or trust setting knows",
        "Render, which makes the file anew; a cluster gets another name by `clusterName` in"
        " topology.yaml.",
    ),
    Check(
        "remote-seen",
        "tree",
        ERROR,
        "every remote secret has the label and the namespace by which istiod finds it",
        "no line in istiod's log, and no endpoints of the cluster",
        "Render, which makes the file anew.",
    ),
    Check(
        "remote-server",
        "tree",
        ERROR,
        "every remote secret leads by https to the API server that the inputs name",
        "istiod: `failed to list … connection refused`, or `x509: certificate is valid for …`",
        "State the right server in topology.yaml (`contexts.CTX.server`) and render.",
    ),
    Check(
        "remote-ca",
        "tree",
        ERROR,
        "every remote secret holds the CA of that server",
        "istiod: `x509: certificate signed by unknown authority`",
        "Put the CA of the API server into clusters/NAME.crt and render.",
    ),
    Check(
        "remote-login",
        "tree",
        ERROR,
        "every remote secret logs in by the credential that the inputs hold",
        "istiod: `Unauthorized`, and no endpoints of the cluster",
        "Where the one in credentials/ is right, render; else fetch the one that is right into it"
        " first.",
    ),
)


def remote_findings(asked: Asked) -> list[Problem]:
    """What is wrong with the remote secrets. One fault is told once."""
    found: list[Problem] = []
    spaces = {c.name: c.namespace for c in asked.topology.clusters}
    for name, cluster in asked.view.clusters.items():
        if name in asked.peers:
            wanted = set() if asked.topology.bundled else set(asked.peers[name])
            found += _held(
                asked,
                name,
                f"{name}/{REMOTE_SECRETS}",
                cluster.remote_secrets,
                wanted,
                spaces[name],
            )
    bundle = asked.view.shared.get(BUNDLE)
    if bundle is not None:
        found += _held(
            asked,
            BUNDLE,
            f"{BUNDLE}/",
            bundle.remote_secrets,
            {n for peers in asked.peers.values() for n in peers},
            None,
        )
    return found


def _held(
    asked: Asked,
    holder: str,
    folder: str,
    secrets: Sequence[RemoteSecret],
    wanted: set[str],
    space: str | None,
) -> Iterator[Problem]:
    """Those of one directory; `wanted` are the clusters that ought to be there."""
    owners: dict[str, list[RemoteSecret]] = {}
    for secret in secrets:
        owners.setdefault(_owner(secret, wanted), []).append(secret)
    meant = _meant(asked, holder)
    for owner, mine in owners.items():
        own = f"{folder}{owner}.yaml"
        first, *more = sorted(mine, key=lambda s: (s.file != own, s.file))
        if own in asked.same and first.file != own:
            more.insert(0, first)
        for secret in more:
            yield asked.problem(
                secret.file,
                f'is a second remote secret for "{owner}", beside {own.rsplit("/", 1)[-1]}',
                "remote-double",
                fix="take it away, and run `kubectl mesh render`",
            )
        if first in more:
            continue
        if owner not in wanted:
            why = (
                "is no cluster of the topology"
                if owner not in asked.peers
                else "is not among those that it discovers"
            )
            fix = (
                "run `kubectl mesh render`, which removes it, and delete the Secret from the"
                " cluster"
            )
            yield asked.problem(
                first.file, f"is for {shown(owner)}, which {why}", "remote-extra", fix=fix
            )
            continue
        yield from _names(asked, first, owner)
        yield from _seen(asked, first, space)
        yield from _leads(asked, first, meant.get(owner))
    for owner in sorted(wanted - set(owners)):
        if f"{folder}{owner}.yaml" in asked.same or (
            asked.made is not None and f"{folder}{owner}.yaml" not in asked.made
        ):
            continue  # it is as it should be, or waits for what is pending
        yield asked.problem(
            f"{folder}{owner}.yaml",
            f'is not there: "{owner}" is not discovered',
            "remote-missing",
            fix="run `kubectl mesh render`, which makes it",
        )


def _meant(asked: Asked, holder: str) -> Mapping[str, RemoteSecret]:
    if asked.meant is None:
        return {}
    made = asked.meant.clusters.get(holder) or asked.meant.shared.get(holder)
    return {s.peer: s for s in made.remote_secrets} if made is not None else {}


def _stem(secret: RemoteSecret) -> str:
    return secret.file.rsplit("/", 1)[-1].removesuffix(".yaml")


def _titles(secret: RemoteSecret) -> dict[str, str | None]:
    """Every name that a remote secret has."""
    return {
        "data key": secret.peer,
        "metadata.name": secret.name.removeprefix("istio-remote-secret-"),
        "annotation networking.istio.io/cluster": secret.annotation,
        "file": _stem(secret),
    }


def _owner(secret: RemoteSecret, wanted: set[str]) -> str:
    """Whose secret it is meant to be: the cluster that most of its names name."""
    counted = Counter(name for name in _titles(secret).values() if name in wanted)
    return max(counted, key=lambda n: (counted[n], n == _stem(secret))) if counted else secret.peer


def _names(asked: Asked, secret: RemoteSecret, owner: str) -> Iterator[Problem]:
    other = {title: name for title, name in _titles(secret).items() if name != owner}
    if other:
        said = ", ".join(
            f"its {title} {'is missing' if name is None else f'says {shown(name)}'}"
            for title, name in other.items()
        )
        path = (
            f"data.{secret.peer}"
            if "data key" in other
            else "metadata.name"
            if "metadata.name" in other
            else "metadata.annotations"
        )
        yield asked.problem(
            secret.file, f'is that of "{owner}", but {said}', "remote-names", path=path
        )


def _seen(asked: Asked, secret: RemoteSecret, space: str | None) -> Iterator[Problem]:
    if not secret.labelled:
        yield asked.problem(
            secret.file,
            'has no label istio/multiCluster: "true", so istiod passes over it',
            "remote-seen",
            path="metadata.labels",
        )
    if space is not None and secret.namespace not in (None, space):
        yield asked.problem(
            secret.file,
            f"is for the namespace {shown(secret.namespace)}, and istiod looks in {shown(space)}",
            "remote-seen",
            path="metadata.namespace",
        )


def _leads(asked: Asked, secret: RemoteSecret, meant: RemoteSecret | None) -> Iterator[Problem]:
    if secret.store not in ("plain", "external"):
        # what is sealed says nothing of itself; the digests in the lock do, and a render compares
        # them
        return
    path = f"data.{secret.peer}"
    if secret.server is None:
        yield asked.problem(secret.file, "names no server", "remote-server", path=path)
    elif meant is not None and (secret.server, secret.tls_name) == (meant.server, meant.tls_name):
        pass  # what the inputs say is judged there
    elif not secret.server.startswith("https://") or url_fault(secret.server):
        yield asked.problem(
            secret.file,
            "leads to its server by something else than an https URL",
            "remote-server",
            path=path,
        )
    elif is_loopback(secret.server):
        yield asked.problem(
            secret.file,
            "leads to a loopback address, which is another cluster's own",
            "remote-server",
            path=path,
        )
    elif meant is not None:
        different = (
            f"{shown(secret.server)}, not {shown(meant.server)}"
            if secret.server != meant.server
            else "another tls-server-name"
        )
        yield asked.problem(
            secret.file, f"leads to {different}, as the inputs say", "remote-server", path=path
        )
    if secret.insecure or secret.ca is None:
        yield asked.problem(
            secret.file, "holds no CA by which the server is verified", "remote-ca", path=path
        )
    elif meant is not None and secret.ca != meant.ca:
        yield asked.problem(
            secret.file, "holds another CA of the server than the inputs", "remote-ca", path=path
        )
    if meant is not None and (secret.login != meant.login or secret.secret != meant.secret):
        yield asked.problem(
            secret.file,
            "logs in by another credential than the one that is here",
            "remote-login",
            path=path,
        )
