"""The facts of every cluster in one state of a mesh, read when they are asked for."""

import re
from collections.abc import Iterator, Mapping

from kubectl_mesh.connectivity.facts import (
    DEFAULT_DOMAIN,
    ControlFacts,
    Facts,
    Gateway,
    Login,
    MeshFacts,
    Reader,
    TrustFacts,
)
from kubectl_mesh.errors import MeshError
from kubectl_mesh.model import BUNDLE_FOLDER, CACERTS_PATH, MESH_LOCK, REMOTE_SECRETS_PREFIX
from kubectl_mesh.observed import TreeReader
from kubectl_mesh.observed.lazy_state import has_same_public_files
from kubectl_mesh.observed.mesh_state import (
    ControlPlane,
    Fields,
    Files,
    MeshState,
    ObservedCluster,
    ObservedGateway,
    RemoteSecret,
)
from kubectl_mesh.tree.lock_file import LockFile

NAMESPACE = "1-trust/namespace.yaml"
TRUST, CONTROL, MESH = "1-trust", "2-control-plane", "3-mesh"
"""The parts of a cluster that are applied by themselves."""
PARTS = (TRUST, CONTROL, MESH)
GATEWAY_API = "Gateway (gateway.networking.k8s.io)"
"""The kind of gateway that needs no other object to let traffic in."""
_LETS_IN = "Gateway (networking.istio.io)"
"""The kind of gate that says what goes through a gateway."""
_GATEWAYS = ("Service", GATEWAY_API, "chart gateway", "IstioOperator component")
"""The kinds of gates that take traffic."""
_EXPOSED = "3-mesh/istiod-gateway.yaml"
_READER = re.compile(r"3-mesh/reader(?:-(.+))?-(?:account|role-binding|token(?:-g[0-9]+)?)\.yaml")
_ELSEWHERE = "/remote-gateways/"
"""In the path of an object that states the address of a gateway of another cluster."""
_BALANCER = "LoadBalancer"
"""The type of Service of a gateway that states none (istio conversion.go)."""


class LoginMap(Mapping[str, Login]):
    """The remote secrets of a cluster by peer; each is parsed when it is asked for, and two maps
    are compared by their bytes.
    """

    def __init__(self, files: Mapping[str, tuple[str, bytes]], reader: TreeReader) -> None:
        self._files, self._reader = files, reader
        self.bodies = {peer: body for peer, (_, body) in files.items()}
        """The bytes of each remote secret."""
        self._known: dict[str, Login] = {}

    def __getitem__(self, peer: str) -> Login:
        if peer not in self._known:
            path, body = self._files[peer]
            folder, _, file = path.partition("/")
            directory = self._reader.read_state({folder: {MESH_LOCK: b"", file: body}})
            found = {**directory.clusters, **directory.shared_directories}[folder].remote_secrets
            # A file that somebody broke, or filled with something else, is no remote secret.
            secret = next((s for s in found if s.peer == peer), None)
            if secret is None:
                raise KeyError(peer)
            self._known[peer] = _login(secret)
        return self._known[peer]

    def __contains__(self, peer: object) -> bool:
        return peer in self.bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoginMap) and self.bodies == other.bodies

    __hash__ = None  # type: ignore[assignment]


