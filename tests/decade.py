"""A decade of a mesh: a fleet that applies renders late, operators who renew, rotate, add and remove at random, and traffic that may never be cut.

The stages are the real ones (plan, values, pki), on values in memory, with a clock of its own. istiod and the proxies are models of
what Istio's code does: pilot/pkg/bootstrap/istio_ca.go (handleEvent), security/pkg/nodeagent/cache/secretcache.go.
`python tests/decade.py 1000` runs a thousand seeds; `python tests/decade.py --seed 7` tells one.
"""

import argparse
import hashlib
import heapq
import itertools
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from kubectl_mesh import assets
from kubectl_mesh import plan as planning
from kubectl_mesh.cli.trust import behind
from kubectl_mesh.errors import MeshError
from kubectl_mesh.leaves import DEFAULT
from kubectl_mesh.load import load
from kubectl_mesh.model import Exchange, Plan
from kubectl_mesh.pki import rotation, steps
from kubectl_mesh.pki.issue import issue
from kubectl_mesh.pki.make import Wanted
from kubectl_mesh.pki.names import ARCHIVE, ROOT_CERT, ROTATION, folder
from kubectl_mesh.pki.renew import expiring, renew
from kubectl_mesh.roots import order as trusting
from kubectl_mesh.roots.order import Trust
from kubectl_mesh.targets import istio, values
from kubectl_mesh.validate import validate
from kubectl_mesh.versions import ROOTS
from kubectl_mesh.write.exchange import _target as moved_to

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LEAF = timedelta(hours=24)
"""How long the certificate of a workload lives; it is renewed at half of it."""
VERSIONS = ("1.17.8", "1.29.6", "1.30.3", "1.30.3")
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())


class CutError(AssertionError):
    """Traffic that was cut, with the story that led to it."""


# What a cluster gets, and what is in it


@dataclass(frozen=True)
class Material:
    """The cacerts of a cluster."""

    ca_cert: bytes
    ca_key: bytes = field(repr=False)
    chain: bytes
    bundle: bytes


@dataclass(frozen=True)
class Manifest:
    """What was rendered for a cluster: stage 1, stage 2 as far as it matters here, stage 3."""

    number: int
    material: Material
    several_roots: bool
    peers: frozenset[str]
    trust: Trust


@dataclass
class Workload:
    """A pod: the chain that it shows, the bundle that it verifies by, and when its certificate is due."""

    cluster: str
    phase: timedelta
    pushed: bool = False
    """Whether istiod pushes roots to it (PROXY_CONFIG_XDS_AGENT, in its environment since it started)."""
    chain: bytes = b""
    bundle: bytes = b""
    leaf_of: bytes = b""


@dataclass
class Cluster:
    """A running cluster: what was applied of which render, and what its istiod has loaded."""

    name: str
    version: str
    stages: list[Manifest | None] = field(default_factory=lambda: [None, None, None])
    loaded: Material | None = None
    loaded_since: datetime = BEGINNING
    several_roots: bool = False
    workloads: list[Workload] = field(default_factory=list)

    @property
    def minor(self) -> int:
        return int(self.version.split(".")[1])


# Certificates


@lru_cache(maxsize=4096)
def leaf(ca_cert: bytes, ca_key: bytes) -> x509.Certificate:
    """A workload's certificate as istiod signs it, for as long as its CA is valid: that it lives for a day is counted elsewhere."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    ca = x509.load_pem_x509_certificate(ca_cert)
    key: Any = load_pem_private_key(ca_key, None)
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(LEAF_KEY.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(ca_cert).digest()[:15], "big") + 1)
        .not_valid_before(ca.not_valid_before_utc)
        .not_valid_after(ca.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/default")]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(key, hashes.SHA256())
    )


@lru_cache(maxsize=4096)
def parsed(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a text."""
    return tuple(x509.load_pem_x509_certificates(pem))


@lru_cache(maxsize=65536)
def window(ca_cert: bytes, ca_key: bytes, chain: bytes, bundle: bytes) -> tuple[datetime, datetime] | None:
    """From when until when a verifier that trusts `bundle` accepts a workload of this CA; None: never. Real X.509, once per chain and bundle."""
    shown, above = leaf(ca_cert, ca_key), parsed(chain)
    start = max(c.not_valid_before_utc for c in (shown, *above[:1]))
    end = min(c.not_valid_after_utc for c in (shown, *above[:1]))
    verifier = PolicyBuilder().store(Store(list(parsed(bundle)))).time(start + HOUR).build_client_verifier()
    try:
        found = verifier.verify(shown, list(above))
    except VerificationError:
        return None
    return max(start, found.chain[-1].not_valid_before_utc), min(end, found.chain[-1].not_valid_after_utc)


