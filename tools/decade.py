"""A decade of a mesh: a fleet that applies renders late, operators who change what they like at random, and traffic that may never be cut.

They renew, rotate roots and tokens, revoke, add and remove. The stages are the real ones (plan, values, pki, generations), on values in
memory, with a clock of its own. istiod and the proxies are models of what Istio's code does: pilot/pkg/bootstrap/istio_ca.go
(handleEvent), security/pkg/pki/util/keycertbundle.go (CRLs), security/pkg/nodeagent/cache/secretcache.go. Chains are verified by
cryptography, and by a handshake of OpenSSL where the verifier goes by CRLs.
`python -m tools.decade 1000` runs a thousand seeds; `python -m tools.decade --seed 7` tells one.
"""

import argparse
import base64
import contextlib
import hashlib
import heapq
import itertools
import os
import random
import re
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from kubectl_mesh import plan as planning
from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.credentials.accounts import SHARED_READER, reader_secret, token_file
from kubectl_mesh.errors import MeshError
from kubectl_mesh.fs.exchange import _new_path as moved_to
from kubectl_mesh.istio.versions import SINCE_ROOTS, can_read_crl
from kubectl_mesh.istio.workload_certificates import DEFAULT_TTL
from kubectl_mesh.model import (
    REMOTE_SECRETS_PREFIX,
    CertsChange,
    Change,
    FolderChange,
    Pki,
    Plan,
    Server,
    Topology,
)
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.operations import rotate_token
from kubectl_mesh.operations.token_steps import check_first_token, check_next_token, check_step
from kubectl_mesh.pki import crl, rotation, rotation_changes, stored_pki
from kubectl_mesh.pki import revocation as revoking
from kubectl_mesh.pki.issue import issue_pki
from kubectl_mesh.pki.profile import CertificateProfile
from kubectl_mesh.pki.renewal import find_expiring_clusters, plan_renewal
from kubectl_mesh.render.remote_secrets import kubeconfig_text
from kubectl_mesh.safety import remote_secrets, tokens
from kubectl_mesh.safety import roots as trusting
from kubectl_mesh.safety.roots import lagging_tree_problems
from kubectl_mesh.targets import KINDS, values
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.certificates import describe_certificate
from kubectl_mesh.x509.layout import (
    ARCHIVE_FOLDER,
    CRL_FILE,
    ROOT_CERT,
    ROTATION_FILE,
    intermediate_folder,
)
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load_document

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTES = timedelta(minutes=5)
"""How long it takes until the proxies of a cluster have the CRLs of its istiod."""
LEAF = timedelta(hours=24)
"""How long the certificate of a workload lives; it is renewed at half of it."""
X509_V_FLAG_NO_CHECK_TIME = 0x200000
VERSIONS = ("1.17.8", "1.29.10", "1.30.3", "1.30.3")
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
    crls: bytes = b""
    """Empty where nothing is or was revoked, and for an Istio that would not read it."""


@dataclass(frozen=True)
class Manifest:
    """What was rendered for a cluster: stage 1, stage 2 as far as it matters here, stage 3."""

    number: int
    material: Material
    several_roots: bool
    peers: frozenset[str]
    trust: Trust
    secrets: tuple[tuple[str, str], ...] = ()
    """The Secrets for the tokens of those who read this cluster, each with its file."""
    remotes: tuple[tuple[str, str], ...] = ()
    """The clusters for which there is a remote secret, each with the token in it."""

    @property
    def texts(self) -> dict[str, str]:
        """The files of stage 3 that tokens are about."""
        return {file: name for name, file in self.secrets} | {
            f"{REMOTE_SECRETS_PREFIX}{peer}.yaml": token for peer, token in self.remotes
        }


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
    mounts: bool = False
    """Whether it goes by CRLs: there were some when it was started (the ConfigMap istio-ca-crl is mounted then)."""
    crls: bytes = b""


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
    secrets: dict[str, str] = field(default_factory=dict)
    """The tokens that its API server takes, by the Secrets that hold them."""

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
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/default")]
            ),
            critical=True,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False
        )  # type: ignore[arg-type]
        .sign(key, hashes.SHA256())
    )


