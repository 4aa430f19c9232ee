"""Meshes and changes by a seed: whatever `render` accepts leaves every cluster what it uses of the others, in every mixture of old and new.

A mesh is a working directory in a scratch folder. It is rendered and applied, its tokens are fetched by the commands that `render` prints, and
then it is changed. A change that `render` refuses is taken back. For one that it accepts, `uses` reads both trees and looks for what breaks
while the clusters apply the new one, a stage at a time, in the order that `diff` prints.
`python -m tools.changes 400` runs the seeds 0 to 399; `python -m tools.changes --seed 7` prints the story of one.
"""

import argparse
import base64
import contextlib
import copy
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import pyrage
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from kubectl_mesh import cli
from kubectl_mesh.cli import clock, tokens
from tests.conftest import Controller
from tests.support.uses import (
    Mixture,
    Object,
    Stage,
    Token,
    Wanted,
    World,
    apply_stages,
    one_group,
    read_facts,
    read_tree,
)

NAMES = ("ash", "bay", "elm", "fir", "oak", "yew", "box", "may")
NETWORKS = ("north", "south", "west")
OWN_NETWORKS = (*NETWORKS, "east", "far")
"""A network for each cluster, as ambient wants it."""
VERSIONS = ("1.29.6", "1.30.4", "1.30.5")
DEFAULT_READER = "istio-reader-service-account"
SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None


class LostError(AssertionError):
    """What was used and is not there, with the story of the mesh."""


# Keys that tests make


@cache
def age_identity() -> pyrage.x25519.Identity:
    """The age identity that opens what SOPS encrypted."""
    return pyrage.x25519.Identity.generate()


@cache
def make_controller() -> Controller:
    """The Sealed Secrets controller of every cluster."""
    return Controller()


@cache
def make_server_ca(name: str) -> bytes:
    """The CA of an API server."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
    )
    builder = builder.not_valid_before(datetime.now(UTC) - timedelta(days=9)).not_valid_after(
        datetime.now(UTC) + timedelta(days=3650)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@lru_cache(maxsize=4096)
def read_data_key(armored: str) -> bytes:
    """The data key of a SOPS file."""
    lines = [line for line in armored.splitlines() if line and not line.startswith("-----")]
    return pyrage.decrypt(base64.b64decode("".join(lines)), [age_identity()])


def open_sops(thing: Object) -> dict[str, bytes]:
    """The values of a Secret that SOPS encrypted."""
    key = read_data_key(thing["sops"]["age"][0]["enc"])
    found = {}
    for name, text in thing["data"].items():
        parts = dict(
            part.split(":", 1)
            for part in text.removeprefix("ENC[AES256_GCM,").removesuffix("]").split(",")
        )
        body, vector, tag = (base64.b64decode(parts[part]) for part in ("data", "iv", "tag"))
        found[name] = base64.b64decode(
            AESGCM(key).decrypt(vector, body + tag, f"data:{name}:".encode())
        )
    return found


@dataclass
class Store:
    """What opens the secrets of a tree: the keys, and a store of the user's as it was when the tree was rendered."""

    certs: dict[str, dict[str, bytes]]

    def __call__(self, directory: str, thing: Object) -> dict[str, bytes]:
        if thing["kind"] == "SealedSecret":
            return make_controller().open(thing)
        if "sops" in thing:
            return open_sops(thing)
        (key,) = {entry["remoteRef"]["key"] for entry in thing["spec"]["data"]}
        return self.certs[key.split("/")[-2]]


# A mesh


@dataclass
class Step:
    """A change, and what became of it."""

    kinds: tuple[str, ...]
    said: str
    accepted: bool
    why: str = ""