# The plan, and what it renders


@lru_cache(maxsize=1024)
def planned(clusters: tuple[tuple[str, str], ...]) -> Plan:
    """The plan of a mesh of these clusters, each with its version; by the real stages."""
    lines = [f"  {name}: {{network: net-{name}, istio: {{version: '{version}'}}}}" for name, version in clusters]
    text = "mesh_id: decade\ncontexts:\n" + "\n".join(lines) + "\n"
    topology = validate(load("topology.yaml", text.encode()), assets.schema("topology.schema.json"))
    return planning.plan(topology, {}, {}, istio.traits(topology))


@lru_cache(maxsize=1024)
def several(clusters: tuple[tuple[str, str], ...], rotating: bool) -> Mapping[str, bool]:
    """For which clusters the values ask for several roots."""
    plan = replace(planned(clusters), rotating=rotating)
    made = values.Values(plan)
    return {name: made.of(member, {}).get("pilot", {}).get("env", {}).get(values.MULTIROOT) == "true" for name, member in plan.members.items()}  # type: ignore[attr-defined]


def remember() -> None:
    """Has the stages read each text once: they read the same ones thousands of times here, and always find the same."""
    from kubectl_mesh.pki import issue as issuing
    from kubectl_mesh.pki import judge, kept, read, renew, requests

    if hasattr(read.describe, "cache_info"):
        return
    judge._issued = lru_cache(maxsize=65536)(judge._issued)
    for name in ("load_certificates", "load_key", "describe", "texts"):
        once = lru_cache(maxsize=8192)(getattr(read, name))
        for module in (read, issuing, kept, renew, requests, rotation, steps):
            if hasattr(module, name):
                setattr(module, name, once)