@lru_cache(maxsize=4096)
def parsed(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a text."""
    return tuple(x509.load_pem_x509_certificates(pem))


@lru_cache(maxsize=65536)
def window(
    ca_cert: bytes, ca_key: bytes, chain: bytes, bundle: bytes
) -> tuple[datetime, datetime] | None:
    """From when until when a verifier that trusts `bundle` accepts a workload of this CA; None: never. Real X.509, once per chain and bundle."""
    shown, above = leaf(ca_cert, ca_key), parsed(chain)
    start = max(c.not_valid_before_utc for c in (shown, *above[:1]))
    end = min(c.not_valid_after_utc for c in (shown, *above[:1]))
    verifier = (
        PolicyBuilder()
        .store(Store(list(parsed(bundle))))
        .time(start + HOUR)
        .build_client_verifier()
    )
    try:
        found = verifier.verify(shown, list(above))
    except VerificationError:
        return None
    return max(start, found.chain[-1].not_valid_before_utc), min(
        end, found.chain[-1].not_valid_after_utc
    )


# CRLs


@lru_cache(maxsize=4096)
def listed(crls: bytes) -> crl.CrlIndex:
    """The CRLs of a text."""
    return crl.CrlIndex(crl.load_crls(crl.CRL_PATH, crls)) if crls else crl.CrlIndex(())


@lru_cache(maxsize=65536)
def mark(ca_cert: bytes) -> tuple[bytes, bytes]:
    """Name and key of a CA: renewed with its key, it has the same CRL."""
    return revoking._ca_identity(parsed(ca_cert)[0])


@lru_cache(maxsize=65536)
def covers(crls: bytes, ca_cert: bytes) -> bool:
    """Whether there is a CRL of a CA."""
    return listed(crls).find_newest(parsed(ca_cert)[0]) is not None


def covers_roots(crls: bytes, roots: Sequence[x509.Certificate]) -> bool:
    """Whether there is one of each root that is trusted."""
    return all(covers(crls, root.public_bytes(Encoding.PEM)) for root in roots)


@lru_cache(maxsize=65536)
def complete(crls: bytes, chain: bytes) -> bool:
    """Whether istiod takes them: each certificate of its chain has to have signed one, or nothing of the Secret is taken."""
    return all(listed(crls).find_newest(c) is not None for c in parsed(chain))


@cache
def scratch() -> "tempfile.TemporaryDirectory[str]":
    """Where the files are that OpenSSL reads."""
    return tempfile.TemporaryDirectory(
        prefix="decade-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    )


def loaded(
    context: ssl.SSLContext, text: bytes, load_from: Callable[[str], None]
) -> ssl.SSLContext:
    path = f"{scratch().name}/pem"
    with open(path, "wb") as file:
        file.write(text)
    load_from(path)
    return context


@lru_cache(maxsize=512)
def shower(ca_cert: bytes, ca_key: bytes, chain: bytes) -> ssl.SSLContext:
    """A workload that shows its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own = LEAF_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return loaded(
        context,
        leaf(ca_cert, ca_key).public_bytes(Encoding.PEM) + chain + own,
        context.load_cert_chain,
    )


@lru_cache(maxsize=512)
def verifier(bundle: bytes, crls: bytes) -> ssl.SSLContext:
    """One that asks for a CRL of every CA in a chain, as Envoy does; dates do not count here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= (
        ssl.VERIFY_CRL_CHECK_CHAIN | ssl.VERIFY_X509_STRICT | X509_V_FLAG_NO_CHECK_TIME
    )
    return loaded(context, bundle + crls, context.load_verify_locations)


@lru_cache(maxsize=65536)
def refusal(ca_cert: bytes, ca_key: bytes, chain: bytes, bundle: bytes, crls: bytes) -> str:
    """Why one that goes by CRLs does not take a workload of this CA, in OpenSSL's words; empty where it does. Once for each chain, bundle and CRLs."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = verifier(bundle, crls).wrap_bio(there, back)
    shows = shower(ca_cert, ca_key, chain).wrap_bio(back, there, server_side=True)
    for _ in range(4):
        try:
            asks.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        else:
            return ""
        with contextlib.suppress(ssl.SSLWantReadError):
            shows.do_handshake()
    raise AssertionError("a handshake without an end")


@lru_cache(maxsize=65536)
def lists_last(chain: bytes, crls: bytes) -> datetime:
    """When the first of the CRLs that a chain needs is past its nextUpdate."""
    found = [listed(crls).find_newest(c) for c in parsed(chain)]
    return min(c.next_update_utc for c in found if c is not None and c.next_update_utc is not None)


# The plan, and what it renders


@lru_cache(maxsize=1024)
def topology_of(
    clusters: tuple[tuple[str, str, tuple[tuple[str, int], ...]], ...], readers: str
) -> Topology:
    """The topology of these clusters, each with its version and its `tokens`; by the real stages."""
    lines = []
    for name, version, stated in clusters:
        generation = (
            f", tokens: {{{', '.join(f'{key}: {number}' for key, number in stated)}}}"
            if stated
            else ""
        )
        lines.append(
            f"  {name}: {{network: net-{name}, istio: {{version: '{version}'}}{generation}}}"
        )
    text = f"mesh_id: decade\nreaders: {readers}\ncontexts:\n" + "\n".join(lines) + "\n"
    return validate_document(
        load_document("topology.yaml", text.encode()), assets.load_schema("topology.schema.json")
    )


@lru_cache(maxsize=1024)
def planned(clusters: tuple[tuple[str, str], ...]) -> Plan:
    """The plan of a mesh of these clusters, each with its version, for what tokens do not matter to."""
    topology = topology_of(tuple((name, version, ()) for name, version in clusters), "shared")
    return planning.build_plan(
        topology, KINDS["Istio"].plan_traits(topology), planning.KnownClusters({}, {})
    )


@lru_cache(maxsize=1024)
def several(clusters: tuple[tuple[str, str], ...], rotating: bool) -> Mapping[str, bool]:
    """For which clusters the values ask for several roots."""
    plan = replace(planned(clusters), is_rotating_root=rotating)
    made = values.Values(plan)
    return {
        name: made.build_overlay(member, {}).get("pilot", {}).get("env", {}).get(values.MULTIROOT)
        == "true"
        for name, member in plan.members.items()
    }  # type: ignore[attr-defined]


def remember() -> None:
    """Has the stages read each text once: they read the same ones thousands of times here, and always find the same."""
    from kubectl_mesh.pki import issue as issuing
    from kubectl_mesh.pki import next_root_crl, renewal, signing_requests
    from kubectl_mesh.x509 import certificates
    from kubectl_mesh.x509 import chain as judge

    if hasattr(judge._is_issued_by, "cache_info"):
        return
    judge._is_issued_by = lru_cache(maxsize=65536)(judge._is_issued_by)
    modules = (
        certificates,
        issuing,
        stored_pki,
        renewal,
        signing_requests,
        rotation,
        rotation_changes,
        crl,
        revoking,
        next_root_crl,
    )
    for name, where in {
        "load_certificates": certificates,
        "load_key": certificates,
        "split_certificates": certificates,
        "load_crls": crl,
    }.items():
        once = lru_cache(maxsize=8192)(getattr(where, name))
        for module in modules:
            if getattr(module, name, None) is getattr(where, name) and module is not where:
                setattr(module, name, once)
        setattr(where, name, once)
    signed_by, known = crl.is_signed_by, dict[Any, bool]()

    def signed_once(given: x509.CertificateRevocationList, public: Any) -> bool:
        # Neither of the two has a hash.
        key = given.signature, public.public_numbers()
        if key not in known:
            known[key] = signed_by(given, public)
        return known[key]

    crl.is_signed_by = revoking.is_signed_by = signed_once  # type: ignore[attr-defined]


class Decade:
    """One mesh over the years, by one seed."""

    def __init__(
        self,
        seed: int,
        years: float = 10,
        most: int = 12,
        *,
        prepared: bool | None = None,
        revokes: bool | None = None,
    ) -> None:
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
        self.readers = self.random.choice(("shared", "shared", "perPeer"))
        self.prunes = self.random.random() < 0.5
        """Whether what applies the tree deletes what is not in it any more (Argo CD, Flux); kubectl does not."""
        self.revokes = self.random.random() < 0.5 if revokes is None else revokes
        """In the other meshes no proxy goes by CRLs, and the keys of intermediates change."""
        self.crl_days = self.random.choice((180, 365))
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
        self.checked = self.refused = self.rotations = self.revocations = self.token_rotations = (
            self.cuts
        ) = 0
        self.revoked: set[bytes] = set()
        """The intermediates of which the tool said that what they sign will be refused."""
        self.first_seen: set[tuple[bytes, bytes]] = set()
        """Those of which it said that the other clusters have to have their CRL first, by name and key."""
        self.lists_until = BEGINNING
        """Until when the CRLs are valid, as `check` and `certs crl` have it."""
        self.tokens: dict[str, dict[str, int]] = {}
        """What the topology says of tokens."""
        self.credentials: dict[str, str] = {}
        """The files with tokens."""
        self.issued: tuple[object, Pki] | None = None
        self.planned: tuple[object, Plan] | None = None
        self.looks: dict[str, list[tuple[str, str]]] = {}
        """What has to be seen before the next step of a token: commands, and what they print."""
        self.deletes: dict[str, list[tuple[int, str]]] = {}
        """The Secrets that have to be deleted by hand, with the render that said so."""
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

    def wanted(self) -> CertificateProfile:
        return CertificateProfile(
            "decade",
            "ec-p256",
            self.root_days,
            self.intermediate_days,
            dict.fromkeys(self.clusters, "istio-system"),
        )

    def holdings(self) -> CertsFolder:
        folders = sorted(
            {
                p.split("/")[0]
                for p in self.certs
                if p.startswith("intermediate-") and p.endswith("/ca-cert.pem")
            }
        )
        return CertsFolder(
            self.certs,
            tuple(folders),
            archive_names=tuple(sorted(self.archived)),
            archived_files=self.archive,
        )

    def exchange(self, change: CertsChange) -> None:
        """What `exchange_certificates` does, in memory; the archive stands by itself."""
        new = {}
        for path, body in self.certs.items():
            target = moved_to(path, change.rename)
            if path not in change.delete and target not in change.write:
                assert target not in new, f"{target} is taken"
                new[target] = body
        new |= change.write
        archived = {p: b for p, b in new.items() if p.startswith(f"{ARCHIVE_FOLDER}/")}
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
        return rotation.read_rotation(self.certs)

    def operate(self) -> None:
        """An operator does something, and mostly renders at once."""
        busy = self.state() is not None
        self.within(6 * HOUR if busy else 2 * DAY, 8 * DAY if busy else 20 * DAY, self.operate)
        choices: list[tuple[Callable[[], None], float]] = [
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
            (self.revoke, 0.5 if self.revokes else 0),
            (
                lambda: self.sign_lists(clear=self.random.random() < 0.3),
                0.4 if CRL_FILE in self.certs else 0,
            ),
            (self.rotate_token, 4),
        ]
        self.fetch()
        heeded = bool(find_expiring_clusters(sorted(self.clusters), self.certs, self.now, 60 * DAY))
        if heeded:
            self.renew(due=True)
        # Nor does it leave be a tree that is behind while what is in it ends.
        heeded = heeded or any(
            self.ends(name) - self.now < 60 * DAY
            for name in self.clusters
            if name in self.manifests
        )
        if self.lists_due():
            self.sign_lists()
            heeded = True
        if (
            self.state() is None
            and min(c.not_valid_after_utc for c in parsed(self.certs[ROOT_CERT])) - self.now
            < 300 * DAY
        ):
            self.begin()
        self.random.choices([c for c, _ in choices], [w for _, w in choices])[0]()
        # What `check` warns of is not left lying.
        if heeded or self.random.random() < 0.9:
            self.render(every=heeded)

    def ends(self, name: str) -> datetime:
        """When the intermediate in the tree ends."""
        return parsed(self.manifests[name][-1].material.ca_cert)[0].not_valid_after_utc

    def add(self) -> None:
        name = next(self.names)
        self.clusters[name] = Cluster(name, self.random.choice(VERSIONS))
        self.tell(f"{name} ({self.clusters[name].version}) joins")

    def remove(self) -> None:
        """A cluster leaves; from here on nobody has to reach it."""
        name = self.random.choice(sorted(self.clusters))
        self.gone[name] = self.clusters.pop(name)
        self.tokens.pop(name, None)
        self.tell(f"{name} leaves")

    def upgrade(self) -> None:
        cluster = self.random.choice(list(self.clusters.values()))
        newer = max(cluster.version, self.random.choice(VERSIONS))
        if newer != cluster.version and self.state() is None:
            self.tell(f"{cluster.name} is upgraded from {cluster.version} to {newer}")
            cluster.version = newer
            self.load(cluster)

    def renew(self, *, due: bool = False, everyone: bool = False) -> None:
        there = [
            name
            for name in sorted(self.clusters)
            if f"{intermediate_folder(name)}/ca-cert.pem" in self.certs
        ]
        names = find_expiring_clusters(there, self.certs, self.now, 60 * DAY) if due else there
        if not (due or everyone):
            names = self.random.sample(there, self.random.randint(1, len(there)))
        have = self.holdings()
        wanted = replace(self.wanted(), namespaces=dict.fromkeys(names, "istio-system"))
        # As the verb has it: the keys stay while proxies go by CRLs.
        self.exchange(
            plan_renewal(
                wanted,
                have,
                self.now,
                keep_key=CRL_FILE in self.certs or self.random.random() < 0.3,
            )
        )
        self.tell(f"renewed {' '.join(names)}")

    def tried(self, what: str, change: Callable[[], CertsChange]) -> bool:
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
        if (
            self.state() is not None
            or f"{intermediate_folder(min(self.clusters))}/ca-cert.pem" not in self.certs
        ):
            return
        self.rotations += self.tried(
            "begin",
            lambda: rotation_changes.begin_rotation(self.wanted(), self.holdings(), self.now),
        )

    def seen_for(self, state: rotation.Rotation) -> timedelta | None:
        """How long every istiod has had the step, as one sees it in the clusters; None while one has not."""
        bundle = self.certs[ROOT_CERT]
        since = state.since
        for name, cluster in self.clusters.items():
            material = cluster.loaded
            if material is None or material.bundle != bundle:
                return None
            if state.step in ("sign-new", "sign-old") and material.ca_cert != self.certs.get(
                f"{intermediate_folder(name)}/ca-cert.pem"
            ):
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

        def step() -> CertsChange:
            if found := rotation.wait_problem(state, seen, wait(state), self.now):
                raise MeshError([found])
            wanted = rotation.read_trust(self.certs, sorted(self.clusters))
            there = {
                name: self.manifests[name][-1].trust for name in wanted if name in self.manifests
            }
            if lagging := lagging_tree_problems("out", there, wanted, ""):
                raise MeshError(lagging)
            return rotation_changes.advance_rotation(
                state, self.wanted(), self.holdings(), self.now, local=True
            )

        self.tried("advance", step)

    def abort(self) -> None:
        state = self.state()
        if state is None or state.step not in rotation.ABORT_STEPS:
            return
        self.tried(
            "abort",
            lambda: rotation_changes.abort_rotation(
                state, self.wanted(), self.holdings(), self.now, local=True
            ),
        )

    def lists_due(self) -> bool:
        """Whether the CRLs end within the time that one has `check` look ahead."""
        return CRL_FILE in self.certs and self.lists_until - self.now < 60 * DAY

    def sign_lists(self, gone: bytes | None = None, *, clear: bool = False) -> None:
        """`certs crl`; with an intermediate that is `gone` it is `certs revoke`."""
        have = self.holdings()
        root = stored_pki.load_root(self.certs, self.now, have.intermediate_folders)
        own = [
            name
            for name in self.clusters
            if f"{intermediate_folder(name)}/ca-cert.pem" in self.certs
        ]
        states = {
            name: stored_pki.load_intermediate(name, self.certs, root, self.now, keyless=True)
            for name in own
        }
        before = listed(self.certs.get(CRL_FILE, b""))
        current = {s.certificate: name for name, s in states.items() if s.certificate is not None}
        revoked = [parsed(gone)[0]] if gone is not None else []
        for certificate in revoked:
            revoking.check_revocable("a file", certificate, current, root, before)
        until = self.now.replace(microsecond=0) + timedelta(days=self.crl_days)
        body, late = revoking.sign_all_crls(
            revoking.Authorities(have, states, root, before),
            revoking.Revocation(revoked, self.now, until, clear),
        )
        self.lists_until = crl.complete_crls(body, states, root, self.now).crl.next_update
        assert not late, "there is a CA without its key"
        assert self.state() is None or covers_roots(body, root.certificates), (
            "a trusted root has no CRL"
        )
        self.certs = {**self.certs, CRL_FILE: body}
        self.tell("signs the CRLs anew" + (", all empty" if clear else ""))

    def revoke(self) -> None:
        """The intermediate of a cluster that left, or of one that goes on with another: what the first signed is refused from here on."""
        if CRL_FILE not in self.certs and self.random.random() < 0.5:
            # Whoever lost a cluster may well change all keys first.
            self.renew(everyone=True)
            self.render(every=True)
        left = [
            f
            for f in self.holdings().intermediate_folders
            if f.partition("-")[2] not in self.clusters
            and self.certs[f"{f}/ca-cert.pem"] not in self.revoked
        ]
        waiting = [
            c
            for c in self.clusters.values()
            if c.loaded is None
            or c.loaded.ca_cert != self.certs[f"{intermediate_folder(c.name)}/ca-cert.pem"]
        ]
        if left and self.random.random() < 0.6:
            base = self.random.choice(left)
            gone = self.certs[f"{base}/ca-cert.pem"]
        elif waiting or len(self.clusters) < 3:
            return
        else:
            base = intermediate_folder(self.random.choice(sorted(self.clusters)))
            gone = self.certs[f"{base}/ca-cert.pem"]
            # What the refusal of the verb says: the folder is moved away, and a render makes another.
            aside = {path: body for path, body in self.certs.items() if path.startswith(f"{base}/")}
            self.archive |= {f"aside-{self.renders}/{path}": body for path, body in aside.items()}
            self.certs = {path: body for path, body in self.certs.items() if path not in aside}
            self.render(every=True)
        self.revoked.add(gone)
        self.revocations += 1
        self.tell(f"revokes {base}")
        self.sign_lists(gone)

    # Tokens

    def plan(self) -> Plan:
        """The plan as the topology and the files with tokens are."""
        stated = tuple(
            (c.name, c.version, tuple(self.tokens.get(c.name, {}).items()))
            for c in sorted(self.clusters.values(), key=lambda c: c.name)
        )
        if self.planned is not None and self.planned[0] == (stated, len(self.credentials)):
            return self.planned[1]
        topology = topology_of(stated, self.readers)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        coming = set()
        for cluster in topology.clusters:
            for peer in (
                [n for n in self.clusters if n != cluster.name]
                if self.readers == "perPeer"
                else [SHARED_READER]
            ):
                token = self.credentials.get(token_file(cluster, peer))
                if token is not None:
                    found[cluster.name, peer] = {"token": token}
                if (
                    cluster.next_generation is not None
                    and token_file(cluster, peer, cluster.next_generation) in self.credentials
                ):
                    coming.add((cluster.name, peer))
        servers = {name: Server(f"https://{name}.example:6443", b"") for name in self.clusters}
        known = planning.KnownClusters(servers, found, next_tokens=frozenset(coming))
        plan = planning.build_plan(topology, KINDS["Istio"].plan_traits(topology), known)
        self.planned = (stated, len(self.credentials)), plan
        return plan

    def fetch(self) -> None:
        """Runs the commands that fetch tokens, where they print something: the Secret is in the tree that was applied, and filled."""
        for pending in self.plan().pending:
            running = self.clusters[pending.subject]
            if (
                pending.kind not in ("token", "next-token")
                or running.stages[2] is None
                or self.random.random() < 0.2
            ):
                continue
            match = re.search(r"get secret (\S+) .*> (\S+)\)$", pending.command)
            assert match is not None, pending.command
            if match[1] in dict(running.stages[2].secrets):
                self.credentials[match[2]] = running.secrets[match[1]]

    def rotate_token(self, name: str = "") -> None:
        """`tokens rotate`: begin, advance or abort, once what was told before has been seen."""
        plan = self.plan()
        under = sorted(name for name, stated in self.tokens.items() if "beside" in stated)
        name = name or self.random.choice(
            under if under and self.random.random() < 0.8 else sorted(self.clusters)
        )
        cluster = plan.members[name].cluster
        at = token_rotation.rotation_step(cluster)
        step = (
            "begin"
            if at == token_rotation.STEADY
            else "abort"
            if self.random.random() < 0.3
            else "advance"
        )
        if not self.token_seen(name, plan):
            return
        if any(
            self.texts(plan, n) != (self.manifests[n][-1].texts if n in self.manifests else {})
            for n in (name, *token_rotation.remote_secret_holders(plan, name))
        ):
            self.refused += 1  # The tree is not what a render of the step before would make.
            return
        try:
            check_step(SimpleNamespace(plan=plan), cluster, step)  # type: ignore[arg-type]
            if step == "advance" and at == token_rotation.BEGUN:
                check_next_token(self.inputs(plan), SimpleNamespace(plan=plan), cluster)  # type: ignore[arg-type]
        except MeshError as error:
            self.refused += 1
            self.tell(f"{step} of the token of {name} is refused: {error.problems[0].what[:90]}")
            return
        taken = [
            int(m[1])
            for file in self.credentials
            if (m := re.fullmatch(rf"credentials/{name}(?:\.c[0-9]+)?\.token\.g([0-9]+)", file))
        ]
        steps_of = {
            "begin": lambda c: token_rotation.begin_rotation(c, taken),
            "advance": token_rotation.advance_rotation,
            "abort": token_rotation.abort_rotation,
        }
        before, entry = self.tokens.get(name, {}), dict(steps_of[step](cluster))
        self.tokens[name] = entry
        after = self.plan()
        try:
            if step == "abort":
                check_first_token(
                    self.inputs(plan),
                    SimpleNamespace(plan=plan),
                    SimpleNamespace(plan=after),
                    cluster,
                )  # type: ignore[arg-type]
        except MeshError as error:
            self.tokens[name] = before
            self.refused += 1
            self.tell(f"abort of the token of {name} is refused: {error.problems[0].what[:90]}")
            return
        now = token_rotation.rotation_step(after.members[name].cluster)
        paths: Any = SimpleNamespace(directory=".", tree="out")
        trees: Any = SimpleNamespace(plan=plan), SimpleNamespace(plan=after)
        self.looks[name] = list(rotate_token._describe_step(paths, step, *trees, name).checks)
        self.token_rotations += (at, now) == (token_rotation.MOVED, token_rotation.STEADY)
        self.tell(f"{step} of the token of {name}: {now} {entry}")
        if self.random.random() < 0.3:
            self.within(HOUR, 2 * DAY, lambda: self.hurry(name))

    def hurry(self, name: str) -> None:
        """Somebody goes on with a token as soon as the tool lets them."""
        if name in self.clusters and "beside" in self.tokens.get(name, {}):
            self.fetch()
            self.rotate_token(name)
            self.render()

    def inputs(self, plan: Plan) -> Any:
        """What a verb would have gathered."""
        files = {
            (c.name, p): (c, p)
            for c in plan.topology.clusters
            for p in (
                plan.members[c.name].readers if self.readers == "perPeer" else (SHARED_READER,)
            )
        }
        coming = {
            key: self.credentials.get(token_file(c, p, c.next_generation))
            for key, (c, p) in files.items()
            if c.next_generation is not None
        }
        logins = {
            key: {"token": self.credentials[token_file(c, p)]}
            for key, (c, p) in files.items()
            if token_file(c, p) in self.credentials
        }
        return SimpleNamespace(
            topology=plan.topology,
            directory=".",
            next_tokens={k: t for k, t in coming.items() if t is not None},
            logins=logins,
            machine=SimpleNamespace(now=self.now),
        )

    def token_seen(self, name: str, plan: Plan) -> bool:
        """Whether each command that was told prints what it has to; of a cluster that left nobody asks."""
        for command, printed in self.looks.get(name, ()):
            match = re.match(
                r"kubectl --context=(\S+) .*get secret istio-remote-secret-(\S+) ", command
            )
            if match is None or match[1] not in self.clusters:
                continue
            holds = (
                dict(stage.remotes).get(match[2], "")
                if (stage := self.clusters[match[1]].stages[2]) is not None
                else ""
            )
            text = base64.b64encode(
                kubeconfig_text(plan.members[match[2]], {"token": holds}).encode()
            )
            if f"{hashlib.sha256(text).hexdigest()}  -" != printed:
                return False
        return True

    def texts(self, plan: Plan, name: str) -> dict[str, str]:
        """The files of a cluster that tokens are about, as a render would make them now."""
        secrets, remotes = self.stage_3(plan, name)
        return Manifest(
            0, Material(b"", b"", b"", b""), False, frozenset(), Trust(()), secrets, remotes
        ).texts

    def stage_3(
        self, plan: Plan, name: str
    ) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        """The Secrets for tokens, and the remote secrets."""
        member = plan.members[name]
        secrets = []
        for peer in (
            (member.readers if self.readers == "perPeer" else (SHARED_READER,))
            if member.readers
            else ()
        ):
            for number in member.cluster.token_generations:
                file = f"3-mesh/reader{peer and '-' + peer}-token{'' if number == 1 else f'-g{number}'}.yaml"
                secrets.append((reader_secret(member.cluster, peer, number), file))
        remotes = [
            (peer, login["token"])
            for peer in member.peers
            if (login := plan.members[peer].peer_login(name)) is not None
        ]
        return tuple(secrets), tuple((peer, str(token)) for peer, token in remotes)

    def by_hand(self) -> None:
        """Somebody puts another root into certs/ and renders; the render has to refuse, and the files are put back."""
        before = dict(self.certs)
        made = issue_pki(self.wanted(), {}, self.now)
        if self.random.random() < 0.5:
            self.certs = dict(made.new_files)
        else:
            self.certs = {**made.new_files, ROOT_CERT: self.certs[ROOT_CERT] + made.root_cert}
            for name in self.clusters:
                self.certs[f"{intermediate_folder(name)}/root-cert.pem"] = self.certs[ROOT_CERT]
        self.tell("somebody makes new certificates by hand")
        self.render(hidden=True)
        self.certs = before

    def render(self, *, hidden: bool = False, every: bool = False) -> None:
        """Renders all clusters, or some; refused where it would cut traffic."""
        names = sorted(self.clusters)
        told = {name: entry for name, entry in self.tokens.items() if entry}
        inputs = (
            self.certs,
            tuple((c.name, c.version) for c in self.clusters.values()),
            told,
            len(self.credentials),
        )
        if inputs == self.rendered:
            return
        if not (hidden or every) and self.random.random() < 0.1:
            names = self.random.sample(names, self.random.randint(1, len(names)))
        have = self.holdings()
        there = sorted(self.clusters), self.certs
        pki = (
            self.issued[1]
            if self.issued is not None and self.issued[0] == there
            else issue_pki(self.wanted(), have.files, self.now, folders=have.intermediate_folders)
        )
        # Where nothing was made, it is the same the next time.
        self.issued = None if pki.new_files else (there, pki)
        new = {**self.certs, **pki.new_files}
        trusts = rotation.read_trust(new, sorted(self.clusters))
        before = {
            name: self.manifests[name][-1].trust for name in self.clusters if name in self.manifests
        }
        cut = list(trusting.find_cuts(before, {name: trusts[name] for name in names}))
        if cut:
            self.refused += 1
            self.tell(f"render is refused: {cut[0][0]} {cut[0][1][:80]}")
            return
        if pki.crl is not None:
            self.lists_until = pki.crl.next_update
        plan = self.plan()
        stages = {name: self.stage_3(plan, name) for name in names}
        changes = [self.change(name, *stages[name]) for name in names]
        if locked_out := [
            *remote_secrets.withdrawal_problems(plan, changes, "out"),
            *tokens.skipped_step_problems(plan, changes),
        ]:
            self.refused += 1
            self.tell(f"render is refused: {locked_out[0].what[:100]}")
            return
        for name, secrets in token_rotation.removed_secrets(plan, changes).items():
            self.deletes.setdefault(name, []).extend(
                (self.renders + 1, secret) for secret in secrets
            )
        for name in (
            pki.intermediates if any("has a CRL of" in w.what for w in pki.warnings) else ()
        ):
            subject = describe_certificate(parsed(pki.intermediates[name].ca_cert)[0]).subject
            if any(w.id == "crl-complete" and subject in w.what for w in pki.warnings):
                self.first_seen.add(mark(pki.intermediates[name].ca_cert))
                self.tell(f"has a CRL of {name} now, which the others have to have first")
        self.certs = new
        if not hidden:
            self.hold()
        if len(names) == len(self.clusters):
            self.rendered = (self.certs, *inputs[1:])
        flags = several(
            tuple((n, self.clusters[n].version) for n in sorted(self.clusters)),
            ROTATION_FILE in self.certs,
        )
        self.renders += 1
        for name in names:
            made = pki.intermediates[name]
            assert made.ca_key is not None
            crls = (
                pki.crl.pem
                if pki.crl is not None and can_read_crl(self.clusters[name].version)
                else b""
            )
            material = Material(made.ca_cert, made.ca_key, made.cert_chain, made.root_cert, crls)
            asked = flags[name] or (self.prepared and self.clusters[name].minor >= SINCE_ROOTS)
            manifest = Manifest(
                self.renders, material, asked, frozenset(self.clusters), trusts[name], *stages[name]
            )
            last = self.manifests.setdefault(name, [])
            if not last or replace(last[-1], number=0) != replace(manifest, number=0):
                last.append(manifest)
                late = 9 * DAY if self.random.random() < 0.2 else 6 * HOUR
                self.within(timedelta(minutes=1), late, lambda name=name: self.sync(name, 0))  # type: ignore[misc]
        self.tell(f"render {self.renders} of {' '.join(names)}")

    def change(
        self, name: str, secrets: tuple[tuple[str, str], ...], remotes: tuple[tuple[str, str], ...]
    ) -> FolderChange:
        """What a render does to the files of a cluster that tokens are about."""
        old = self.manifests[name][-1].texts if name in self.manifests else {}
        new = Manifest(
            0, Material(b"", b"", b"", b""), False, frozenset(), Trust(()), secrets, remotes
        ).texts
        files = [
            Change(p, "create" if p not in old else "remove" if p not in new else "update")
            for p in sorted({*old, *new})
            if old.get(p) != new.get(p)
        ]
        return FolderChange(name, "update" if files else "identical", tuple(files), ())

    # Clusters

    def known(self, cluster: Cluster, manifest: Manifest) -> bool:
        """Whether the others have the CRL of a new intermediate, where the tool said that they have to have it first."""
        ca_cert = manifest.material.ca_cert
        if mark(ca_cert) not in self.first_seen or (
            cluster.loaded is not None and mark(cluster.loaded.ca_cert) == mark(ca_cert)
        ):
            return True
        for other in self.clusters.values():
            if (
                other is cluster
                or other.name not in self.manifests
                or not self.manifests[other.name][-1].material.crls
            ):
                continue
            holds = [other.stages[0].material.crls] if other.stages[0] is not None else [b""]
            holds += [other.loaded.crls] if other.loaded is not None else []
            if not all(
                covers(crls, ca_cert)
                for crls in (*holds, *(w.crls for w in other.workloads if w.mounts))
            ):
                return False
        return True

    def sync(self, name: str, stage: int) -> None:
        """A cluster applies one stage of the newest render of it, or of one before that; the next stage comes later."""
        cluster = self.clusters.get(name)
        if cluster is None:
            return
        held = cluster.stages[stage]
        newest = self.manifests[name]
        start = (
            0 if held is None else next(i for i, m in enumerate(newest) if m.number == held.number)
        )
        if stage:
            above = cluster.stages[stage - 1]
            assert above is not None
            manifest = above  # Stages follow each other: no later one overtakes.
        else:
            manifest = (
                self.random.choice(newest[start:]) if self.random.random() < 0.3 else newest[-1]
            )
        if stage == (1 if cluster.loaded is None else 0) and not self.known(cluster, manifest):
            self.within(HOUR, 2 * DAY, lambda: self.sync(name, stage))
            return
        if manifest is not held and (held is None or manifest.number > held.number):
            cluster.stages[stage] = manifest
            self.tell(f"{name} applies stage {stage + 1} of render {manifest.number}")
            if stage == 2:
                self.mesh_changed(cluster, held)
            else:
                (self.trust_changed, self.plane_changed)[stage](cluster)
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
            new.bundle == old.bundle
            or (
                cluster.several_roots
                and cluster.minor >= SINCE_ROOTS
                and takes(cluster.minor, old.bundle, new.bundle)
            )
        ):
            self.load(cluster)
        elif cluster.several_roots and cluster.minor >= SINCE_ROOTS:
            self.cut(
                f"istiod of {cluster.name} ({cluster.version}) ignores the roots of render {manifest.number}"
            )
        elif cluster.minor < SINCE_ROOTS:
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
                workload = Workload(cluster.name, LEAF / 2 * self.random.random())
                cluster.workloads.append(workload)
                self.start(cluster, workload)
        elif cluster.several_roots != manifest.several_roots:
            cluster.several_roots = manifest.several_roots
            self.load(cluster)

    def start(self, cluster: Cluster, workload: Workload) -> None:
        """A pod starts, with the environment and the files of now."""
        assert cluster.loaded is not None
        workload.pushed, workload.crls = cluster.several_roots, cluster.loaded.crls
        workload.mounts = bool(workload.crls)
        self.take(cluster, workload)
        self.check([workload])

    def mesh_changed(self, cluster: Cluster, before: Manifest | None) -> None:
        """The API server has the Secrets of stage 3, and fills those that are new; what is to be deleted goes now, or soon."""
        manifest = cluster.stages[2]
        assert manifest is not None
        there = dict(manifest.secrets)
        for secret in there:
            cluster.secrets.setdefault(secret, f"{cluster.name}/{secret}/{next(self.count)}")
        told = self.deletes.get(cluster.name, [])
        due = [secret for number, secret in told if number <= manifest.number]
        self.deletes[cluster.name] = [
            (number, secret) for number, secret in told if number > manifest.number
        ]
        for secret in [s for s in cluster.secrets if s not in there] if self.prunes else due:
            if self.prunes:
                self.delete(cluster, secret)
            else:
                self.within(
                    timedelta(minutes=1),
                    2 * DAY,
                    lambda secret=secret: self.delete(cluster, secret),
                )  # type: ignore[misc]
        self.check(cluster.workloads)
        lost = (
            [
                peer
                for peer, _ in before.remotes
                if peer in self.clusters and peer not in dict(manifest.remotes)
            ]
            if before is not None
            else []
        )
        if lost:
            self.cut(f"{cluster.name} has no remote secret of {lost[0]} any more")
        self.discover()

    def delete(self, cluster: Cluster, secret: str) -> None:
        """A Secret goes, and its token is void; not where the tree that was applied has it again."""
        manifest = cluster.stages[2]
        if manifest is None or secret not in dict(manifest.secrets):
            self.tell(f"{secret} is deleted in {cluster.name}")
            cluster.secrets.pop(secret, None)
            self.discover()

    def discover(self) -> None:
        """Whoever has a remote secret can log in with it."""
        valid = {name: set(c.secrets.values()) for name, c in self.clusters.items()}
        for name, cluster in self.clusters.items():
            for peer, token in cluster.stages[2].remotes if cluster.stages[2] is not None else ():
                if peer in valid and token not in valid[peer]:
                    self.cut(f"{name} logs in to {peer} with a token that is void ({token})")

    def cut(self, why: str) -> None:
        """Tells that it failed, and how it came to it."""
        self.tell(f"CUT: {why}")
        raise CutError(f"seed {self.seed}:\n" + "\n".join(self.story[-60:]))

    def load(self, cluster: Cluster) -> None:
        """istiod has what the Secret holds: it took it, or it started."""
        manifest = cluster.stages[0]
        if (
            manifest is None
            or cluster.loaded == manifest.material
            or (cluster.loaded is None and cluster.stages[1] is None)
        ):
            return
        if manifest.material.crls and not complete(manifest.material.crls, manifest.material.chain):
            self.cut(
                f"istiod of {cluster.name} drops render {manifest.number}: a certificate of its chain has no CRL"
            )
        first = cluster.loaded is not None and not cluster.loaded.crls and manifest.material.crls
        cluster.loaded, cluster.loaded_since = manifest.material, self.now
        if first:
            # So that what is revoked is refused at once: as it is told, they are restarted.
            for workload in cluster.workloads:
                self.within(MINUTES, DAY, lambda w=workload: self.start(cluster, w))  # type: ignore[misc]
        self.within(timedelta(0), MINUTES, lambda: self.hand_on(cluster))
        for workload in cluster.workloads:
            if workload.pushed and cluster.several_roots:
                workload.bundle = cluster.loaded.bundle
            self.at(self.due(workload), lambda w=workload: self.take(cluster, w))  # type: ignore[misc]
        self.check(cluster.workloads)

    def hand_on(self, cluster: Cluster) -> None:
        """The kubelets have the ConfigMap with the CRLs of istiod: proxies that mount it go by those at once."""
        assert cluster.loaded is not None
        changed = [
            w
            for w in cluster.workloads
            if w.mounts and cluster.loaded.crls and w.crls != cluster.loaded.crls
        ]
        for workload in changed:
            workload.crls = cluster.loaded.crls
        self.check(changed)

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
        if (workload.leaf_of, workload.chain, workload.bundle) != (
            material.ca_cert,
            material.chain,
            material.bundle,
        ):
            workload.leaf_of, workload.chain, workload.bundle = (
                material.ca_cert,
                material.chain,
                material.bundle,
            )
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
            workload.phase = (self.now - BEGINNING) % (LEAF / 2)
            self.tell(f"a workload of {cluster.name} restarts")
            self.start(cluster, workload)

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
        chain = (material.ca_cert, material.ca_key, shows.chain, verifies.bundle)
        found, why = window(*chain), "not trusted"
        if found is not None and verifies.crls:
            why = refusal(*chain, verifies.crls)
            found = (
                (found[0], min(found[1], lists_last(shows.chain, verifies.crls)))
                if not why
                else None
            )
        if found is None or not found[0] <= self.now < found[1]:
            own = shows.cluster == verifies.cluster and mark(shows.leaf_of) in self.first_seen
            if shows.leaf_of in self.revoked or (
                own and self.now - self.clusters[shows.cluster].loaded_since < MINUTES
            ):
                self.cuts += 1  # As it was announced: until the cluster has another, and until its own proxies have the CRL of that.
                return
            signed = parsed(shows.chain)[-1].subject.rfc4514_string()
            trusted = " and ".join(c.subject.rfc4514_string() for c in parsed(verifies.bundle))
            if found is not None:
                why = (
                    "the CRLs have expired"
                    if verifies.crls and lists_last(shows.chain, verifies.crls) <= self.now
                    else "not valid at this time"
                )
            self.cut(
                f"{verifies.cluster}, which trusts {trusted}, does not accept {shows.cluster}, signed under {signed}: {why}"
            )
        assert found is not None
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
    return DEFAULT_TTL if state.step in rotation.WAITING_STEPS else timedelta()