class FactReader:
    """What decides the reachability of each cluster, in one state of the mesh."""

    def __init__(self, state: MeshState) -> None:
        self._state, self._reader = state, TreeReader(foreign=True)
        self._trust: dict[str, TrustFacts] = {}
        self._control: dict[str, ControlFacts] = {}
        self._mesh: dict[str, MeshFacts] = {}
        self._logins: dict[str, LoginMap] = {}
        self._labels: dict[str, str | None] = {}
        self.names = tuple(sorted(state.clusters))

    def trust(self, name: str) -> TrustFacts:
        """What 1-trust of a cluster brings."""
        if name not in self._trust:
            self._trust[name] = self._read_trust(name)
        return self._trust[name]

    def control(self, name: str) -> ControlFacts:
        """What 2-control-plane of a cluster brings."""
        if name not in self._control:
            self._control[name] = self._read_control(name)
        return self._control[name]

    def mesh(self, name: str) -> MeshFacts:
        """What 3-mesh of a cluster brings."""
        if name not in self._mesh:
            self._mesh[name] = self._read_mesh(name)
        return self._mesh[name]

    def logins(self, name: str) -> LoginMap:
        """The remote secrets that the istiod of a cluster reads."""
        if name not in self._logins:
            self._logins[name] = LoginMap(self._login_files(name), self._reader)
        return self._logins[name]

    def network_label(self, name: str) -> str | None:
        """`topology.istio.io/network` of Istio's namespace."""
        if name not in self._labels:
            body = self._read_file(name, NAMESPACE)
            part = {name: {NAMESPACE: body}}
            found = self._reader.read_state(part).clusters[name] if body is not None else None
            label = found.network_label if found is not None else None
            self._labels[name] = label.value if label is not None else None
        return self._labels[name]

    def primary(self, name: str) -> str:
        """The cluster whose istiod serves a cluster."""
        return self.trust(name).primary or name

    def lock(self, name: str) -> LockFile:
        """The lock of a cluster; an empty one where there is none."""
        return self._state.locks[name] if name in self._state.clusters else LockFile()

    def part(self, name: str, part: str) -> Facts:
        """What a part of a cluster brings."""
        if part == TRUST:
            return self.trust(name)
        return self.control(name) if part == CONTROL else self.mesh(name)

    def files_of(self, name: str) -> Files:
        """The files of a directory; none where there is no such directory."""
        return self._state.tree.get(name, {})

    def _read_file(self, name: str, path: str) -> bytes | None:
        """The bytes of a file; None where there is none, or it cannot be read."""
        try:
            return self.files_of(name).get(path)
        except MeshError:
            return None

    def has_same_manifests(self, other: "FactReader", name: str) -> bool:
        """Whether the files that say what is neither trust nor remote secrets are the same in
        another state.
        """
        return has_same_public_files(self.files_of(name), other.files_of(name))

    def _read_trust(self, name: str) -> TrustFacts:
        if name not in self._state.clusters:
            return TrustFacts()
        lock = self.lock(name)
        roots, signer = lock.roots, lock.signer
        if lock.intermediate and len(roots) == 1:
            signer = roots[0]
        body = self._read_file(name, CACERTS_PATH) if not roots or signer is None else None
        if body is not None:
            cacerts = self._reader.read_state({name: {CACERTS_PATH: body}}).clusters[name].cacerts
            roots, signer = roots or cacerts.root_fingerprints, signer or cacerts.signer
        return TrustFacts(
            roots=roots,
            signer=signer,
            issuer=lock.issuer,
            namespace=lock.namespace or None,
            primary=lock.served_by,
        )

    def _read_control(self, name: str) -> ControlFacts:
        if name not in self._state.clusters:
            return ControlFacts()
        found = self._state.clusters[name]
        domains: set[str] = set()
        aliases: set[str] = set()
        for release in found.releases:
            domains.add(
                trust_domain(release.values) or trust_domain(release.settings) or DEFAULT_DOMAIN
            )
            aliases.update(*map(trust_domain_aliases, (release.values, release.settings)))
        declared = [g for g in found.gateways if g.kind == "meshNetworks" and g.network is not None]
        return ControlFacts(
            revisions=frozenset(c.revision or "" for c in found.releases),
            network=found.network_values[0].value if found.network_values else None,
            trust_domain=min(domains, default=DEFAULT_DOMAIN),
            trusted_domains=frozenset(domains | aliases) or frozenset({DEFAULT_DOMAIN}),
            declared=frozenset(str(g.network) for g in declared if g.addresses),
            registries=frozenset((peer, str(g.network)) for g in declared for peer in g.registries),
            charted=tuple(_gateways(name, found.gateways, CONTROL)),
            ambient=any(map(is_ambient, found.control_plane)),
        )

    def _read_mesh(self, name: str) -> MeshFacts:
        if name not in self._state.clusters:
            return MeshFacts()
        found, files = self._state.clusters[name], self.files_of(name)
        return MeshFacts(
            gateways=tuple(_gateways(name, found.gateways, MESH)),
            lets_in=any(g.kind == _LETS_IN for g in found.gateways),
            stated=frozenset(
                g.network
                for g in found.gateways
                if g.network is not None and g.addresses and _ELSEWHERE in g.file
            ),
            readers=frozenset(_readers(found)),
            exposes_istiod=_EXPOSED in files,
        )

    def _login_files(self, name: str) -> dict[str, tuple[str, bytes]]:
        """The remote secrets that are applied in a cluster, by peer: path and bytes."""
        own = {
            path.removeprefix(REMOTE_SECRETS_PREFIX): (f"{name}/{path}", body)
            for path in self.files_of(name)
            if path.startswith(REMOTE_SECRETS_PREFIX)
            and (body := self._read_file(name, path)) is not None
        }
        shared = {
            path: (f"{BUNDLE_FOLDER}/{path}", body)
            for path, body in self.bundle_files(name).items()
            if body is not None and path != f"{name}.yaml"
        }
        return {
            path.removesuffix(".yaml"): file
            for path, file in {**shared, **own}.items()
            if path.endswith(".yaml") and not path.startswith(".") and path != "kustomization.yaml"
        }

    def bundle_files(self, name: str) -> Files:
        """The files of the bundle of remote secrets, where it is applied in a cluster."""
        bundle = self.files_of(BUNDLE_FOLDER)
        if not bundle:
            return {}
        listed = self.files_of(name).get(f"{MESH}/kustomization.yaml") or b""
        # What SOPS encrypted, kubectl cannot apply: it is in no kustomization.
        is_encrypted = b'"recipients"' in (bundle.get(MESH_LOCK) or b"")
        is_named = f"../../{BUNDLE_FOLDER}".encode() in listed
        is_primary = name in self._state.locks and self._state.locks[name].served_by is None
        return bundle if is_named or (is_encrypted and is_primary) else {}