class Decade:
    """One mesh over the years, by one seed."""

    def __init__(self, seed: int, years: float = 10, most: int = 12, *, prepared: bool | None = None) -> None:
        self.seed, self.end = seed, BEGINNING + timedelta(days=365 * years)
        self.random = random.Random(seed)
        self.now = BEGINNING
        self.story: list[str] = []
        self.events: list[tuple[datetime, int, Callable[[], None]]] = []
        self.count = itertools.count()
        self.clusters: dict[str, Cluster] = {}
        self.gone: dict[str, Cluster] = {}
        self.names = (f"c{number}" for number in itertools.count(1))
        self.most = self.random.choice((2, 3, 4, 6, most))
        self.prepared = self.random.random() < 0.3 if prepared is None else prepared
        """Whether base.yaml asks for several roots at all times."""
        self.root_days = self.random.choice((900, 1500, 3650))
        self.intermediate_days = self.random.choice((200, 400, 730))
        self.certs: dict[str, bytes] = {}
        self.archive: dict[str, bytes] = {}
        self.archived: set[str] = set()
        self.keys: set[bytes] = set()
        self.manifests: dict[str, list[Manifest]] = {}
        self.renders = 0
        self.checked = self.refused = self.rotations = 0
        self.next_date = datetime.max.replace(tzinfo=UTC)
        self.materials: dict[bytes, Material] = {}
        self.rendered: tuple[object, ...] = ()

    # Time

    def at(self, when: datetime, what: Callable[[], None]) -> None:
        """Has something happen."""
        heapq.heappush(self.events, (when, next(self.count), what))

    def within(self, least: timedelta, most: timedelta, what: Callable[[], None]) -> None:
        """Has something happen some time from now."""
        self.at(self.now + least + (most - least) * self.random.random(), what)

    def tell(self, text: str) -> None:
        """A line of the story."""
        self.story.append(f"{self.now:%Y-%m-%d %H:%M} {text}")

    def run(self) -> "Decade":
        """The whole of it; raises `CutError` with the story."""
        for _ in range(2):
            self.add()
        self.render()
        self.within(DAY, 20 * DAY, self.operate)
        while self.events and self.events[0][0] < self.end:
            self.now, _, what = heapq.heappop(self.events)
            what()
        return self

    # Operators

    def wanted(self) -> Wanted:
        return Wanted("decade", "ec-p256", self.root_days, self.intermediate_days, dict.fromkeys(self.clusters, "istio-system"))

    def holdings(self) -> steps.Holdings:
        folders = sorted({p.split("/")[0] for p in self.certs if p.startswith("intermediate-") and p.endswith("/ca-cert.pem")})
        return steps.Holdings(self.certs, folders, self.archived)

    def exchange(self, change: Exchange) -> None:
        """What `exchange_certificates` does, in memory; the archive stands by itself."""
        new = {}
        for path, body in self.certs.items():
            target = moved_to(path, change.moved)
            if path not in change.dropped and target not in change.put:
                assert target not in new, f"{target} is taken"
                new[target] = body
        new |= change.put
        archived = {p: b for p, b in new.items() if p.startswith(f"{ARCHIVE}/")}
        assert not archived.keys() & self.archive.keys(), "something in the archive is overwritten"
        self.archive |= archived
        self.archived |= {p.split("/")[1] for p in archived}
        self.certs = {p: b for p, b in new.items() if p not in archived}
        self.hold()

    def hold(self) -> None:
        """No key is ever lost."""
        keys = {b for p, b in self.certs.items() if p.endswith("key.pem")}
        lost = self.keys - keys
        assert lost <= set(self.archive.values()), "a key is lost"
        self.keys = keys

    def state(self) -> rotation.Rotation | None:
        return rotation.read(self.certs)

    def operate(self) -> None:
        """An operator does something, and mostly renders at once."""
        busy = self.state() is not None
        self.within(6 * HOUR if busy else 2 * DAY, 8 * DAY if busy else 20 * DAY, self.operate)
        choices: list[tuple[Callable[[], None], int]] = [
            (self.add, 2 if len(self.clusters) < self.most else 0),
            (self.remove, 1 if len(self.clusters) > 2 else 0),
            (self.renew, 2),
            (self.begin, 1),
            (self.advance, 14 if busy else 0),
            (self.abort, 1 if busy else 0),
            (self.by_hand, 1),
            (lambda: None, 6),
            (self.upgrade, 1),
            (self.restart_something, 3),
        ]
        heeded = bool(expiring(sorted(self.clusters), self.certs, self.now, 60 * DAY))
        if heeded:
            self.renew(due=True)
        if self.state() is None and min(c.not_valid_after_utc for c in parsed(self.certs[ROOT_CERT])) - self.now < 300 * DAY:
            self.begin()
        self.random.choices([c for c, _ in choices], [w for _, w in choices])[0]()
        # What `check` warns of is not left lying.
        if heeded or self.random.random() < 0.9:
            self.render(every=heeded)

    def add(self) -> None:
        name = next(self.names)
        self.clusters[name] = Cluster(name, self.random.choice(VERSIONS))
        self.tell(f"{name} ({self.clusters[name].version}) joins")

    def remove(self) -> None:
        """A cluster leaves; from here on nobody has to reach it."""
        name = self.random.choice(sorted(self.clusters))
        self.gone[name] = self.clusters.pop(name)
        self.tell(f"{name} leaves")

    def upgrade(self) -> None:
        cluster = self.random.choice(list(self.clusters.values()))
        newer = max(cluster.version, self.random.choice(VERSIONS))
        if newer != cluster.version and self.state() is None:
            self.tell(f"{cluster.name} is upgraded from {cluster.version} to {newer}")
            cluster.version = newer
            self.load(cluster)

    def renew(self, *, due: bool = False) -> None:
        there = [name for name in sorted(self.clusters) if f"{folder(name)}/ca-cert.pem" in self.certs]
        names = expiring(there, self.certs, self.now, 60 * DAY) if due else self.random.sample(there, self.random.randint(1, len(there)))
        have = self.holdings()
        wanted = replace(self.wanted(), namespaces=dict.fromkeys(names, "istio-system"))
        self.exchange(renew(wanted, have.kept, have.archived, self.now, keep_key=self.random.random() < 0.3))
        self.tell(f"renewed {' '.join(names)}")

    def tried(self, what: str, change: Callable[[], Exchange]) -> bool:
        """A step of a rotation, if the tool lets it."""
        try:
            self.exchange(change())
        except MeshError as error:
            self.refused += 1
            self.tell(f"{what} is refused: {error.problems[0].what[:90]}")
            return False
        state = self.state()
        self.tell(f"{what}: {state.step if state is not None else 'over'}")
        return True

    def begin(self) -> None:
        if self.state() is not None or f"{folder(min(self.clusters))}/ca-cert.pem" not in self.certs:
            return
        self.rotations += self.tried("begin", lambda: steps.begin(self.wanted(), self.holdings(), self.now))

    def seen_for(self, state: rotation.Rotation) -> timedelta | None:
        """How long every istiod has had the step, as one sees it in the clusters; None while one has not."""
        bundle = self.certs[ROOT_CERT]
        since = state.since
        for name, cluster in self.clusters.items():
            material = cluster.loaded
            if material is None or material.bundle != bundle:
                return None
            if state.step in ("sign-new", "sign-old") and material.ca_cert != self.certs.get(f"{folder(name)}/ca-cert.pem"):
                return None
            since = max(since, cluster.loaded_since)
        return self.now - since

    def advance(self) -> None:
        """Waits for what is to be waited for, tells what was seen, and goes on; sometimes too early, which the tool has to refuse."""
        state = self.state()
        if state is None:
            return
        seen = self.seen_for(state)
        if seen is None:
            return  # An honest operator does not say that it was seen.
        if self.random.random() < 0.5:
            seen *= self.random.random()

        def step() -> Exchange:
            if found := rotation.early(state, seen, wait(state), self.now):
                raise MeshError([found])
            wanted = rotation.trusts(self.certs, sorted(self.clusters))
            there = {name: self.manifests[name][-1].trust for name in wanted if name in self.manifests}
            if lagging := behind("out", there, wanted, ""):
                raise MeshError(lagging)
            return steps.advance(state, self.wanted(), self.holdings(), self.now, local=True)

        self.tried("advance", step)

    def abort(self) -> None:
        state = self.state()
        if state is None or state.step not in rotation.ABORTS:
            return
        key = next((b for p, b in sorted(self.archive.items()) if p.startswith(f"{ARCHIVE}/root-{state.old[0][:8]}") and p.endswith("key.pem")), None)
        self.tried("abort", lambda: steps.abort(state, self.wanted(), self.holdings(), key, self.now, local=True))

    def by_hand(self) -> None:
        """Somebody puts another root into certs/ and renders; the render has to refuse, and the files are put back."""
        before = dict(self.certs)
        made = issue(self.wanted(), {}, self.now)
        if self.random.random() < 0.5:
            self.certs = dict(made.new)
        else:
            self.certs = {**made.new, ROOT_CERT: self.certs[ROOT_CERT] + made.root_cert}
            for name in self.clusters:
                self.certs[f"{folder(name)}/root-cert.pem"] = self.certs[ROOT_CERT]
        self.tell("somebody makes new certificates by hand")
        self.render(hidden=True)
        self.certs = before

    def render(self, *, hidden: bool = False, every: bool = False) -> None:
        """Renders all clusters, or some; refused where it would cut traffic."""
        names = sorted(self.clusters)
        inputs = (self.certs, tuple((c.name, c.version) for c in self.clusters.values()))
        if inputs == self.rendered:
            return
        if not (hidden or every) and self.random.random() < 0.1:
            names = self.random.sample(names, self.random.randint(1, len(names)))
        have = self.holdings()
        pki = issue(self.wanted(), have.kept, self.now, folders=have.folders)
        new = {**self.certs, **pki.new}
        trusts = rotation.trusts(new, sorted(self.clusters))
        before = {name: self.manifests[name][-1].trust for name in self.clusters if name in self.manifests}
        cut = list(trusting.mesh_change(before, {name: trusts[name] for name in names}))
        if cut:
            self.refused += 1
            self.tell(f"render is refused: {cut[0][0]} {cut[0][1][:80]}")
            return
        self.certs = new
        if not hidden:
            self.hold()
        if len(names) == len(self.clusters):
            self.rendered = (self.certs, inputs[1])
        flags = several(tuple((n, self.clusters[n].version) for n in sorted(self.clusters)), ROTATION in self.certs)
        self.renders += 1
        for name in names:
            made = pki.intermediates[name]
            assert made.ca_key is not None
            material = Material(made.ca_cert, made.ca_key, made.cert_chain, made.root_cert)
            asked = flags[name] or (self.prepared and self.clusters[name].minor >= ROOTS)
            manifest = Manifest(self.renders, material, asked, frozenset(self.clusters), trusts[name])
            last = self.manifests.setdefault(name, [])
            if not last or replace(last[-1], number=0) != replace(manifest, number=0):
                last.append(manifest)
                late = 9 * DAY if self.random.random() < 0.2 else 6 * HOUR
                self.within(timedelta(minutes=1), late, lambda name=name: self.sync(name, 0))  # type: ignore[misc]
        self.tell(f"render {self.renders} of {' '.join(names)}")

    # Clusters

    def sync(self, name: str, stage: int) -> None:
        """A cluster applies one stage of the newest render of it, or of one before that; the next stage comes later."""
        cluster = self.clusters.get(name)
        if cluster is None:
            return
        held = cluster.stages[stage]
        newest = self.manifests[name]
        start = 0 if held is None else next(i for i, m in enumerate(newest) if m.number == held.number)
        if stage:
            above = cluster.stages[stage - 1]
            assert above is not None
            manifest = above  # Stages follow each other: no later one overtakes.
        else:
            manifest = self.random.choice(newest[start:]) if self.random.random() < 0.3 else newest[-1]
        if manifest is not held and (held is None or manifest.number > held.number):
            cluster.stages[stage] = manifest
            self.tell(f"{name} applies stage {stage + 1} of render {manifest.number}")
            (self.trust_changed, self.plane_changed, self.mesh_changed)[stage](cluster)
        if stage < 2:
            late = 5 * DAY if self.random.random() < 0.1 else 2 * HOUR
            self.within(timedelta(minutes=1), late, lambda: self.sync(name, stage + 1))
        if cluster.stages[0] is not newest[-1]:
            self.within(HOUR, 3 * DAY, lambda: self.sync(name, 0))

    def trust_changed(self, cluster: Cluster) -> None:
        """Another Secret cacerts: istiod reads it if it is one that takes it while it runs."""
        if cluster.loaded is None:
            return
        manifest = cluster.stages[0]
        assert manifest is not None
        new, old = manifest.material, cluster.loaded
        if cluster.minor >= 18 and (
            new.bundle == old.bundle or (cluster.several_roots and cluster.minor >= ROOTS and takes(cluster.minor, old.bundle, new.bundle))
        ):
            self.load(cluster)
        elif cluster.several_roots and cluster.minor >= ROOTS:
            self.tell(f"CUT: istiod of {cluster.name} ({cluster.version}) ignores the roots of render {manifest.number}")
            raise CutError(f"seed {self.seed}:\n" + "\n".join(self.story[-60:]))
        elif cluster.minor < ROOTS:
            # What is told for versions that read it when they start.
            self.within(HOUR, DAY, lambda: self.load(cluster))

    def plane_changed(self, cluster: Cluster) -> None:
        """Another control plane: istiod restarts where its environment changed, and starts where there was none."""
        manifest = cluster.stages[1]
        assert manifest is not None
        if cluster.loaded is None:
            cluster.several_roots = manifest.several_roots
            self.load(cluster)
            for _ in range(self.random.choice((1, 2))):
                workload = Workload(cluster.name, LEAF / 2 * self.random.random(), pushed=cluster.several_roots)
                cluster.workloads.append(workload)
                self.take(cluster, workload)
        elif cluster.several_roots != manifest.several_roots:
            cluster.several_roots = manifest.several_roots
            self.load(cluster)

    def mesh_changed(self, cluster: Cluster) -> None:
        self.check(cluster.workloads)

    def load(self, cluster: Cluster) -> None:
        """istiod has what the Secret holds: it took it, or it started."""
        manifest = cluster.stages[0]
        if manifest is None or cluster.loaded == manifest.material or (cluster.loaded is None and cluster.stages[1] is None):
            return
        cluster.loaded, cluster.loaded_since = manifest.material, self.now
        for workload in cluster.workloads:
            if workload.pushed and cluster.several_roots:
                workload.bundle = cluster.loaded.bundle
            self.at(self.due(workload), lambda w=workload: self.take(cluster, w))  # type: ignore[misc]
        self.check(cluster.workloads)

    def due(self, workload: Workload) -> datetime:
        """When the certificate of a workload is renewed next."""
        half = LEAF / 2
        passed = (self.now - BEGINNING - workload.phase) % half
        return self.now + (half - passed)

    def take(self, cluster: Cluster, workload: Workload) -> None:
        """A workload gets a certificate, and the bundle with it."""
        if cluster.loaded is None:
            return
        material = cluster.loaded
        if (workload.leaf_of, workload.chain, workload.bundle) != (material.ca_cert, material.chain, material.bundle):
            workload.leaf_of, workload.chain, workload.bundle = material.ca_cert, material.chain, material.bundle
            self.materials[material.ca_cert] = material
            self.check([workload])

    def restart_something(self) -> None:
        """A pod is moved: an istiod, which reads the Secret as it is, or a workload, which gets a certificate and its environment anew."""
        cluster = self.random.choice(list(self.clusters.values()))
        if self.random.random() < 0.5:
            self.tell(f"istiod of {cluster.name} restarts")
            self.load(cluster)
        elif cluster.workloads:
            workload = self.random.choice(cluster.workloads)
            workload.pushed, workload.phase = cluster.several_roots, (self.now - BEGINNING) % (LEAF / 2)
            self.tell(f"a workload of {cluster.name} restarts")
            self.take(cluster, workload)

    # Traffic

    def partners(self, workload: Workload) -> Iterator[Workload]:
        """Who ought to talk with a workload: those of its cluster, and of clusters that discover it or that it discovers."""
        mine = self.clusters.get(workload.cluster)
        if mine is None:
            return
        for other in self.clusters.values():
            known = [c.stages[2].peers for c in (mine, other) if c.stages[2] is not None]
            if other is mine or any(other.name in peers and mine.name in peers for peers in known):
                yield from (w for w in other.workloads if w is not workload and w.leaf_of)

    def check(self, changed: list[Workload]) -> None:
        """Each pair of which something changed, both ways."""
        for workload in changed:
            if not workload.leaf_of:
                continue
            for other in self.partners(workload):
                self.pair(workload, other)
                self.pair(other, workload)

    def pair(self, shows: Workload, verifies: Workload) -> None:
        material = self.materials[shows.leaf_of]
        self.checked += 1
        found = window(material.ca_cert, material.ca_key, shows.chain, verifies.bundle)
        if found is None or not found[0] <= self.now < found[1]:
            signed = parsed(shows.chain)[-1].subject.rfc4514_string()
            trusted = " and ".join(c.subject.rfc4514_string() for c in parsed(verifies.bundle))
            why = "not valid at this time" if found is not None else "not trusted"
            self.tell(f"CUT: {verifies.cluster}, which trusts {trusted}, does not accept {shows.cluster}, signed under {signed}: {why}")
            raise CutError(f"seed {self.seed}:\n" + "\n".join(self.story[-60:]))
        if found[1] < self.next_date:
            self.next_date = found[1]
            self.at(found[1], self.date_passed)

    def date_passed(self) -> None:
        """A date on some certificate in use: everything is looked at again."""
        if self.now != self.next_date:
            return  # An earlier date came up meanwhile, and after it the next one was looked for.
        self.next_date = datetime.max.replace(tzinfo=UTC)
        self.check([w for c in self.clusters.values() for w in c.workloads])