COUNTED = {
    "renders": "renders",
    "rotations": "rotations of the root",
    "revocations": "revocations",
    "token_rotations": "rotations of tokens",
    "refused": "refusals",
    "cuts": "cuts of what was revoked",
    "checked": "verifications",
}
Sums = tuple[int, ...]


def some(first: int, step: int, end: int) -> Sums:
    """Runs every `step`-th seed and adds up what happened; raises `CutError`."""
    remember()
    sums: Sums = (0,) * len(COUNTED)
    for seed in range(first, end, step):
        one = Decade(seed).run()
        sums = tuple(map(sum, zip(sums, (getattr(one, name) for name in COUNTED), strict=True)))
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
        ends = [
            (first, min(first + lot, asked.first + asked.seeds))
            for first in range(asked.first, asked.first + asked.seeds, lot)
        ]
        try:
            found = list(
                pool.map(
                    some,
                    (first for first, _ in ends),
                    itertools.repeat(1),
                    (end for _, end in ends),
                )
            )
        except CutError as cut:
            sys.exit(str(cut))
    told = zip(map(sum, zip(*found, strict=True)), COUNTED.values(), strict=True)
    print(
        f"{asked.seeds} decades, none cut but as announced: "
        + ", ".join(f"{n} {what}" for n, what in told)
    )


if __name__ == "__main__":
    main()