def _login(secret: RemoteSecret) -> Login:
    return Login(
        namespace=secret.namespace,
        labelled=secret.has_label,
        server=secret.server,
        kind=secret.login_kind,
        user=secret.login_digest or secret.kubeconfig_digest,
        token_secret=secret.token_secret,
        expires=secret.expires,
    )


def _gateways(name: str, gates: tuple[ObservedGateway, ...], part: str) -> Iterator[Gateway]:
    """The gateways that a part of a cluster brings."""
    for gate in gates:
        if gate.kind in _GATEWAYS and f"/{part}/" in gate.file and _ELSEWHERE not in gate.file:
            yield Gateway(
                cluster=name,
                kind=gate.kind,
                name=gate.name,
                network=gate.network or "",
                service_type=gate.service_type or _BALANCER,
                ports=gate.ports,
                addresses=gate.addresses,
            )


def _readers(cluster: ObservedCluster) -> Iterator[Reader]:
    for reader in cluster.reader_accounts:
        match = _READER.fullmatch(reader.file.partition("/")[2])
        if match and reader.kind in ("Secret", "ServiceAccount", "ClusterRoleBinding"):
            yield Reader(
                kind=reader.kind,
                namespace=reader.namespace or "",
                name=reader.name,
                account=reader.account or "",
                peer=match[1] or "",
            )
    for item in cluster.objects:
        if item.kind == "ClusterRole" and f"/{MESH}/reader-" in item.file:
            yield Reader(item.kind, "", item.name)


def trust_domain(values: Fields) -> str:
    """The trust domain that values state; "" where they state none."""
    paths = ("meshConfig.trustDomain", "global.trustDomain")
    return next((v for path in paths if isinstance(v := values.get(path), str) and v), "")


def trust_domain_aliases(values: Fields) -> list[str]:
    """The other trust domains that proxies accept, as values state them."""
    found = values.get("meshConfig.trustDomainAliases")
    return list(map(str, found)) if isinstance(found, list) else []


def is_ambient(document: ControlPlane) -> bool:
    """Whether a document of the control plane installs the ambient data plane."""
    profiles = (
        of.get(path)
        for of in (document.values, document.settings)
        for path in ("profile", "global.profile")
    )
    return document.component == "ztunnel" or any(
        isinstance(profile, str) and profile.endswith("ambient") for profile in profiles
    )