def takes(minor: int, old: bytes, new: bytes) -> bool:
    """Whether a running istiod takes another bundle: a text within a text, as sets of certificates from 1.30 on."""
    if minor < 30:
        return old in new or new in old
    before, after = set(parsed(old)), set(parsed(new))
    return before <= after or after <= before


def wait(state: rotation.Rotation) -> timedelta:
    """How long a step has to be seen, as `certs rotate-root` has it."""
    return DEFAULT if state.step in rotation.WAITS else timedelta()


Sums = tuple[int, int, int, int]


def some(first: int, step: int, end: int) -> Sums:
    """Runs every `step`-th seed and adds up what happened; raises `CutError`."""
    remember()
    sums: Sums = (0, 0, 0, 0)
    for seed in range(first, end, step):
        one = Decade(seed).run()
        sums = (sums[0] + one.renders, sums[1] + one.rotations, sums[2] + one.refused, sums[3] + one.checked)
    return sums


def main() -> None:
    """Runs seeds and tells what they did."""
    parser = argparse.ArgumentParser(description="Decades of a mesh, by seeds.")
    parser.add_argument("seeds", nargs="?", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="tell the story of this one")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    if asked.seed is not None:
        print("\n".join(Decade(asked.seed).run().story))
        return
    with ProcessPoolExecutor(asked.jobs) as pool:
        # In small lots, so that no process grows for hours.
        lot = 10
        ends = [(first, min(first + lot, asked.first + asked.seeds)) for first in range(asked.first, asked.first + asked.seeds, lot)]
        try:
            found = list(pool.map(some, (first for first, _ in ends), itertools.repeat(1), (end for _, end in ends)))
        except CutError as cut:
            sys.exit(str(cut))
    told = zip(map(sum, zip(*found, strict=True)), ("renders", "rotations", "refusals", "verifications"), strict=True)
    print(f"{asked.seeds} decades, none cut: " + ", ".join(f"{n} {what}" for n, what in told))


if __name__ == "__main__":
    main()
