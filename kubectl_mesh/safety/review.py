"""safety: what running clusters do not survive, read from two trees: the one that they run, and the
one that replaces it.

The first tree holds the clusters that run; clusters whose tree no cluster applied are left out by
the caller. A change is refused where something leaves the tree of one cluster while another cluster
uses it, or where a cluster gets another identity while others know the old one: in every order of
applying there is a state that fails. What only one cluster loses with its own consent (a peer that
the topology takes out of discovery, a cluster that is removed) is not refused here.

Sources: istio pilot/pkg/networking/plugin/authn/util.go and pilot/pkg/model/push_context.go (trust
domains and their aliases), pilot/pkg/serviceregistry/kube/controller/network.go (networks and
gateways), pkg/kube/multicluster/secretcontroller.go (remote secrets).
"""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.model import BUNDLE, LOCK, REMOTE_SECRETS
from kubectl_mesh.observed import Reader
from kubectl_mesh.observed.values import Cluster, Fields, Gate
from kubectl_mesh.text import count
from kubectl_mesh.tree.lock_file import LockFile, Source, parse_lock

Files = Mapping[str, bytes | None]
IN_USE, IDENTITY = "tree-in-use", "identity-change"
"""The checks that report these refusals."""
DEFAULT_DOMAIN = "cluster.local"
"""Istio's trust domain where none is stated."""
_READER = re.compile(r"3-mesh/reader(?:-(.+))?-(?:account|role-binding|token(?:-g[0-9]+)?)\.yaml")
_GATES = (
    "Service",
    "Gateway (gateway.networking.k8s.io)",
    "chart gateway",
    "IstioOperator component",
)
"""The kinds of gates that take traffic; the others say what goes through them, or where they are.
"""
_BALANCER = "LoadBalancer"
"""The type of Service of a gateway that states none, and the only one that always has an address
(istio conversion.go).
"""
_OTHER_PORTS = (15012, 15017, 15021)
"""The ports of a gateway that lead to istiod, or show its status."""
_EXPOSED = "3-mesh/istiod-gateway.yaml"
"""What exposes istiod to the clusters that it serves."""
_DOMAINS = re.compile(rb"^.*rustDomain.*|^ *-.*", re.MULTILINE)
_PLANES = re.compile(rb"^.*(?:ztunnel|ambient).*", re.MULTILINE)
_REVISIONS = re.compile(rb"^ *(?:name|revision):.*", re.MULTILINE)
_ADDRESSES = re.compile(rb"^.*(?:address|registryServiceName).*", re.MULTILINE)
"""Lines of a control plane: where these are the same before and after, so is what is read from the
document.
"""
WAY_OUT = "\n  if no cluster runs this tree yet: "
"""What comes before the way out, at the end of a fix."""
_FEW = 3
"""How many names a sentence has."""
_MANY = 6
"""How many commands a fix has."""
_BY_HAND = (
    "  1. state `disableRegistryJoin: true` for {who}, render, and apply it in every cluster; until"
    " step 3 the clusters do not reach each other\n  2. {change}, render, and apply it; then"
    " restart the workloads there\n  3. remove `disableRegistryJoin`, render, and apply it in every"
    " cluster"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that running clusters do not survive."""

    problem: Problem
    clusters: tuple[str, ...]
    """The clusters on whose trees it rests: where no cluster runs those, nothing is lost."""
    readers: tuple[str, ...] = ()
    """The clusters whose readers it is about."""


class _Directory:
    """The directory of one cluster, as far as others depend on it."""

    def __init__(self, name: str, files: Files) -> None:
        self.name, self.files = name, files

    @cached_property
    def lock(self) -> LockFile:
        """What the lock says; nothing where it is missing or cannot be read."""
        return parse_lock(self.files.get(LOCK)) or LockFile()

    @cached_property
    def cluster(self) -> Cluster:
        """What the public files say."""
        wanted = [
            path
            for path in self.files
            if path in (LOCK, "1-trust/namespace.yaml") or _is_public(path)
        ]
        files = {path: self.files[path] for path in wanted}
        return (
            Reader(foreign=True)
            .read({self.name: {**files, LOCK: files.get(LOCK)}})
            .clusters[self.name]
        )

    def lines(self, found: re.Pattern[bytes]) -> list[tuple[str, list[bytes]]]:
        """The lines of each document of the control plane that match."""
        paths = sorted(
            path
            for path in self.files
            if path.startswith("2-control-plane/") and path.endswith(".yaml")
        )
        return [(path, found.findall(self.files[path] or b"")) for path in paths]

    @cached_property
    def readers(self) -> Mapping[tuple[str, str, str], str]:
        """The accounts, roles and accounts with a token by which peers read the cluster, each with
        the peer that uses it; "" for all.
        """
        found = {}
        for reader in self.cluster.readers:
            match = _READER.fullmatch(reader.file.partition("/")[2])
            if match and reader.kind == "Secret" and reader.account is not None:
                found["token of the account", reader.namespace or "", reader.account] = (
                    match[1] or ""
                )
            elif match and reader.kind in ("ServiceAccount", "ClusterRoleBinding"):
                what = "account" if reader.kind == "ServiceAccount" else "role binding"
                found[what, reader.namespace or "", reader.name] = match[1] or ""
        found |= {
            ("role", "", o.name): ""
            for o in self.cluster.objects
            if o.kind == "ClusterRole" and "/3-mesh/reader-" in o.file
        }
        return found

    @cached_property
    def gates(self) -> frozenset[tuple[str, str]]:
        """The gateways that take traffic of other networks here, by kind and name."""
        return frozenset((g.kind, g.name) for g in self._gates if "/remote-gateways/" not in g.file)

    @cached_property
    def labelled(self) -> frozenset[str]:
        """The networks whose gateways istiod finds here by their labels."""
        return frozenset(
            g.network
            for g in self._gates
            if g.network is not None and "/remote-gateways/" not in g.file
        )

    @cached_property
    def services(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """The type and the ports by which other networks reach each gateway here, by its kind and
        name.
        """
        gates = [g for g in self._gates if "/remote-gateways/" not in g.file]
        return {
            (g.kind, g.name): frozenset(
                (g.service_type or _BALANCER, *(str(p) for p in g.ports if p not in _OTHER_PORTS))
            )
            for g in gates
        }

    @property
    def balanced(self) -> frozenset[tuple[str, str]]:
        """The gateways here that a load balancer gives an address."""
        return frozenset(key for key, service in self.services.items() if _BALANCER in service)

    @cached_property
    def _gates(self) -> tuple[Gate, ...]:
        return tuple(g for g in self.cluster.gates if g.kind in _GATES)

    @cached_property
    def declared(self) -> frozenset[str]:
        """The networks for which addresses of gateways are stated to istiod here."""
        return frozenset(
            g.network
            for g in self.cluster.gates
            if g.network is not None
            and g.addresses
            and (g.kind == "meshNetworks" or "/remote-gateways/" in g.file)
        )

    @cached_property
    def ambient(self) -> bool:
        """Whether the data plane is ambient."""
        return any(
            c.part == "ztunnel"
            or any(
                _is_ambient(of.get(path))
                for of in (c.values, c.settings)
                for path in ("profile", "global.profile")
            )
            for c in self.cluster.control_plane
        )

    @cached_property
    def revisions(self) -> frozenset[str]:
        """The revisions of istiod that run here; "" is the default one."""
        return frozenset(c.revision or "" for c in self.cluster.releases)

    @cached_property
    def domains(self) -> tuple[frozenset[str], frozenset[str]]:
        """The trust domains of the workloads here, and those that their peers may have."""
        own: set[str] = set()
        known: set[str] = set()
        for release in self.cluster.releases:
            own.add(_domain(release.values) or _domain(release.settings) or DEFAULT_DOMAIN)
            known |= {alias for of in (release.values, release.settings) for alias in _aliases(of)}
        return frozenset(own), frozenset(own | known)

    @property
    def waits(self) -> bool:
        """Whether the control plane is held back, which another refusal reports where one was
        rendered.
        """
        return bool(self.lock.waits) or not any(
            path.startswith("2-control-plane/") for path in self.files
        )


def _is_public(path: str) -> bool:
    return (
        path.endswith(".yaml")
        and path.startswith(("2-control-plane/", "3-mesh/"))
        and not path.startswith(REMOTE_SECRETS)
    )


def _is_ambient(profile: object) -> bool:
    return isinstance(profile, str) and profile.endswith("ambient")


def _domain(values: Fields) -> str:
    return next(
        (
            v
            for path in ("meshConfig.trustDomain", "global.trustDomain")
            if isinstance(v := values.get(path), str) and v
        ),
        "",
    )


def _aliases(values: Fields) -> list[str]:
    found = values.get("meshConfig.trustDomainAliases")
    return list(map(str, found)) if isinstance(found, list) else []


class _Mesh:
    """Two trees: what runs, and what replaces it."""

    def __init__(
        self,
        before: Mapping[str, Files],
        after: Mapping[str, Files],
        out: str,
        wanted: Callable[[str, str], bool] | None,
    ) -> None:
        self._before, self._after, self.out = before, after, out
        self._wanted = wanted
        self.old = {
            n: _Directory(n, files)
            for n, files in before.items()
            if n and not n.startswith("_") and LOCK in files
        }
        self.new = {
            n: _Directory(n, files)
            for n, files in after.items()
            if n and not n.startswith("_") and LOCK in files
        }
        self.stay = sorted(self.old.keys() & self.new.keys())
        self.changed = [n for n in self.stay if before[n].get(LOCK) != after[n].get(LOCK)]
        self.reads = cache(self._reads)
        self.wants = cache(self._wants)

    def _reads(self, holder: str, peer: str) -> bool:
        """Whether the istiod of a cluster reads another one, as it runs."""
        return _holds(self._before, holder, peer)

    def _wants(self, holder: str, peer: str) -> bool:
        """Whether it is meant to read it afterwards too."""
        if holder not in self.new or peer not in self.new:
            return False
        return (
            self._wanted(holder, peer)
            if self._wanted is not None
            else _holds(self._after, holder, peer)
        )

    def sources(self, peer: str, *, after: bool) -> Source | None:
        """What the remote secrets for a cluster are made from, by the lock of one that has it."""
        tree = self._after if after else self._before
        for directory in (_Directory(n, files) for n, files in tree.items() if n):
            if peer in directory.lock.remote:
                return directory.lock.remote[peer]
        return None

    def users(self, peer: str) -> list[str]:
        """The clusters that read another one, and go on."""
        return [n for n in self.stay if n != peer and self.reads(n, peer) and self.wants(n, peer)]

    def neighbours(self, name: str) -> list[str]:
        """The clusters that a cluster has to do with, and goes on to: those that read it, and those
        that it reads.
        """
        return [
            n
            for n in self.stay
            if n != name
            and (
                (self.reads(n, name) and self.wants(n, name))
                or (self.reads(name, n) and self.wants(name, n))
            )
        ]

    def place(self, name: str, path: str = "") -> Place:
        """A file of the tree."""
        return Place(join(self.out, f"{name}/{path}" if path else name))


def _holds(tree: Mapping[str, Files], holder: str, peer: str) -> bool:
    files = tree.get(holder, {})
    if f"{REMOTE_SECRETS}{peer}.yaml" in files:
        return True
    bundle = tree.get(BUNDLE, {})
    if holder == peer or f"{peer}.yaml" not in bundle:
        return False
    listed = files.get("3-mesh/kustomization.yaml") or b""
    # What SOPS encrypted, kubectl cannot apply: it is in no kustomization.
    return f"../../{BUNDLE}".encode() in listed or (
        _Directory(holder, files).lock.served_by is None
        and b'"recipients"' in (bundle.get(LOCK) or b"")
    )


def with_way_out(problem: Problem, names: Sequence[str]) -> Problem:
    """A problem whose fix names the way out for a tree that no cluster runs yet."""
    return (
        replace(problem, fix=f"{problem.fix}{WAY_OUT}kubectl mesh render{_options(names)}")
        if names
        else problem
    )


def _options(names: Sequence[str]) -> str:
    return (
        "".join(f" --unapplied {name}" for name in names)
        if len(names) <= _FEW
        else f" --unapplied NAME (for each of the {len(names)} clusters)"
    )


def find_refusals(
    before: Mapping[str, Files],
    after: Mapping[str, Files],
    out: str,
    wanted: Callable[[str, str], bool] | None = None,
) -> list[Refusal]:
    """What running clusters do not survive, from the tree that they run to the one that replaces
    it.

    `out` is the folder as messages show it. `wanted` says whether a cluster is meant to read
    another one afterwards; without it, the second tree says so.
    """
    mesh = _Mesh(before, after, out, wanted)
    moved = [
        *_network_refusals(mesh),
        *_namespace_refusals(mesh),
        *_data_plane_refusals(mesh),
        *_server_refusals(mesh),
    ]
    found = [
        *_rename_refusals(mesh),
        *_trust_domain_refusals(mesh),
        *moved,
        *_revision_refusals(mesh),
    ]
    spaces = {n for n in mesh.changed if mesh.old[n].lock.namespace != mesh.new[n].lock.namespace}
    found += _reader_refusals(mesh, spaces)
    if not moved:
        found += [
            *_gateway_refusals(mesh),
            *_service_refusals(mesh),
            *_address_refusals(mesh),
            *_circle_refusals(mesh),
            *_exposure_refusals(mesh),
        ]
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _refusal(
    mesh: _Mesh,
    names: Sequence[str],
    others: Iterable[str],
    check: str,
    what: str,
    fix: str,
    path: str = "",
) -> Refusal:
    return Refusal(
        Problem(mesh.place(names[0], path), what, fix, check), tuple(sorted({*names, *others}))
    )


def _network_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Clusters that get another network: their endpoints move there in every istiod, whatever the
    packets can reach.
    """
    moves: dict[tuple[str, str], list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name].lock.network, mesh.new[name].lock.network
        if old and new and old != new and mesh.neighbours(name):
            moves.setdefault((old, new), []).append(name)
    for (old, new), names in moves.items():
        what = (
            f"the network of {_some(names)} would change from {old} to {new} while other clusters"
            f" send traffic there by the gateways of {old}"
        )
        fix = "move the cluster without traffic from others:\n" + _BY_HAND.format(
            who=_some(names), change=f"state the network {new}"
        )
        yield _refusal(
            mesh,
            names,
            {n for name in names for n in mesh.neighbours(name)},
            IDENTITY,
            what,
            fix,
            "1-trust/namespace.yaml",
        )


def _namespace_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Clusters whose Istio moves to another namespace, with the account that others read as and the
    Secrets that it reads.
    """
    moves: dict[tuple[str, str], list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name].lock.namespace, mesh.new[name].lock.namespace
        if old and new and old != new and mesh.neighbours(name):
            moves.setdefault((old, new), []).append(name)
    for (old, new), names in moves.items():
        what = (
            f"the namespace of Istio in {_some(names)} would change from {old} to {new}, and the"
            " account by which other clusters read it leaves with it"
        )
        fix = "move the cluster without traffic from others:\n" + _BY_HAND.format(
            who=_some(names), change=f"state the namespace {new}"
        )
        yield _refusal(
            mesh,
            names,
            {n for name in names for n in mesh.neighbours(name)},
            IDENTITY,
            what,
            fix,
            "1-trust/namespace.yaml",
        )


def _data_plane_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Clusters that get another data plane, whose gateways speak another protocol."""
    moving = [
        n
        for n in mesh.changed
        if not mesh.new[n].waits and not _alike(mesh.old[n], mesh.new[n], _PLANES)
    ]
    for ambient in (True, False):
        names = [
            n
            for n in moving
            if mesh.new[n].ambient == ambient != mesh.old[n].ambient and mesh.neighbours(n)
        ]
        if names:
            old, new = ("sidecar", "ambient") if ambient else ("ambient", "sidecar")
            what = (
                f"the data plane of {_some(names)} would change from {old} to {new}, and the"
                " gateways that other clusters use leave with it"
            )
            change = f"state `dataPlane: {new}`"
            fix = "change the data plane without traffic between clusters:\n" + _BY_HAND.format(
                who="every cluster", change=change
            )
            yield _refusal(
                mesh,
                names,
                {n for name in names for n in mesh.neighbours(name)},
                IDENTITY,
                what,
                fix,
                "2-control-plane",
            )


def _server_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Clusters whose own istiod leaves because the istiod of another cluster serves them: their
    proxies have none until that one answers.
    """
    moves: dict[str, list[str]] = {}
    for name in mesh.changed:
        server = mesh.new[name].lock.served_by
        if (
            server
            and not mesh.old[name].lock.served_by
            and mesh.old[name].revisions
            and mesh.neighbours(name)
        ):
            moves.setdefault(server, []).append(name)
    for server, names in moves.items():
        context = (mesh.new[server].lock.context if server in mesh.new else "") or server
        what = (
            f"the control plane of {_some(names)} would leave in the same change in which the"
            f" istiod of {server} takes over"
        )
        what += ", while other clusters send traffic there"
        fix = (
            "move the cluster without traffic from others:\n  1. state `disableRegistryJoin: true`"
            f" for {_some(names)} and nothing else, render, and apply it in every cluster; until"
            " step 2 is done the clusters do not reach each other\n  2. state `controlPlane:"
            f" {context}` in its place, and `controlPlaneAddress` for {context}; render, and apply"
            f" it in {server} first, then in the others; restart the workloads of {_some(names)}"
        )
        yield _refusal(
            mesh,
            names,
            {n for name in names for n in mesh.neighbours(name)},
            IDENTITY,
            what,
            fix,
            "2-control-plane",
        )


def _rename_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Clusters that get another name: their proxies keep the old one, and peers lose the remote
    secret in use.
    """
    come = {n: mesh.new[n] for n in mesh.new if n not in mesh.old}
    for name, old in sorted(mesh.old.items()):
        if name in mesh.new:
            continue
        new = next((n for n, d in sorted(come.items()) if _is_same(mesh, old, d)), None)
        if new is None:
            continue
        readers = [n for n in mesh.stay if mesh.reads(n, name)]
        what = (
            f"the cluster {name} would be renamed to {new} while it runs: its proxies keep the old"
            " name, and "
        )
        what += (
            f"{count(len(readers), 'peer')} would lose the remote secret by which they read it"
            if readers
            else "istiod refuses them"
        )
        context = shlex.quote(old.lock.context or name)
        fix = (
            "put clusterName back, and take the cluster out before it comes back under its new"
            f" name:\n  1. kubectl mesh remove {context}; render, apply it in every cluster, and"
            " run the printed commands; until step 2 peers do not reach it\n  2. add it again with"
            f" `clusterName: {new}`, render, and apply it in every cluster; then restart the"
            " workloads in it"
        )
        yield _refusal(mesh, [name], readers, IDENTITY, what, fix)


def _is_same(mesh: _Mesh, old: _Directory, new: _Directory) -> bool:
    """Whether two names are those of one cluster: the same API server, or the same context where no
    CA says otherwise.
    """
    one, other = mesh.sources(old.name, after=False), mesh.sources(new.name, after=True)
    if one is not None and other is not None:
        return one == other or (old.lock.context == new.lock.context and one.ca == other.ca)
    return bool(old.lock.context) and old.lock.context == new.lock.context


def _trust_domain_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Trust domains that some proxies have and others do not accept yet. While the change is under
    way, clusters of both states meet.
    """
    moving = [
        n
        for n in mesh.changed
        if not mesh.new[n].waits and not _alike(mesh.old[n], mesh.new[n], _DOMAINS)
    ]
    if not any(mesh.old[n].domains[0] != mesh.new[n].domains[0] for n in moving):
        return
    own = {
        n: mesh.old[n].domains[0] | mesh.new[n].domains[0]
        for n in mesh.stay
        if mesh.old[n].revisions and mesh.new[n].revisions
    }
    everyone = frozenset[str]().union(*own.values())
    deaf = {n: sorted(everyone - (mesh.old[n].domains[1] & mesh.new[n].domains[1])) for n in own}
    names = [n for n in own if deaf[n]]
    if not names:
        return
    old = sorted({d for n in moving for d in mesh.old[n].domains[0]})
    new = sorted({d for n in moving for d in mesh.new[n].domains[0]} - set(old)) or sorted(
        {d for n in moving for d in mesh.new[n].domains[0]}
    )
    one, other = " and ".join(old), " and ".join(new)
    what = (
        f"the trust domain would change from {one} to {other}, and {count(len(names), 'cluster')}"
        " would refuse workloads that have the other one"
    )
    fix = (
        f"let every cluster accept both first:\n  1. keep the trust domain {one}, and list {other}"
        " in meshConfig.trustDomainAliases of base.yaml; render, and apply it in every cluster\n "
        f" 2. state `trustDomain: {other}`, and list {one} as well in trustDomainAliases; render,"
        " and apply it in every cluster\n  3. remove both aliases once every workload has a"
        f" certificate of {other} (a day, or restart them)"
    )
    yield _refusal(mesh, sorted(moving), names, IDENTITY, what, fix, "2-control-plane")


def _alike(old: _Directory, new: _Directory, pattern: re.Pattern[bytes]) -> bool:
    """Whether the lines of the control planes that match are the same, so that no document has to
    be read.
    """
    return old.lines(pattern) == new.lines(pattern)


def _revision_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Clusters whose istiod leaves in the same change in which one of another revision comes."""
    moves: dict[tuple[str, str], list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name], mesh.new[name]
        if new.waits or _alike(old, new, _REVISIONS):
            continue
        if old.revisions and new.revisions and not old.revisions & new.revisions:
            key = tuple(
                " and ".join(r or "default" for r in sorted(d.revisions)) for d in (old, new)
            )
            moves.setdefault((key[0], key[1]), []).append(name)
    for (old_name, new_name), names in moves.items():
        what = (
            f"the control plane of the revision {old_name} in {_some(names)} would leave in the"
            f" same change in which {new_name} comes"
        )
        what += ": workloads of the old revision have no istiod then"
        fix = (
            f"let both run first:\n  1. keep the revision {old_name}, and state {new_name} in"
            " `istio.canary`; render, and apply it\n  2. move every workload: label its namespace"
            f" istio.io/rev={new_name}, and restart it\n  3. state `revision: {new_name}` in the"
            " place of the canary; render, and apply it"
        )
        yield _refusal(mesh, names, (), IDENTITY, what, fix, "2-control-plane")


def _reader_refusals(mesh: _Mesh, spaces: Iterable[str]) -> Iterator[Refusal]:
    """Accounts, their roles and tokens that leave a cluster while peers log in by them."""
    lost: list[str] = []
    things: dict[str, list[str]] = {}
    users: dict[str, list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name], mesh.new[name]
        if name in spaces or new.waits or _readers_alike(old, new):
            continue
        readers = mesh.users(name)
        gone = {key: peer for key, peer in old.readers.items() if key not in new.readers}
        late = [n for n in readers if any(peer in ("", n) for peer in gone.values())]
        if late:
            for kind, _, thing in sorted(key for key, peer in gone.items() if peer in ("", *late)):
                things.setdefault(f"the {kind} {thing}", []).append(name)
            lost.append(name)
            users[name] = late
    if not lost:
        return
    first = users[lost[0]][0]
    holders = {n for found in users.values() for n in found}
    listed = [f"{thing} ({_some(names)})" for thing, names in things.items()]
    what = (
        f"{_some(listed)} would leave the tree, and the remote secrets of"
        f" {count(len(holders), 'cluster')} log in by it (as in {join(mesh.out, first)})"
    )
    fix = reader_steps(mesh.out, [*lost, *holders])
    yield Refusal(
        Problem(mesh.place(lost[0], "3-mesh"), what, fix, IN_USE),
        tuple(sorted({*lost, *holders})),
        tuple(lost),
    )


def reader_steps(
    out: str,
    names: Iterable[str],
    commands: Sequence[str] | None = None,
    *,
    store: str = "plain",
    bundled: bool = False,
) -> str:
    """How peers move to another account by hand, while the one that they use stays.

    `commands` fetch the new tokens; there are none where nobody fetches them, and None where
    nothing here says so.
    """
    folder = f"next/{BUNDLE}" if bundled else f"next/NAME/{REMOTE_SECRETS.rstrip('/')}"
    applied = (
        f"`sops decrypt FILE | kubectl --context=CTX apply -f -` for each file in {folder}"
        if store == "sops"
        else f"`kubectl --context=CTX apply -f {folder}`"
    )
    fetch = [f"     {command}" for command in (commands or ())[:_MANY]]
    fetch += (
        [f"     and {len(commands) - _MANY} more, in the same way"]
        if commands and len(commands) > _MANY
        else []
    )
    seen = (
        "then `istioctl proxy-config endpoints` of a workload must list the endpoints of every peer"
        " (Istio 1.30.0 to 1.30.3: restart istiod first)"
    )
    steps = (
        (
            f"cp -R {shlex.quote(out)} next && kubectl mesh render --out"
            f" next{_options(sorted(set(names)))}"
        ),
        (
            "in each cluster that gets another reader: `kubectl --context=CTX apply -f FILE` for"
            " each next/NAME/3-mesh/reader*.yaml; the old objects stay"
        ),
        *(
            [
                "\n".join(
                    (
                        "fetch the new tokens, and render again: kubectl mesh render --out next",
                        *fetch,
                    )
                )
            ]
            if commands != []
            else []
        ),
        f"stop the tool that applies {out}, if there is one; in each peer: {applied};\n     {seen}",
        (
            f"put next in the place of {out}, commit it, and let the tool apply it; only now the"
            " old objects leave"
        ),
    )
    numbered = (f"  {number}. {step}" for number, step in enumerate(steps, 1))
    return "\n".join(
        ("move the peers by hand, from a copy of the tree that no cluster runs:", *numbered)
    )


def _readers_alike(old: _Directory, new: _Directory) -> bool:
    """Whether all files about readers are the same."""
    one, other = (
        {p: d.files[p] for p in d.files if p.startswith("3-mesh/reader")} for d in (old, new)
    )
    return one == other


def _gateway_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Gateways that leave while other networks reach a cluster by them, and nothing else leads
    there.
    """
    for name, old in sorted(mesh.old.items()):
        new = mesh.new.get(name)
        if new is not None and (
            name not in mesh.changed or new.waits or not _loses_files(old, new)
        ):
            continue
        gone = sorted(old.gates - (new.gates if new is not None else frozenset()))
        users = _gateway_users(mesh, old) if gone else []
        if users:
            network = old.lock.network
            what = (
                f"the gateway {gone[0][1]} of the network {network} would leave the tree of {name}"
                f" while {_some(users)} reach{'es' if len(users) == 1 else ''} "
            )
            what += "the network by it"
            fix = (
                "give the network another way in first:\n  1. enable a gateway in another cluster"
                f" of the network, or state the address of one in networks.{network}.gateways;"
                " render, and apply it\n  2. make this change, render, and apply it"
            )
            yield _refusal(mesh, [name], users, IN_USE, what, fix, "3-mesh")


def _loses_files(old: _Directory, new: _Directory) -> bool:
    """Whether a file leaves that may be a gateway: each is a file of its own."""
    return any(
        path not in new.files
        for path in old.files
        if _is_public(path) and not path.startswith("3-mesh/reader")
    )


def _gateway_users(mesh: _Mesh, old: _Directory) -> list[str]:
    """The clusters that reach a network by the gateways of one cluster, and by no other."""
    network = old.lock.network
    there = [n for n in mesh.stay if mesh.old[n].lock.network == network]
    rest = [n for n in there if n != old.name and mesh.old[n].gates & mesh.new[n].gates]
    found = []
    for user in mesh.stay:
        served = mesh.old[user].lock.served_by == old.name == mesh.new[user].lock.served_by
        across = mesh.old[user].lock.network != network and any(
            mesh.reads(user, n) and mesh.wants(user, n) for n in there if n != user
        )
        other = (
            any(mesh.reads(user, n) and mesh.wants(user, n) for n in rest)
            or network in mesh.old[user].declared
        )
        if user != old.name and (served or (across and not other)):
            found.append(user)
    return found


def _service_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Gateways whose Service gets another type or loses a port while other networks send traffic to
    the address that it has.
    """
    lost: dict[str, list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name], mesh.new[name]
        if not new.waits and any(
            old.services[key] - new.services[key]
            for key in old.services.keys() & new.services.keys()
        ):
            lost.setdefault(old.lock.network, []).append(name)
    for network, names in lost.items():
        there = [n for n in mesh.stay if mesh.old[n].lock.network == network]
        across = [
            n
            for n in mesh.stay
            if mesh.old[n].lock.network != network
            and any(mesh.reads(n, p) and mesh.wants(n, p) for p in there if p != n)
        ]
        stated = [n for n in across if network in mesh.old[n].declared]
        # istiod reads another port from a label by itself, and the address of a load balancer as
        # long as there is one.
        dropped = [
            n
            for n in names
            if network in mesh.old[n].labelled and mesh.old[n].balanced - mesh.new[n].balanced
        ]
        users = stated or (across if dropped else [])
        if users:
            whose = names if stated else dropped
            what = (
                f"the gateway of {_some(whose)} would get another"
                f" {'port or type' if stated else 'type'} of Service while "
            )
            what += (
                f"{_some(users)} use{'s' if len(users) == 1 else ''} the address that"
                f" {'is stated for' if stated else 'istiod finds in'} the network {network}"
            )
            change = "make this change" + (
                f", and state the new address and port of the network {network}" if stated else ""
            )
            fix = "change the gateway without traffic from others:\n" + _BY_HAND.format(
                who=_some(whose), change=change
            )
            yield _refusal(mesh, whose, users, IN_USE, what, fix, "3-mesh")


def _circle_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Gateways that istiod finds by label before a change and by stated addresses after it, or the
    reverse, where clusters wait for each other.
    """
    waits: dict[str, set[str]] = {n: set() for n in mesh.changed}
    networks = set()
    for name in mesh.changed:
        old, new = mesh.old[name].labelled, mesh.new[name].labelled
        for network in old ^ new:
            others = [
                n
                for n in mesh.changed
                if n != name
                and network in (mesh.new[n].declared if network in old else mesh.old[n].declared)
            ]
            for other in others:
                waits[name if network in old else other].add(other if network in old else name)
            networks.update([network] if others else [])
    while ready := [n for n, first in waits.items() if not first & waits.keys()]:
        for name in ready:
            del waits[name]
    if waits:
        names = sorted(waits)
        what = (
            "whether istiod finds gateways by label or by stated addresses would change for the"
            f" networks {_some(sorted(networks))} at once: "
        )
        what += f"{_some(names)} would wait for each other, and lose each other until all have it"
        fix = (
            "change `gateways` of one network at a time: render, and apply it in every cluster,"
            " before the next"
        )
        yield _refusal(mesh, names, (), IN_USE, what, fix, "3-mesh")


def _address_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Addresses of gateways that leave a cluster which still sends traffic to that network."""
    lost: dict[str, list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name], mesh.new[name]
        if new.waits or (_alike(old, new, _ADDRESSES) and not _loses_files(old, new)):
            continue
        for network in sorted(old.declared - new.declared):
            there = [
                n
                for n in mesh.stay
                if mesh.new[n].lock.network == network
                and mesh.reads(name, n)
                and mesh.wants(name, n)
            ]
            if (
                there
                and new.lock.network != network
                and not any(network in mesh.new[n].labelled for n in there)
            ):
                lost.setdefault(network, []).append(name)
    for network, names in lost.items():
        what = (
            f"the addresses of the network {network} would leave {_some(names)}, which"
            f" send{'s' if len(names) == 1 else ''} traffic there by nothing else"
        )
        fix = (
            f"state them again in networks.{network}.gateways, or enable a gateway of the network"
            " first; render, and apply it"
        )
        yield _refusal(mesh, names, (), IN_USE, what, fix, "2-control-plane")


def _exposure_refusals(mesh: _Mesh) -> Iterator[Refusal]:
    """Control planes that stop serving clusters which still use them."""
    for name in mesh.changed:
        if (
            _EXPOSED in mesh.old[name].files
            and _EXPOSED not in mesh.new[name].files
            and not mesh.new[name].waits
        ):
            users = [n for n in mesh.stay if mesh.old[n].lock.served_by == name]
            if users:
                what = (
                    f"what exposes the istiod of {name} would leave its tree while it serves"
                    f" {_some(users)}"
                )
                fix = (
                    "keep the control plane exposed until no proxy uses it:\n  1. take"
                    f" {_some(users)} out of the mesh (`kubectl mesh remove`), render, and apply"
                    " it\n  2. add it again with its new control plane, render, and apply it; then"
                    " restart its workloads"
                )
                yield _refusal(mesh, [name], users, IN_USE, what, fix, _EXPOSED)