@dataclass
class Mesh:
    """A working directory, what runs of it, and what was done to it."""

    seed: int
    folder: Path
    topology: dict[str, Any] = field(default_factory=dict)
    base: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    world: World = field(default_factory=World)
    tree: dict[str, tuple[Stage, ...]] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=lambda: Wanted({}, frozenset(), {}, {}))
    ordered: int = 0
    """How many of the changes had an order."""
    first: str = ""
    """What the mesh was before all changes."""
    judge: Callable[["Mesh", Step, Path], None] | None = None
    """What looks at the tree of a refused change; it gets the folder of the tree before, too."""

    def __post_init__(self) -> None:
        self.random = random.Random(f"changes {self.seed}")
        self.now = datetime.now(UTC)
        self.taken_from: dict[str, str] = {}

    # Files

    def write(self, name: str, body: "str | bytes", mode: int = 0o644) -> None:
        """Writes a file, with the folders above it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        path.chmod(mode)

    def save(self) -> None:
        """Writes topology and base, and the public files that belong to the clusters."""
        for owner in (self.topology, *self.contexts.values()):
            for key in ("networks", "eastWestGateway", "istio"):
                if owner.get(key) == {}:
                    del owner[key]
        self.write("topology.yaml", yaml.safe_dump(self.topology, sort_keys=False))
        self.write("base.yaml", yaml.safe_dump_all(self.base, sort_keys=False))
        for context, entry in self.contexts.items():
            name = entry.get("clusterName", context)
            for file, body in (
                (f"clusters/{name}.crt", make_server_ca(context)),
                (f"clusters/{name}.sealing.crt", make_controller().certificate),
            ):
                if self.store == "sealed" or not file.endswith(".sealing.crt"):
                    self.write(file, body)

    def files(self) -> dict[str, bytes]:
        """Every file of the working directory."""
        return {
            p.relative_to(self.folder).as_posix(): p.read_bytes()
            for p in self.folder.rglob("*")
            if p.is_file() and not p.name.startswith(".kubectl-mesh")
        }

    def put_back(self, files: Mapping[str, bytes]) -> None:
        """Brings every file back to what it was."""
        for name in self.files().keys() - files.keys():
            (self.folder / name).unlink()
        for name, body in files.items():
            path = self.folder / name
            if not path.exists() or path.read_bytes() != body:
                self.write(
                    name,
                    body,
                    0o600 if name.startswith("credentials/") or name.endswith("key.pem") else 0o644,
                )

    # What the topology says

    @property
    def contexts(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.topology["contexts"]
        return found

    @property
    def store(self) -> str:
        return str(self.topology.get("secrets", {}).get("store", "plain"))

    @property
    def kind(self) -> str:
        return str(self.base[0]["kind"])

    @property
    def ambient(self) -> bool:
        return bool(self.topology.get("istio", {}).get("dataPlane") == "ambient")

    def asks(self) -> Wanted:
        """What the topology asks for."""
        joined = [c for c, e in self.contexts.items() if not e.get("disableRegistryJoin")]
        served = {c: e["controlPlane"] for c, e in self.contexts.items() if "controlPlane" in e}
        edges = {
            (c, p)
            for c in joined
            if c not in served
            for p in self.contexts[c].get("peers", joined)
            if p != c and p in joined
        }
        return Wanted(
            {c: e.get("clusterName", c) for c, e in self.contexts.items()},
            frozenset(edges),
            served,
            {c: e["server"] for c, e in self.contexts.items()},
        )

    # Commands

    def call(self, *words: str) -> tuple[int, str, str]:
        """`kubectl mesh WORDS` in this process: exit code, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        environment = {
            k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "MESH_ID", "ORG_NAME")
        } | {"HOME": os.devnull}
        with (
            mock.patch.object(clock, "read_clock", return_value=self.now),
            mock.patch.dict(os.environ, environment, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.run_command([*words, "-C", str(self.folder)])
        assert "fault of its own" not in err.getvalue(), err.getvalue()
        return code, out.getvalue(), err.getvalue()

    # Applying

    def start(self) -> None:
        """Renders the mesh, applies it, fetches the tokens, and applies what comes of them."""
        self.first = yaml.safe_dump({**self.topology, "base": self.base}, sort_keys=False)
        self.save()
        code, out, err = self.call("render", "-o", "json")
        assert code == 0, (self.seed, err)
        self.follow(())
        self.fetch(json.loads(out))
        code, out, err = self.call("render", "-o", "json")
        assert code == 0, (self.seed, err)
        assert not [p for p in json.loads(out)["pending"] if p["kind"] == "token"], out
        self.follow(("first tokens",))

    def certs(self) -> Store:
        """What a store of the user's has."""
        found: dict[str, dict[str, bytes]] = {}
        for path in self.folder.glob("certs/intermediate-*/*.pem"):
            found.setdefault(path.parent.name.removeprefix("intermediate-"), {})[path.name] = (
                path.read_bytes()
            )
        return Store(found)

    def follow(self, kinds: tuple[str, ...], groups: list[set[str]] | None = None) -> None:
        """The clusters apply the tree: looks at every mixture on the way."""
        tree, wanted, store = read_tree(self.folder / "out"), self.asks(), self.certs()
        self.learn(tree, wanted)
        if kinds:
            whom = {c for w in (self.wanted, wanted) for c in w.names}
            mixture = Mixture(
                self.world, (self.tree, tree), (self.wanted, wanted), (self.opened, store)
            )
            found = mixture.problems(groups or one_group([self.wanted, wanted]) if whom else [])
            if found:
                raise LostError(
                    "\n".join(
                        [
                            self.story(),
                            f"and then {', '.join(kinds)}:",
                            *(f"  {p}" for p in found[:12]),
                        ]
                    )
                )
        self.tree, self.wanted, self.opened = tree, wanted, store

    def learn(self, tree: Mapping[str, tuple[Stage, ...]], wanted: Wanted) -> None:
        """Which gateway the declared addresses lead to: that of the cluster that the address was taken from, if there is one."""
        for address, context in self.taken_from.items():
            if address in self.world.addresses:
                continue
            stages = self.tree.get(
                self.wanted.names.get(context, ""),
                tree.get(wanted.names.get(context, ""), ({}, {}, {})),
            )
            things = apply_stages(stages, stages, 0)
            things = {
                k: t
                for k, t in things.items()
                if t["kind"] not in ("Secret", "SealedSecret", "ExternalSecret")
            }
            gates = read_facts("", things, lambda *_: {}).gates
            if gates:
                self.world.addresses[address] = (context, gates[0].source)

    def address(self, context: str) -> str:
        """The address of a cluster's gateway, as its people have it from the cluster."""
        address = f"192.0.2.{10 * (NAMES.index(context) + 1)}"
        self.taken_from[address] = context
        return address

    def token(self, context: str, namespace: str, account: str, secret: str | None) -> str:
        """The text of a token."""
        text = f"tok-{hashlib.sha256(repr((context, namespace, account, secret)).encode()).hexdigest()[:24]}"
        self.world.tokens[text] = Token(context, namespace, account, secret)
        return text

    def fetch(self, report: Mapping[str, Any]) -> int:
        """Fetches the tokens that are pending by the commands that `render` printed, from the clusters as they run."""
        got = 0
        for item in report["pending"]:
            if item["kind"] in ("token", "next-token"):
                words = shlex.split(item["command"].strip("()"))
                context = next(w for w in words if w.startswith("--context=")).removeprefix(
                    "--context="
                )
                namespace, secret = words[words.index("-n") + 1], words[words.index("secret") + 1]
                path = words[words.index(">") + 1]
                live = (
                    {
                        k: t
                        for stage in self.tree[self.wanted.names[context]]
                        for k, t in stage.items()
                    }
                    if context in self.wanted.names
                    else {}
                )
                thing = live.get(("Secret", namespace, secret))
                if thing is not None:
                    account = thing["metadata"]["annotations"]["kubernetes.io/service-account.name"]
                    self.write(
                        os.path.relpath(path, self.folder),
                        self.token(context, namespace, account, secret),
                        0o600,
                    )
                    got += 1
        return got

    # Changing

    def change(self, kinds: tuple[str, ...], doing: Callable[[], str | None]) -> Step | None:
        """A change: refused and taken back, or accepted and followed through every mixture. None where it does not apply."""
        before, topology, base = (
            self.files(),
            copy.deepcopy(self.topology),
            copy.deepcopy(self.base),
        )
        addresses = dict(self.world.addresses)
        said = doing()
        same = (self.topology, self.base) == (topology, base) and self.files() == before
        if said is None or (same and not said.startswith("$")):
            self.topology, self.base = topology, base
            self.put_back(before)
            return None
        self.now += timedelta(days=3)
        if not said.startswith("$"):
            self.save()
        step = Step(kinds, said, accepted=False)
        self.steps.append(step)
        refused = said.startswith("$") and self.command(said, step)
        if not refused:
            inputs = self.files()
            differs, report, what = self.call("diff", "-o", "json")
            code, out, err = self.call("render", "-o", "json")
            assert code != 0 or differs != 2, f"`diff` refuses what `render` takes: {what}"
            if code != 0:
                step.why = err
                assert err.startswith("error: "), err
                assert self.files() == inputs, f"{self.story()}\na refused render wrote something"
                refused = True
        if refused:
            self.examine_refused(step)
            self.topology, self.base, self.world.addresses = topology, base, addresses
            self.put_back(before)
            return step
        step.accepted = True
        order = (
            json.loads(report)["order"] if report else {"any": True, "steps": [], "refused": None}
        )
        if order.get("refused"):
            raise LostError(
                f"{self.story()}\n`diff` says that this is refused, and `render` takes it: {order['refused']}"
            )
        names = {name: context for context, name in self.asks().names.items()}
        groups = [{names[name] for name in group if name in names} for group in order["steps"]]
        self.ordered += bool(groups)
        self.follow(kinds, groups or None)
        if self.fetch(json.loads(out)):
            self.steps.append(Step(("tokens arrive",), "tokens arrive", accepted=True))
            _, report, _ = self.call("diff", "-o", "json")
            code, _, err = self.call("render")
            assert code == 0, f"{self.story()}\n{err}"
            order = json.loads(report)["order"] if report else {"steps": []}
            self.follow(
                ("tokens arrive",),
                [{names[name] for name in group if name in names} for group in order["steps"]]
                or None,
            )
        return step

    def examine_refused(self, step: Step) -> None:
        """Gives the tree that a refused change would have, to whoever wants to judge it: it is rendered as if nothing were there."""
        if self.judge is None or step.said.startswith("$"):
            return
        out, aside = self.folder / "out", self.folder / ".out"
        out.rename(aside)
        try:
            code, _, _ = self.call("render")
            if code == 0:
                self.judge(self, step, aside)
        finally:
            if out.exists():
                shutil.rmtree(out)
            aside.rename(out)

    def command(self, said: str, step: Step) -> bool:
        """Runs a command of a step; whether it was refused."""
        code, _, err = self.call(*shlex.split(said)[1:])
        if code != 0:
            step.why = err
            return True
        self.topology = yaml.safe_load((self.folder / "topology.yaml").read_text())
        return False

    def story(self) -> str:
        """What was done, for people."""
        lines = [f"seed {self.seed}", self.first]
        lines += [
            f"{'did' if s.accepted else 'not'} {', '.join(s.kinds)}: {s.said}{'' if s.accepted else '  -- ' + s.why.splitlines()[0] if s.why else ''}"
            for s in self.steps
        ]
        return "\n".join(lines)


# Meshes


def base_of(kind: str, version: str) -> list[dict[str, Any]]:
    """A base.yaml."""
    settings = {"meshConfig": {"accessLogFile": "/dev/stdout"}}
    if kind == "Istio":
        return [
            {
                "apiVersion": "sailoperator.io/v1",
                "kind": kind,
                "spec": {"version": f"v{version}", "values": settings},
            }
        ]
    if kind == "HelmRelease":
        chart = {"spec": {"chart": "istiod", "version": version}}
        return [
            {
                "apiVersion": "helm.toolkit.fluxcd.io/v2",
                "kind": kind,
                "spec": {"interval": "10m", "chart": chart, "values": settings},
            }
        ]
    if kind == "Application":
        source = {"chart": "istiod", "targetRevision": version, "helm": {"valuesObject": settings}}
        return [
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": kind,
                "spec": {"project": "default", "source": source, "syncPolicy": {"automated": {}}},
            }
        ]
    if kind == "IstioOperator":
        return [
            {
                "apiVersion": "install.istio.io/v1alpha1",
                "kind": kind,
                "spec": {"profile": "minimal", **settings},
            }
        ]
    return [
        {"apiVersion": "install.istio.io/v1alpha2", "kind": kind, "spec": {"profile": "default"}}
    ]


def settings_of(base: dict[str, Any]) -> dict[str, Any]:
    """Where base.yaml has Istio's values."""
    spec: dict[str, Any] = base["spec"]
    if base["kind"] == "Application":
        found: dict[str, Any] = spec["source"]["helm"]["valuesObject"]
        return found
    if base["kind"] == "IstioOperator":
        return spec
    return (
        dict[str, Any](spec.setdefault("values", {}))
        if base["kind"] == "IstioControlPlane"
        else spec["values"]
    )


def new_mesh(seed: int, folder: Path) -> Mesh:
    """A mesh by its seed, not rendered yet."""
    mesh = Mesh(seed, folder)
    rng = mesh.random
    kind = rng.choices(
        ("Istio", "HelmRelease", "Application", "IstioOperator", "IstioControlPlane"),
        (10, 4, 4, 2, 1),
    )[0]
    old = kind == "IstioControlPlane"
    ambient = kind in ("Istio", "HelmRelease", "Application") and rng.random() < 0.2
    version = rng.choice(VERSIONS)
    mesh.base = base_of(kind, version)
    names = NAMES[: rng.choice((2, 2, 3, 3, 4, 5))]
    networks = OWN_NETWORKS[: len(names)] if ambient else NETWORKS[: rng.choice((1, 2, 2, 2, 3))]
    topology: dict[str, Any] = {
        "mesh_id": "acme",
        "organization": "Acme",
        "certificates": {"keyType": "ec-p256"},
    }
    istio: dict[str, Any] = {"dataPlane": "ambient"} if ambient else {}
    if kind == "IstioOperator":
        istio["version"] = "1.23.4"
    if not old and rng.random() < 0.15:
        istio["revision"] = "stable"
    if istio:
        topology["istio"] = istio
    if not old and rng.random() < 0.25:
        topology["trustDomain"] = "acme.example"
    tool = (
        {"HelmRelease": "flux", "Application": "argocd"}.get(kind, "") if rng.random() < 0.5 else ""
    )
    if kind == "Istio" and rng.random() < 0.4:
        tool = rng.choice(("flux", "argocd"))
    if tool or kind == "Application":
        topology["delivery"] = {
            "tool": tool or "argocd",
            "repoURL": "https://git.example.com/mesh.git",
        }
    store = rng.choices(("plain", "sops", "sealed", "external"), (4, 3, 2, 2))[0]
    topology["secrets"] = secrets_of(store)
    bundle = store != "sealed" and rng.random() < 0.2
    if bundle:
        topology["remoteSecrets"] = "bundle"
    elif rng.random() < 0.2:
        topology["readers"] = "perPeer"
    gateway: dict[str, Any] = {}
    if kind == "Istio" and not ambient and rng.random() < 0.3:
        # One of the Gateway API is always found by its label, and cannot let istiod through.
        gateway["kind"] = rng.choice(("Gateway", "Deployment"))
    only_found = gateway.get("kind") == "Gateway"
    if not old and not ambient and rng.random() < 0.1:
        gateway["port"] = 8443
    if gateway:
        topology["eastWestGateway"] = gateway
    mesh.topology = topology
    contexts: dict[str, Any] = {}
    topology["contexts"] = contexts
    for number, name in enumerate(names):
        entry: dict[str, Any] = {
            "network": networks[number % len(networks)],
            "server": f"https://203.0.113.{number + 11}:6443",
        }
        if rng.random() < 0.15:
            entry["serviceAccountReader"] = "mesh-reader"
        if number > 1 and rng.random() < 0.15:
            entry["disableRegistryJoin"] = True
        contexts[name] = entry
    joined = [n for n in names if "disableRegistryJoin" not in contexts[n]]
    if kind == "Istio" and not ambient and not only_found and rng.random() < 0.25:
        contexts[names[0]]["controlPlaneAddress"] = mesh.address(names[0])
        contexts[names[1]].update(controlPlane=names[0])
    elif not bundle and len(joined) > 2 and rng.random() < 0.3:
        name = rng.choice(joined)
        contexts[name]["peers"] = sorted(
            rng.sample([n for n in joined if n != name], rng.randint(1, len(joined) - 1))
        )
    if old or (not only_found and rng.random() < 0.3):
        for network in networks if old else rng.sample(networks, 1):
            inside = [n for n in joined if contexts[n]["network"] == network]
            if inside:
                topology.setdefault("networks", {})[network] = {
                    "gateways": [{"address": mesh.address(n)} for n in inside[:2]]
                }
    return mesh


def secrets_of(store: str) -> dict[str, Any]:
    """What a topology says of a store."""
    if store == "sops":
        return {"store": store, "recipients": [str(age_identity().to_public())]}
    if store == "external":
        return {"store": store, "secretStore": {"kind": "ClusterSecretStore", "name": "vault"}}
    return {"store": store}


# Changes: each does something to a mesh, and says what; None where it does not apply. `$ ...` is a command of kubectl mesh.

Change = Callable[[Mesh, random.Random], str | None]
CHANGES: dict[str, tuple[int, Change]] = {}


def change(weight: int) -> Callable[[Change], Change]:
    """Puts a function into the table of changes."""

    def put(function: Change) -> Change:
        CHANGES[function.__name__.replace("_", " ")] = (weight, function)
        return function

    return put


def pick_cluster(
    mesh: Mesh, rng: random.Random, keep: Callable[[str, dict[str, Any]], bool] = lambda c, e: True
) -> str | None:
    """One of the clusters."""
    found = [c for c, e in mesh.contexts.items() if keep(c, e)]
    return rng.choice(found) if found else None


def list_primaries(mesh: Mesh) -> set[str]:
    return {e["controlPlane"] for e in mesh.contexts.values() if "controlPlane" in e}


def peers_named(mesh: Mesh) -> set[str]:
    return {p for e in mesh.contexts.values() for p in e.get("peers", ())}


def is_bundled(mesh: Mesh) -> bool:
    return mesh.topology.get("remoteSecrets") == "bundle"


@change(9)
def add_a_cluster(mesh: Mesh, rng: random.Random) -> str | None:
    fresh = [n for n in NAMES if n not in mesh.contexts]
    if not fresh or len(mesh.contexts) > 4:
        return None
    name = rng.choice(fresh)
    network = (
        "harbour"
        if mesh.ambient
        else rng.choice((*sorted({e["network"] for e in mesh.contexts.values()}), *NETWORKS))
    )
    mesh.contexts[name] = {
        "network": network,
        "server": f"https://203.0.113.{NAMES.index(name) + 31}:6443",
    }
    return f"{name} on {network}"


@change(5)
def remove_a_cluster(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng, lambda c, e: c not in list_primaries(mesh))
    if name is None or len(mesh.contexts) < 3:
        return None
    network = mesh.contexts.pop(name)["network"]
    for path in (mesh.folder / "credentials").glob(f"{name}.*"):
        path.unlink()
    stated = mesh.topology.get("networks", {})
    if network in stated:
        stated[network]["gateways"] = [
            g for g in stated[network]["gateways"] if mesh.taken_from[g["address"]] != name
        ]
        if not stated[network]["gateways"]:
            del stated[network]
    for entry in mesh.contexts.values():
        if name in entry.get("peers", ()):
            entry["peers"] = [p for p in entry["peers"] if p != name]
    if network not in {e["network"] for e in mesh.contexts.values()}:
        mesh.topology.get("networks", {}).pop(network, None)
    return name


@change(6)
def narrow_peers(mesh: Mesh, rng: random.Random) -> str | None:
    joined = [c for c, e in mesh.contexts.items() if not e.get("disableRegistryJoin")]
    name = pick_cluster(
        mesh,
        rng,
        lambda c, e: c in joined and "controlPlane" not in e and c not in list_primaries(mesh),
    )
    if name is None or is_bundled(mesh):
        return None
    now = mesh.contexts[name].get("peers", [c for c in joined if c != name])
    mesh.contexts[name]["peers"] = sorted(rng.sample(now, max(len(now) - 1, 0)))
    return f"{name}: {mesh.contexts[name]['peers']}"


@change(4)
def widen_peers(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng, lambda c, e: "peers" in e)
    if name is None:
        return None
    del mesh.contexts[name]["peers"]
    return name


@change(3)
def leave_discovery(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(
        mesh,
        rng,
        lambda c, e: (
            "controlPlane" not in e
            and not {"peers", "disableRegistryJoin"} & e.keys()
            and c not in list_primaries(mesh) | peers_named(mesh)
        ),
    )
    if name is None:
        return None
    mesh.contexts[name]["disableRegistryJoin"] = True
    return name


@change(3)
def join_discovery(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng, lambda c, e: bool(e.get("disableRegistryJoin")))
    if name is None:
        return None
    del mesh.contexts[name]["disableRegistryJoin"]
    return name


@change(9)
def new_version(mesh: Mesh, rng: random.Random) -> str | None:
    spec, version = mesh.base[0]["spec"], rng.choice(VERSIONS)
    if mesh.kind == "Istio":
        spec["version"] = f"v{version}"
    elif mesh.kind == "HelmRelease":
        spec["chart"]["spec"]["version"] = version
    elif mesh.kind == "Application":
        spec["source"]["targetRevision"] = version
    else:
        return None
    return version


@change(10)
def a_setting_of_istiod(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind == "IstioControlPlane":
        return None
    settings_of(mesh.base[0])["meshConfig"]["accessLogEncoding"] = rng.choice(("JSON", "TEXT"))
    return "accessLogEncoding"


@change(4)
def shorter_intermediates(mesh: Mesh, rng: random.Random) -> str | None:
    mesh.topology["certificates"]["intermediateDays"] = rng.choice((365, 400, 500))
    return "intermediateDays"


@change(4)
def alerts(mesh: Mesh, rng: random.Random) -> str | None:
    mesh.topology["alerts"] = {
        "prometheusRule": not mesh.topology.get("alerts", {}).get("prometheusRule", False)
    }
    return str(mesh.topology["alerts"])


@change(6)
def another_server(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng)
    assert name is not None
    mesh.contexts[name]["server"] = f"https://api-{rng.randint(1, 99)}.{name}.example.com:6443"
    return f"{name}: {mesh.contexts[name]['server']}"


@change(3)
def another_mesh_id(mesh: Mesh, rng: random.Random) -> str | None:
    mesh.topology["mesh_id"] = "umbrella" if mesh.topology["mesh_id"] == "acme" else "acme"
    return str(mesh.topology["mesh_id"])


@change(6)
def replicas_and_annotations(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind == "IstioControlPlane":
        return None
    gateway = mesh.topology.setdefault("eastWestGateway", {})
    gateway["annotations"] = {
        "example.com/pool": "a" if gateway.get("annotations") == {"example.com/pool": "b"} else "b"
    }
    return str(gateway["annotations"])


@change(4)
def bundle_or_copies(mesh: Mesh, rng: random.Random) -> str | None:
    if not is_bundled(mesh) and (
        mesh.store == "sealed"
        or "readers" in mesh.topology
        or any("peers" in e for e in mesh.contexts.values())
    ):
        return None
    mesh.topology["remoteSecrets"] = "copies" if is_bundled(mesh) else "bundle"
    return str(mesh.topology["remoteSecrets"])


@change(3)
def another_store(mesh: Mesh, rng: random.Random) -> str | None:
    store = rng.choice(
        [
            s
            for s in ("plain", "sops", "sealed", "external")
            if s != mesh.store and not (s == "sealed" and is_bundled(mesh))
        ]
    )
    mesh.topology["secrets"] = secrets_of(store)
    return store


@change(2)
def another_path_in_the_store(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.store != "external":
        return None
    mesh.topology["secrets"]["path"] = f"platform/{rng.choice('abc')}"
    return str(mesh.topology["secrets"]["path"])


@change(3)
def a_canary(mesh: Mesh, rng: random.Random) -> str | None:
    istio = mesh.topology.setdefault("istio", {})
    if mesh.kind not in ("Istio", "HelmRelease", "Application") or mesh.ambient:
        return None
    if "canary" in istio:
        del istio["canary"]
    else:
        istio["canary"] = {"version": "1.30.5", "revision": "next"}
    return str(istio)


@change(2)
def another_revision(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind == "IstioControlPlane":
        return None
    mesh.topology.setdefault("istio", {})["revision"] = rng.choice(("blue", "green"))
    return str(mesh.topology["istio"]["revision"])


@change(3)
def another_delivery(mesh: Mesh, rng: random.Random) -> str | None:
    stated = mesh.topology.get("delivery")
    if stated is None:
        if mesh.kind != "Istio":
            return None
        mesh.topology["delivery"] = {
            "tool": rng.choice(("flux", "argocd")),
            "repoURL": "https://git.example.com/mesh.git",
        }
    else:
        stated["revision"] = "main" if stated.get("revision") == "stable" else "stable"
    return str(mesh.topology["delivery"])


@change(6)
def renew_an_intermediate(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng, lambda c, e: "controlPlane" not in e)
    return None if name is None else f"$ certs renew {mesh.contexts[name].get('clusterName', name)}"


@change(5)
def rotate_the_root(mesh: Mesh, rng: random.Random) -> str | None:
    on = (mesh.folder / "certs/rotation.json").exists()
    word = rng.choice(("advance", "advance", "advance", "abort")) if on else "begin"
    return f"$ certs rotate-root {word}" + (" --seen-for 60h" if word == "advance" else "")


@change(7)
def rotate_tokens(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng)
    assert name is not None
    begun = "beside" in mesh.contexts[name].get("tokens", {})
    word = rng.choice(("advance", "advance", "advance", "abort")) if begun else "begin"
    seen = (
        " --seen-for 60h"
        if word != "begin" and any(p.name == "seen_for" for p in tokens.rotate_command.params)
        else ""
    )
    return f"$ tokens rotate {mesh.contexts[name].get('clusterName', name)} {word}{seen}"


# Changes that running clusters may not survive


@change(2)
def drop_a_generation_by_hand(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng)
    assert name is not None
    stated = mesh.contexts[name].get("tokens", {})
    mesh.contexts[name]["tokens"] = {
        "generation": max(
            stated.get("beside", 1), stated.get("generation", 1), 2 if not stated else 1
        )
    }
    return f"{name}: {mesh.contexts[name]['tokens']}"


@change(3)
def another_reader(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng)
    assert name is not None
    now = mesh.contexts[name].get("serviceAccountReader", DEFAULT_READER)
    account = rng.choice([a for a in ("mesh-reader", "other-reader", DEFAULT_READER) if a != now])
    mesh.contexts[name]["serviceAccountReader"] = account
    return f"{name}: {account}"


@change(3)
def shared_or_own_readers(mesh: Mesh, rng: random.Random) -> str | None:
    if is_bundled(mesh) or any("credential" in e for e in mesh.contexts.values()):
        return None
    mesh.topology["readers"] = "shared" if mesh.topology.get("readers") == "perPeer" else "perPeer"
    return str(mesh.topology["readers"])


@change(2)
def another_trust_domain(mesh: Mesh, rng: random.Random) -> str | None:
    mesh.topology["trustDomain"] = rng.choice(
        [d for d in ("acme.example", "other.example") if d != mesh.topology.get("trustDomain")]
    )
    return str(mesh.topology["trustDomain"])


@change(2)
def trust_domain_aliases(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind == "IstioControlPlane":
        return None
    aliases = rng.choice(
        ([], ["cluster.local", "other.example", "acme.example"], ["cluster.local"])
    )
    settings_of(mesh.base[0])["meshConfig"]["trustDomainAliases"] = aliases
    return str(aliases)


@change(2)
def another_network(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng)
    assert name is not None
    old = mesh.contexts[name]["network"]
    mesh.contexts[name]["network"] = rng.choice([n for n in OWN_NETWORKS if n != old])
    if old not in {e["network"] for e in mesh.contexts.values()}:
        mesh.topology.get("networks", {}).pop(old, None)
    return f"{name}: {mesh.contexts[name]['network']}"


@change(2)
def one_network(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.ambient:
        return None
    for entry in mesh.contexts.values():
        entry["network"] = NETWORKS[0]
    mesh.topology.pop("networks", None)
    return NETWORKS[0]


@change(2)
def another_namespace(mesh: Mesh, rng: random.Random) -> str | None:
    namespace = (
        "istio-mesh"
        if all(
            "namespace" not in e or e["namespace"] == "istio-system" for e in mesh.contexts.values()
        )
        else "istio-system"
    )
    whom = (
        list(mesh.contexts)
        if rng.random() < 0.5 or is_bundled(mesh) or list_primaries(mesh)
        else [rng.choice(list(mesh.contexts))]
    )
    for name in whom:
        mesh.contexts[name]["namespace"] = namespace
    return f"{whom}: {namespace}"


@change(2)
def rename_a_cluster(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng, lambda c, e: "clusterName" not in e)
    if name is None:
        return None
    mesh.contexts[name]["clusterName"] = f"{name}-new"
    if rng.random() < 0.5:
        for path in (
            p
            for folder in ("certs", "credentials")
            for p in list((mesh.folder / folder).glob(f"*{name}*"))
        ):
            path.rename(path.with_name(re.sub(rf"\b{name}\b", f"{name}-new", path.name)))
        return f"{name}-new, with its files"
    return f"{name}-new"


@change(2)
def another_data_plane(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind not in ("Istio", "HelmRelease", "Application"):
        return None
    istio = mesh.topology.setdefault("istio", {})
    istio["dataPlane"] = "sidecar" if mesh.ambient else "ambient"
    istio.pop("canary", None)
    mesh.topology.get("eastWestGateway", {}).pop("kind", None)
    return str(istio["dataPlane"])


@change(2)
def another_kind_of_gateway(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind not in ("Istio", "HelmRelease", "Application") or mesh.ambient:
        return None
    gateway = mesh.topology.setdefault("eastWestGateway", {})
    gateway["kind"] = rng.choice(
        [
            k
            for k in ("Deployment", "Gateway", *(["Chart"] if mesh.kind != "Istio" else []))
            if k != gateway.get("kind")
        ]
    )
    return str(gateway["kind"])


@change(2)
def another_type_of_service(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind == "IstioControlPlane":
        return None
    gateway = mesh.topology.setdefault("eastWestGateway", {})
    gateway["serviceType"] = rng.choice(
        [
            t
            for t in ("NodePort", "ClusterIP", "LoadBalancer")
            if t != gateway.get("serviceType", "LoadBalancer")
        ]
    )
    return str(gateway["serviceType"])


@change(2)
def another_port_of_the_gateway(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.ambient or mesh.kind == "IstioControlPlane":
        return None
    gateway = mesh.topology.setdefault("eastWestGateway", {})
    gateway["port"] = rng.choice([p for p in (8443, 9443, 15443) if p != gateway.get("port")])
    return str(gateway["port"])


@change(2)
def no_gateway(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng)
    assert name is not None
    if mesh.kind == "IstioControlPlane":
        return None
    gateway = mesh.contexts[name].setdefault("eastWestGateway", {})
    gateway["enabled"] = not gateway.get("enabled", True)
    for address, owner in mesh.taken_from.items():
        if owner == name:
            # A person who disables a gateway and leaves its address stated says that the address leads to a gateway outside the tree.
            mesh.world.addresses[address] = ("", ())
    return f"{name}: {gateway}"


@change(4)
def declare_addresses(mesh: Mesh, rng: random.Random) -> str | None:
    found = sorted({e["network"] for e in mesh.contexts.values()})
    port = mesh.topology.get("eastWestGateway", {}).get("port")
    networks = mesh.topology.setdefault("networks", {})
    for network in found if rng.random() < 0.2 else [rng.choice(found)]:
        inside = [
            c
            for c, e in mesh.contexts.items()
            if e["network"] == network and not e.get("disableRegistryJoin")
        ]
        if inside:
            networks[network] = {
                "gateways": [
                    {"address": mesh.address(n), **({"port": port} if port else {})}
                    for n in inside[:2]
                ]
            }
    return str(networks) if networks else None


@change(2)
def forget_addresses(mesh: Mesh, rng: random.Random) -> str | None:
    networks = mesh.topology.get("networks")
    if not networks or mesh.kind == "IstioControlPlane":
        return None
    gone = sorted(networks) if rng.random() < 0.3 else [rng.choice(sorted(networks))]
    for network in gone:
        del networks[network]
    return str(gone)


@change(2)
def log_in_by_a_command(mesh: Mesh, rng: random.Random) -> str | None:
    name = pick_cluster(mesh, rng, lambda c, e: "tokens" not in e)
    if (
        name is None
        or mesh.topology.get("readers") == "perPeer"
        or mesh.kind == "IstioControlPlane"
    ):
        return None
    entry = mesh.contexts[name]
    if "credential" in entry:
        del entry["credential"]
    else:
        entry["credential"] = {"exec": {"command": "/bin/login"}}
    return f"{name}: {entry.get('credential')}"


@change(2)
def another_token(mesh: Mesh, rng: random.Random) -> str | None:
    """A token that was made by hand for the same account, and outlives the Secret."""
    paths = sorted((mesh.folder / "credentials").glob("*.token"))
    if not paths:
        return None
    path = rng.choice(paths)
    known = mesh.world.tokens.get(path.read_text())
    if known is None:
        return None
    mesh.write(
        f"credentials/{path.name}",
        mesh.token(known.context, known.namespace, known.account, None),
        0o600,
    )
    return path.name


@change(2)
def lose_tokens(mesh: Mesh, rng: random.Random) -> str | None:
    """As in a clone: the tokens are not at hand."""
    paths = sorted((mesh.folder / "credentials").glob("*.token*"))
    for path in paths:
        path.unlink()
    return "all" if paths else None


@change(2)
def a_root_by_hand(mesh: Mesh, rng: random.Random) -> str | None:
    for path in sorted((mesh.folder / "certs").rglob("*.pem")):
        if "archive" not in path.parts:
            path.unlink()
    for path in sorted((mesh.folder / "certs").glob("*.json")):
        path.unlink()
    return "certs/ is made again"


@change(2)
def another_control_plane(mesh: Mesh, rng: random.Random) -> str | None:
    """A cluster without a control plane gets its own, or the other way round."""
    if mesh.kind != "Istio" or mesh.ambient:
        return None
    served = pick_cluster(mesh, rng, lambda c, e: "controlPlane" in e)
    if served is not None:
        del mesh.contexts[served]["controlPlane"]
        return f"{served} gets its own"
    primary = pick_cluster(mesh, rng, lambda c, e: not {"peers", "disableRegistryJoin"} & e.keys())
    remote = pick_cluster(
        mesh, rng, lambda c, e: c != primary and not {"peers", "disableRegistryJoin"} & e.keys()
    )
    if primary is None or remote is None:
        return None
    mesh.contexts[primary]["controlPlaneAddress"] = mesh.address(primary)
    mesh.contexts[remote]["controlPlane"] = primary
    return f"{remote} is served by {primary}"


@change(1)
def another_kind_of_base(mesh: Mesh, rng: random.Random) -> str | None:
    if mesh.kind not in ("Istio", "HelmRelease"):
        return None
    mesh.base = base_of("HelmRelease" if mesh.kind == "Istio" else "Istio", "1.30.5")
    if mesh.topology.get("delivery", {}).get("tool") == "argocd":
        return None
    mesh.topology.get("eastWestGateway", {}).pop("kind", None)
    return mesh.kind


# Runs


@dataclass
class Run:
    """What came of a seed."""

    seed: int
    steps: list[Step]
    seen: Counter[str]
    ordered: int
    kind: str
    store: str
    lost: str = ""


def run_seed(
    seed: int,
    changes: int = 8,
    first: str | None = None,
    judge: Callable[[Mesh, Step, Path], None] | None = None,
) -> Run:
    """A mesh and its changes, the first of the kind `first` where it can be; a loss ends them."""
    with tempfile.TemporaryDirectory(prefix="changes-", dir=SCRATCH) as scratch:
        mesh = new_mesh(seed, Path(scratch) / "mesh")
        mesh.judge = judge
        found = Run(seed, mesh.steps, mesh.world.seen, 0, mesh.kind, mesh.store)
        try:
            mesh.start()
            kinds = list(CHANGES)
            for number in range(changes):
                # Every kind has its turn, whatever chance does.
                turn = first if number == 0 else None
                one_change(
                    mesh, turn or (kinds[(2 * seed + number) % len(kinds)] if number < 2 else None)
                )
        except LostError as lost:
            found.lost = str(lost)
        except AssertionError as wrong:
            found.lost = f"{mesh.story()}\nfails: {wrong}"
        except Exception as error:
            raise RuntimeError(mesh.story()) from error
        found.ordered = mesh.ordered
        return found


def one_change(mesh: Mesh, first: str | None = None) -> None:
    """One change, or two at once; if it can be, one of the kind `first`."""
    rng = mesh.random
    names = list(CHANGES)
    weights = [weight for weight, _ in CHANGES.values()]
    for number in range(20):
        kinds = tuple(dict.fromkeys(rng.choices(names, weights, k=rng.choice((1, 1, 1, 2)))))
        if first is not None and number < 3:
            kinds = (first,)

        def doing(kinds: tuple[str, ...] = kinds) -> str | None:
            said = [CHANGES[kind][1](mesh, rng) for kind in kinds]
            if any(s is None for s in said) or (
                len(said) > 1 and any(str(s).startswith("$") for s in said)
            ):
                return None
            return "; ".join(map(str, said))

        if mesh.change(kinds, doing) is not None:
            return


def list_steps(runs: list[Run]) -> list[Step]:
    """The changes that chance made: tokens that are fetched afterwards follow from them."""
    return [step for run in runs for step in run.steps if step.kinds != ("tokens arrive",)]


def figures_text(runs: list[Run]) -> str:
    """The figures of some runs."""
    steps = list_steps(runs)
    accepted = sum(step.accepted for step in steps)
    return f"{len(runs)} meshes, {len(steps)} changes, {accepted} accepted ({accepted / max(len(steps), 1):.0%}), {sum(r.ordered for r in runs)} with an order"


def kind_lines(runs: list[Run]) -> Iterator[str]:
    """How often each kind of change was accepted."""
    count: dict[str, list[int]] = {}
    for step in (s for run in runs for s in run.steps):
        for kind in step.kinds:
            entry = count.setdefault(kind, [0, 0])
            entry[0] += step.accepted
            entry[1] += 1
    for kind, (good, total) in sorted(count.items()):
        yield f"  {kind}: {good} of {total} accepted"


def main() -> None:
    """Runs many seeds, or prints the story of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--changes", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--without", action="append", default=[], help="leave a kind of change out")
    parser.add_argument("--why", action="store_true", help="the refusals, each with its first line")
    given = parser.parse_args()
    seeds = (
        [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds)
    )
    for kind in given.without:
        del CHANGES[kind]
    runs: list[Run] = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for run in (pool.map if given.jobs > 1 else map)(
            run_seed, seeds, [given.changes] * len(seeds)
        ):
            runs.append(run)
            if run.lost:
                print(run.lost, end="\n\n", flush=True)
            elif given.seed is not None:
                for step in run.steps:
                    print(
                        "did" if step.accepted else "not",
                        ", ".join(step.kinds),
                        step.said,
                        "" if step.accepted else step.why,
                    )
    if given.why:
        for run in runs:
            for step in run.steps:
                if not step.accepted:
                    print(
                        run.seed,
                        ", ".join(step.kinds),
                        "|",
                        step.said,
                        "|",
                        step.why.splitlines()[0][:240] if step.why else "",
                    )
    print(*kind_lines(runs), sep="\n")
    print(dict(sum((run.seen for run in runs), Counter())))
    print(figures_text(runs))
    sys.exit(1 if any(run.lost for run in runs) else 0)


if __name__ == "__main__":
    main()
