"""Sealed trees, stores and logins that somebody made to deceive: each is refused, told, or made right again, and no secret comes out."""

import base64
import hashlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_mesh.model import SecretManifest
from kubectl_mesh.stores import external, sops
from kubectl_mesh.yaml_io.write import dump_yaml
from tests.conftest import CLUSTERS, Ages, Controller, Run, WorkDir
from tests.support.sealed_trees import (
    EXTERNAL,
    SAIL,
    changed,
    forget_private,
    forms,
    go_template,
    tree,
)

Make = Callable[..., WorkDir]
CACERTS = "context-east-1/1-trust/cacerts.yaml"


def lie(mesh: WorkDir, path: str, body: bytes) -> None:
    """Writes another file to the tree, and the digest of it into the lock, as somebody would who wants it to pass."""
    file, lock = mesh / "out" / path, mesh / "out" / path.split("/", maxsplit=1)[0] / "mesh.lock"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    text = lock.read_text()
    assert before in text
    file.write_bytes(body)
    lock.write_text(text.replace(before, hashlib.sha256(body).hexdigest()))


def refused(ran: Any, path: str) -> None:
    """In a clone without keys: the file is named, with what it would take to make it right."""
    assert ran.code == 2
    assert ran.err.startswith(
        f"error: out/{path}: has to be sealed anew, for it was edited, and "
    ), ran.err
    assert ran.err.count("error: ") == 1


@pytest.mark.parametrize(
    "kind",
    [
        "another cluster's",
        "namespace",
        "a label more",
        "another object",
        "a value in clear",
        "for others",
        "in other words",
    ],
)
def test_a_lock_that_lies_for_a_sops_file(
    kind: str, sealed_mesh: WorkDir, run: Run, ages: Ages
) -> None:
    """Everything that can be read without a key has to be right, whatever the lock says."""
    forget_private(sealed_mesh)
    old = (sealed_mesh / "out" / CACERTS).read_bytes()
    bodies = {
        "another cluster's": (
            sealed_mesh / "out" / CACERTS.replace("east-1", "east-2")
        ).read_bytes(),
        "namespace": old.replace(b"namespace: istio-system", b"namespace: kube-system"),
        "a label more": old.replace(b"metadata:\n", b"metadata:\n  labels:\n    evil: here\n"),
        "another object": b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cacerts\n",
        "a value in clear": old.replace(b"data:\n", b'data:\n  extra: "aGVsbG8="\n', 1),
        "for others": old.replace(ages.recipient("admin").encode(), ages.recipient("new").encode()),
        "in other words": old.replace(b"\nsops:\n", b"\n\nsops:\n"),
    }
    assert bodies[kind] != old
    lie(sealed_mesh, CACERTS, bodies[kind])
    refused(run("render", "--check", cwd=sealed_mesh), CACERTS)
    checked = json.loads(run("check", "-o", "json", cwd=sealed_mesh).out)
    assert [c["id"] for c in checked["checks"] if c["status"] == "error"] == ["sealed-current"]
    lie(sealed_mesh, CACERTS, old)
    assert run("render", "--check", cwd=sealed_mesh).code == 0


def test_a_file_of_another_cluster_with_the_same_recipients(
    workdir: Make, run: Run, ages: Ages
) -> None:
    """All that can be read is the same then, but the wrapped keys are not those of the files beside it."""
    mesh = workdir(
        over={"secrets": {"store": "sops", "recipients": [ages.recipient("admin")]}}, tokens=True
    )
    assert run("render", cwd=mesh).code == 0
    forget_private(mesh)
    lie(mesh, CACERTS, (mesh / "out" / CACERTS.replace("east-1", "east-2")).read_bytes())
    refused(run("render", "--check", cwd=mesh), CACERTS)


@pytest.mark.parametrize(
    "kind",
    [
        "namespace",
        "template",
        "annotation",
        "a value more",
        "no value",
        "another key",
        "nonsense",
        "short",
    ],
)
def test_a_lock_that_lies_for_a_sealed_secret(
    kind: str, controllers: tuple[WorkDir, dict[str, Controller]], run: Run
) -> None:
    """Everything but the ciphertexts has to be right, and these as long as they must be."""
    mesh, _ = controllers
    forget_private(mesh)
    old = (mesh / "out" / CACERTS).read_bytes()
    value = yaml.safe_load(old)["spec"]["encryptedData"]["ca-key.pem"]
    blob = base64.b64decode(value)
    bodies = {
        "namespace": old.replace(b"  namespace: istio-system", b"  namespace: kube-system"),
        "template": old.replace(b"type: Opaque", b"type: kubernetes.io/tls"),
        "annotation": old.replace(
            b"metadata:\n",
            b'metadata:\n  annotations:\n    sealedsecrets.bitnami.com/cluster-wide: "true"\n',
            1,
        ),
        "a value more": old.replace(
            b"encryptedData:\n", f'encryptedData:\n    extra: "{value}"\n'.encode()
        ),
        "no value": b"\n".join(line for line in old.split(b"\n") if b"ca-key.pem" not in line),
        "another key": old.replace(
            value.encode(), base64.b64encode(b"\x02\x00" + blob[2:]).decode().encode()
        ),
        "nonsense": old.replace(value.encode(), b"AAAA"),
        "short": old.replace(value.encode(), base64.b64encode(blob[:260]).decode().encode()),
    }
    assert bodies[kind] != old
    lie(mesh, CACERTS, bodies[kind])
    refused(run("render", "--check", cwd=mesh), CACERTS)
    lie(mesh, CACERTS, old)
    assert run("render", "--check", cwd=mesh).code == 0


@pytest.mark.parametrize("sealed", [None, [], "x", 5, {"../../x": "1", "1-trust/cacerts.yaml": []}])
def test_a_lock_whose_list_is_none(sealed: object, sealed_mesh: WorkDir, run: Run) -> None:
    """It lists nothing then: where keys are here all is made right, byte for byte."""
    before = tree(sealed_mesh)
    lock = sealed_mesh / "out/context-east-1/mesh.lock"
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"sealed": sealed}))
    assert run("render", "--check", cwd=sealed_mesh).code == 1
    assert run("render", cwd=sealed_mesh).code == 0
    after = tree(sealed_mesh)
    assert changed(before, after) <= {path for path in before if path.startswith("context-east-1/")}
    assert run("render", "--check", cwd=sealed_mesh).code == 0


WORDS = (
    "{{ .token }}",
    "{{",
    "{{{",
    "{{- printf",
    "}}",
    "{{/*",
    "kubectlMesh-token",
    "{{`a`}}",
    '{{ "{{" }}',
    "{",
)


@pytest.mark.parametrize("word", WORDS)
def test_nothing_stated_is_a_template_for_the_operator(word: str, workdir: Make, run: Run) -> None:
    """Names, addresses and settings that look like a template of Go, or like a mark of ours, come out as they went in; no token gets beside its place."""
    context = f"west {word}"
    over = EXTERNAL | {
        "contexts": {
            "context-west-1": None,
            context: {
                "network": "network-west",
                "clusterName": "west",
                "server": "https://198.51.100.21:6443",
                "credential": {
                    "oidc": {
                        "clientID": word,
                        "issuerURL": f"https://idp.example.com/{word}",
                        "idTokenFile": "id",
                        "clientSecretFile": "cs",
                    }
                },
            },
        }
    }
    mesh = workdir(over=over, tokens=True)
    mesh.write("base.yaml", SAIL)
    mesh.write(
        "clusters/west.crt",
        base64.b64decode(
            yaml.safe_load((mesh / "kubeconfig.yaml").read_text())["clusters"][0]["cluster"][
                "certificate-authority-data"
            ]
        ),
    )
    ran = run("render", cwd=mesh)
    if ran.code == 2:
        assert ran.err.startswith("error: topology.yaml:"), ran.err
        assert f"contexts.{json.dumps(context)}" in ran.err or "issuerURL" in ran.err
        return
    value = yaml.safe_load(
        (mesh / "out/context-east-1/3-mesh/remote-secrets/west.yaml").read_text()
    )
    template = value["spec"]["target"]["template"]
    secrets = {"idToken": "the-id-token", "clientSecret": "the-client-secret"}
    assert {d["remoteRef"]["property"] for d in value["spec"]["data"]} == set(secrets)
    assert (
        go_template(template["metadata"]["annotations"]["istio.io/clusterContext"], {}) == context
    )
    made = yaml.safe_load(go_template(template["data"]["west"], secrets))
    config = made["users"][0]["user"]["auth-provider"]["config"]
    assert config["client-id"] == word
    assert config["idp-issuer-url"] == f"https://idp.example.com/{word}"
    assert (config["id-token"], config["client-secret"]) == ("the-id-token", "the-client-secret")


GO = """
package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

func main() {
	var in struct {
		Text   string
		Values map[string]string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		panic(err)
	}
	functions := template.FuncMap{
		"trim":   strings.TrimSpace,
		"b64enc": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"toJson": func(v any) string { b, _ := json.Marshal(v); return string(b) },
	}
	made, err := template.New("t").Option("missingkey=error").Funcs(functions).Parse(in.Text)
	if err != nil {
		panic(err)
	}
	if err := made.Execute(os.Stdout, in.Values); err != nil {
		panic(err)
	}
}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict[str, str]], str]:
    """Go's own text/template, with the functions of the External Secrets Operator that our templates use."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not on PATH")
    folder = tmp_path_factory.mktemp("engine")
    (folder / "main.go").write_text(GO)
    environment = {**os.environ, "GOFLAGS": ""}
    subprocess.run(
        [go, "build", "-o", folder / "engine", folder / "main.go"],
        check=True,
        capture_output=True,
        env=environment,
    )

    def execute(text: str, values: dict[str, str]) -> str:
        asked = json.dumps({"Text": text, "Values": values})
        return subprocess.run(
            [folder / "engine"], input=asked, capture_output=True, text=True, check=True
        ).stdout

    return execute


def test_go_reads_our_templates_as_they_are_meant(
    engine: Callable[[str, dict[str, str]], str],
) -> None:
    """The real engine: what is stated comes out as it went in, whatever it looks like; values get where they belong, whatever they hold."""
    for word in (*WORDS, "{{{{{", "{ {", "\\{{", "{{\n}}", "a{{b}}c", "{{end}}", "{{define `x`}}"):
        assert engine(external._literal(word), {}) == word
    stated = "".join(f"- {json.dumps(word)}\n" for word in WORDS)
    text = f"a:\n{stated}users:\n- user:\n    client-key-data: kubectlMesh-key\n    token: kubectlMesh-token\n"
    for secret in ("plain", 'a "quoted" one', "{{ .key }}", "<&>'\\", "\u00fc\u4e2d", "x: y\nz: 1"):
        made = yaml.safe_load(
            engine(external._template(text), {"token": f"  {secret}\n", "key": secret})
        )
        assert made["a"] == list(WORDS)
        assert made["users"][0]["user"] == {
            "client-key-data": base64.b64encode(secret.encode()).decode(),
            "token": secret,
        }


def test_stores_that_follow_one_another(workdir: Make, run: Run, ages: Ages) -> None:
    """Each tree is that of a first render with its store: nothing of the one before is left, nothing in clear is left but where it is asked for."""
    bare: dict[str, Any] = {
        "secrets": {"recipients": None, "secretStore": None, "path": None},
        "contexts": {c: {"recipients": None} for c in CLUSTERS},
    }
    stores: dict[str, dict[str, Any]] = {
        "plain": {"secrets": {"store": "plain"}},
        "sops": ages.over(),
        "sealed": {"secrets": {"store": "sealed"}},
        "external": EXTERNAL,
    }
    mesh = workdir(over=EXTERNAL, tokens=True)
    mesh.write("base.yaml", SAIL)
    for name in CLUSTERS:
        mesh.write(f"clusters/{name}.sealing.crt", Controller().certificate)
    names: dict[str, set[str]] = {}
    order = [
        "plain",
        "sops",
        "plain",
        "sealed",
        "external",
        "plain",
        "external",
        "sops",
        "sealed",
        "sops",
        "external",
    ]
    for store in order:
        mesh.topology(bare)
        mesh.topology(stores[store])
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        found = tree(mesh)
        assert names.setdefault(store, set(found)) == set(found)
        assert len({path for path in found if path.endswith(".sops.yaml")}) == (
            3 if store == "sops" else 0
        )
        kinds = {
            yaml.safe_load(body)["kind"]
            for path, body in found.items()
            if "remote-secrets/" in path
        }
        assert kinds == {
            {
                "plain": "Secret",
                "sops": "Secret",
                "sealed": "SealedSecret",
                "external": "ExternalSecret",
            }[store]
        }
        private = [
            p for p in (mesh / "out").rglob("*") if p.is_file() and not p.stat().st_mode & 0o077
        ]
        assert bool(private) == (store == "plain")
        needles = [
            n
            for p in [*(mesh / "certs").rglob("ca-key.pem"), *(mesh / "credentials").iterdir()]
            for n in forms(p.read_bytes())
        ]
        decoded = b"\n".join(found.values())
        assert any(n in decoded for n in needles) == (store == "plain")
        assert run("render", "--check", cwd=mesh).code == 0


def test_another_store_in_a_clone_without_keys(sealed_mesh: WorkDir, run: Run) -> None:
    """To `plain` or `sealed` what lacks is named and nothing is changed; `external` needs no key."""
    bare: dict[str, Any] = {
        "secrets": {"recipients": None},
        "contexts": {c: {"recipients": None} for c in CLUSTERS},
    }
    forget_private(sealed_mesh)
    before = tree(sealed_mesh)
    sealed_mesh.topology(bare)
    sealed_mesh.topology({"secrets": {"store": "plain"}})
    ran = run("render", cwd=sealed_mesh)
    assert ran.code == 2
    assert all(f"certs/intermediate-{name}/ca-key.pem: is missing" in ran.err for name in CLUSTERS)
    assert tree(sealed_mesh) == before
    sealed_mesh.topology({"secrets": {"store": "sealed"}})
    for name in CLUSTERS:
        sealed_mesh.write(f"clusters/{name}.sealing.crt", Controller().certificate)
    ran = run("render", cwd=sealed_mesh)
    assert ran.code == 2
    assert ran.err.count("has to be sealed anew, for what it is made from changed") == 9
    assert tree(sealed_mesh) == before
    sealed_mesh.topology(EXTERNAL)
    sealed_mesh.write("base.yaml", SAIL)
    assert run("render", cwd=sealed_mesh).code == 0


def test_killed_while_sealing(sealed_mesh: WorkDir, run: Run, ages: Ages) -> None:
    """At whatever moment: nothing in clear, no key that others may read, and the next render makes a tree that opens."""
    chance = random.Random(5)
    words = [
        sys.executable,
        "-c",
        "import sys; from kubectl_mesh import cli; sys.exit(cli.run_command(['render', '--reseal']))",
    ]
    needles = [
        n
        for p in [
            *(sealed_mesh / "certs").rglob("*key.pem"),
            *(sealed_mesh / "credentials").iterdir(),
        ]
        for n in forms(p.read_bytes())
    ]
    killed = 0
    for _ in range(12):
        process = subprocess.Popen(
            words, cwd=sealed_mesh.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.1, 0.6))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        for path in sorted((sealed_mesh / "out").rglob("*")):
            assert not path.is_file() or not any(n in path.read_bytes() for n in needles), path
        for path in (sealed_mesh / "certs").rglob("*"):
            assert not ("key" in path.name and path.stat().st_mode & 0o077), path
        assert run("render", cwd=sealed_mesh).code == 0
        assert run("render", "--check", cwd=sealed_mesh).code == 0
        assert (
            run("verify", "--identity", ages.files["admin"], cwd=sealed_mesh).out.count("verified")
            == 3
        )
        assert not [p for p in sealed_mesh.path.rglob("*") if "kubectl-mesh-stage" in p.name]
    assert killed


def test_two_renders_at_once(sealed_mesh: WorkDir, run: Run) -> None:
    """One wins, the other says so; what is there afterwards is whole."""
    words = [
        sys.executable,
        "-c",
        "import sys; from kubectl_mesh import cli; sys.exit(cli.run_command(['render', '--reseal']))",
    ]
    for _ in range(3):
        both = [
            subprocess.Popen(
                words,
                cwd=sealed_mesh.path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        ended = [(process.communicate()[1], process.returncode) for process in both]
        assert any(code == 0 for _, code in ended)
        assert all(
            code == 0 or (code == 2 and "is being written to by another run" in err)
            for err, code in ended
        ), ended
        assert run("render", "--check", cwd=sealed_mesh).code == 0


LINKED = {
    "certs/seal-key": "is no regular file (a link is not followed here)",
    "certs/intermediate-context-east-1/ca-key.pem": "is no regular file (a link is not followed here)",
    "out/context-east-1": "is a symbolic link, and kubectl mesh writes through none",
    "out/context-east-1/1-trust": "is in the way: a folder belongs there",
}


@pytest.mark.parametrize("name", LINKED)
def test_links_are_not_followed(name: str, sealed_mesh: WorkDir, run: Run, tmp_path: Path) -> None:
    """In certs/ and out/: refused by name, nothing is written."""
    shutil.move(sealed_mesh / name, tmp_path / "aside")
    os.symlink(tmp_path / "aside", sealed_mesh / name)
    before = sealed_mesh.snapshot()
    ran = run("render", cwd=sealed_mesh)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {name}: {LINKED[name]}\n"), ran.err
    assert sealed_mesh.snapshot() == before


def test_a_link_in_the_place_of_an_input(
    workdir: Make, run: Run, ages: Ages, tmp_path: Path
) -> None:
    """Inputs may be links, which a person made; one that leads in a circle, out of the working directory, or to no file, is told."""
    mesh = workdir(over=ages.over(), tokens=CLUSTERS[:2])
    for place in (tmp_path / "token", mesh / "credentials" / "token"):
        place.write_text("token-elsewhere")
        place.chmod(0o600)
    path = mesh / "credentials" / "context-west-1.token"
    os.symlink("token", path)
    assert run("render", cwd=mesh).code == 0
    assert (mesh / "out/context-east-1/3-mesh/remote-secrets/context-west-1.yaml").exists()
    leaves = "is a symbolic link, or lies behind one, that leaves the working directory"
    for target, why in (
        ("context-west-1.token", "is a symbolic link that leads in a circle"),
        ("/dev/zero", leaves),
        (tmp_path / "token", leaves),
    ):
        path.unlink()
        os.symlink(target, path)
        ran = run("render", cwd=mesh)
        assert ran.code == 2
        assert f"error: credentials/context-west-1.token: {why}" in ran.err


@pytest.mark.parametrize("store", ["sops", "sealed"])
def test_no_seal_key_where_nothing_is_sealed(
    store: str, workdir: Make, run: Run, ages: Ages
) -> None:
    """A seal key of its own in every clone would make each `render --check` a difference."""
    mesh = workdir(over=ages.over() if store == "sops" else {"secrets": {"store": "sealed"}})
    mesh.write("base.yaml", SAIL)
    mesh.topology({"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "mesh-ca"}}})
    assert run("render", cwd=mesh).code == 0
    assert not (mesh / "certs").exists()
    assert run("render", "--check", cwd=mesh).code == 0


BOMB = b"a: &a [x, x, x, x, x, x, x, x]\n" + b"".join(
    b"b%d: &b%d [%s]\n" % (i, i, b", ".join([b"*b%d" % (i - 1) if i else b"*a"] * 8))
    for i in range(9)
)
MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no text": lambda _: bytes(range(256)) * 10,
    "a list": lambda _: b"- a\n",
    "too deep": lambda _: b"[" * 100_000,
    "too deep inside": lambda old: old.replace(b"kind: ", b"x: " + b"[" * 100_000 + b"\nkind: ", 1),
    "an alias bomb": lambda old: BOMB + old,
    "huge": lambda old: old + b"#" * (40 << 20),
    "no block": lambda old: old.split(b"sops:")[0],
    "recipients as a text": lambda old: old.replace(b"  age:\n", b"  age: x\n  aged:\n"),
    "a number as the MAC": lambda old: old.replace(b"  mac: ", b"  mac: 5\n  macs: "),
    "another rule": lambda old: old.replace(b"^(data|stringData)$", b"((((("),
    "another armor": lambda old: old.replace(b"BEGIN AGE", b"BEGIN EGA"),
    "a number as a name": lambda old: old.replace(b"data:\n", b"data:\n  5: x\n", 1).replace(
        b"encryptedData:\n", b"encryptedData:\n    5: 6\n"
    ),
    "a date": lambda old: old.replace(b'"2000-01-01T00:00:00Z"', b"2000-13-41T00:00:00Z"),
    "values as a list": lambda old: old.replace(b"encryptedData:", b"encryptedData: [1]\n  x:"),
    "a template as a text": lambda old: old.replace(b"  template:", b"  template: x\n  y:"),
    "metadata as a list": lambda old: old.replace(b"metadata:", b"metadata: [1]\nx:", 1),
    "metadata of the template as a text": lambda old: old.replace(
        b"    metadata:", b"    metadata: s\n    z:"
    ),
    "without a name": lambda old: old.replace(b"name: cacerts", b"nome: cacerts"),
}


def in_a_process(mesh: WorkDir, *words: "str | Path") -> "subprocess.CompletedProcess[str]":
    """A verb in a process of its own, which it may end."""
    code = "import sys; from kubectl_mesh import cli; sys.exit(cli.run_command(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=mesh.path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", MALFORMED)
def test_verify_takes_anything(
    kind: str, sealed_mesh: WorkDir, run: Run, ages: Ages, workdir: Make
) -> None:
    """Whatever stands in the place of a sealed file: it is named, the others are opened all the same, and a render makes it right."""
    mesh = workdir("sealed", over={"secrets": {"store": "sealed"}}, tokens=True)
    controller = Controller()
    for name in CLUSTERS:
        mesh.write(f"clusters/{name}.sealing.crt", controller.certificate)
    assert run("render", cwd=mesh).code == 0
    identity = mesh.write("identity", controller.pem(), 0o600)
    for made, opener in ((sealed_mesh, ages.files["admin"]), (mesh, identity)):
        before = tree(made)
        body = MALFORMED[kind](before[CACERTS])
        if body == before[CACERTS]:
            continue
        (made / "out" / CACERTS).write_bytes(body)
        ran = in_a_process(made, "verify", "--identity", opener)
        assert ran.returncode == 1, ran.stderr
        assert f"error: out/{CACERTS}: " in ran.stderr
        assert "fault of its own" not in ran.stderr
        assert ran.stdout.count("verified") == 2
        assert run("render", cwd=made).code == 0
        assert changed(before, tree(made)) <= {CACERTS, "context-east-1/mesh.lock"}
        assert run("verify", "--identity", opener, cwd=made).code == 0


@pytest.mark.parametrize(
    "inner",
    [b"[" * 100_000, b"\x00\xff", b"", b"- a", BOMB, b"users: 5", b"!!python/object:os.system x"],
)
def test_verify_takes_anything_inside_too(inner: bytes, sealed_mesh: WorkDir, ages: Ages) -> None:
    """Whoever knows the recipients, which are public, can seal what they like; a kubeconfig that is none is told."""
    path = "context-east-1/3-mesh/remote-secrets/context-west-1.yaml"
    recipients = tuple(map(ages.recipient, ("context-east-1", "admin")))
    other = sops.Sops("out", bytes(32), lambda _: None, {"context-east-1": recipients})
    value = yaml.safe_load((sealed_mesh / "out" / path).read_text())
    del value["sops"]
    value["data"] = {"context-west-1": base64.b64encode(inner).decode() or "eA=="}
    lie(
        sealed_mesh,
        path,
        other.seal_file("context-east-1", "p", SecretManifest(dump_yaml(value), "", ""), None),
    )
    ran = in_a_process(sealed_mesh, "verify", "--identity", ages.files["context-east-1"])
    assert ran.returncode == 1, ran.stderr
    assert f"error: out/{path}: " in ran.stderr
    assert "is not what the topology, the certificates and the lock say" in ran.stderr


def held_back(*args: str, cwd: WorkDir) -> "subprocess.CompletedProcess[str]":
    """A run by somebody whom modes hold back, as they do not root."""
    limits: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not on PATH, and root may read and write anywhere")
        capabilities = "-dac_override,-dac_read_search"
        limits = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    code = "import sys; from kubectl_mesh import cli; sys.exit(cli.run_command(sys.argv[1:]))"
    return subprocess.run(
        [*limits, sys.executable, "-c", code, *args],
        cwd=cwd.path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["out", "certs"])
@pytest.mark.parametrize("words", [("render",), ("render", "--reseal")])
def test_a_folder_that_may_not_be_written_to(
    name: str, words: tuple[str, ...], sealed_mesh: WorkDir, run: Run
) -> None:
    """It is named before anything is written, the seal key too; what only reads goes on."""
    sealed_mesh.token("context-west-1", "another-token")
    before = sealed_mesh.snapshot()
    (sealed_mesh / name).chmod(0o500)
    checked = held_back(*words, "--check", cwd=sealed_mesh)
    done = held_back(*words, cwd=sealed_mesh)
    (sealed_mesh / name).chmod(0o700 if name == "certs" else 0o755)
    assert checked.returncode == 1, checked.stderr
    if name == "certs" and words == ("render",):
        assert done.returncode == 0, done.stderr
        return
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {name}: cannot be written to\n  fix: ask its owner for the right to write; --check and --dry-run need none\n",
    )
    assert sealed_mesh.snapshot() == before
    assert run("render", cwd=sealed_mesh).code == 0


ROTATE = ("certs", "rotate-root", "begin", "--with-restarts")


@pytest.mark.parametrize(
    "words", [("certs", "renew", "--all"), ROTATE], ids=["renew", "rotate-root"]
)
@pytest.mark.parametrize("bare", ["certs", "certs/intermediate-context-east-1", "all"])
def test_certificates_in_folders_that_may_not_be_written_to(
    bare: str, words: tuple[str, ...], workdir: Make, run: Run
) -> None:
    """They are exchanged as a whole, and the old ones have to go: refused before anything is built, with every folder."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    before = mesh.snapshot()
    folders = (
        [mesh / "certs", *sorted((mesh / "certs").glob("intermediate-*"))]
        if bare == "all"
        else [mesh / bare]
    )
    for folder in folders:
        folder.chmod(0o500)
    done = held_back(*words, cwd=mesh)
    for folder in folders:
        folder.chmod(0o700)
    fix = "  fix: give yourself the right to write, for it is exchanged as a whole: chmod -R u+w certs\n"
    assert done.stderr == "".join(
        f"error: {folder.relative_to(mesh.path)}: cannot be written to\n{fix}" for folder in folders
    )
    assert (done.returncode, mesh.snapshot()) == (2, before)
    assert run(*words, cwd=mesh).code == 0


def test_what_a_run_left_and_may_not_be_removed(workdir: Make, run: Run) -> None:
    """It is named, with what helps, and helps."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    shutil.copytree(mesh / "certs", mesh / ".kubectl-mesh-certs")
    (mesh / ".kubectl-mesh-certs/intermediate-context-east-1").chmod(0o500)
    done = held_back("render", cwd=mesh)
    fix = "give yourself the right to write, and run it again: chmod -R u+w .kubectl-mesh-certs"
    says = f"error: .kubectl-mesh-certs: holds what a run that did not end has left, and cannot be written to\n  fix: {fix}\n"
    assert (done.returncode, done.stderr) == (2, says)
    subprocess.run(fix.partition(": ")[2].split(), cwd=mesh.path, check=True)
    assert held_back("render", cwd=mesh).returncode == 0
    assert not (mesh / ".kubectl-mesh-certs").exists()


def test_an_intermediate_that_may_not_be_completed(workdir: Make, run: Run) -> None:
    """The folder is named, before anything is written."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    folder = mesh / "certs/intermediate-context-east-1"
    (folder / "cert-chain.pem").unlink()
    before = mesh.snapshot()
    folder.chmod(0o500)
    done = held_back("render", cwd=mesh)
    folder.chmod(0o700)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: certs/intermediate-context-east-1: cannot be written to\n  fix: "
    )
    assert mesh.snapshot() == before


@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        ("out", ("render --check", "check", "diff", "describe")),
        ("out/context-east-1", ("render", "check", "diff", "describe", "tokens status")),
        ("out/context-east-1/3-mesh", ("render", "check", "diff", "describe")),
        ("out/context-east-1/mesh.lock", ("render", "check", "diff", "describe")),
        ("certs", ("render", "diff", "certs status")),
        ("certs/intermediate-context-east-1", ("render", "certs status")),
        ("credentials", ("render", "remove context-west-1")),
    ],
)
def test_what_may_not_be_read(
    name: str, verbs: tuple[str, ...], workdir: Callable[..., WorkDir], run: Run
) -> None:
    """It is named by its path below the working directory, with what to do about it."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    mode = stat.S_IMODE((mesh / name).stat().st_mode)
    (mesh / name).chmod(0)
    said = {verb: held_back(*verb.split(), cwd=mesh) for verb in verbs}
    (mesh / name).chmod(mode)
    for verb, ran in said.items():
        assert ran.returncode == (1 if verb == "describe" else 2), verb
        told = re.sub("(?m)^(warning: .*\n  fix: .*|warning: .*)\n", "", ran.stderr)
        pattern = rf"error: {name}(/ca-cert.pem)?: may not be read by you\n  fix: ask its owner for the right to read it\n"
        assert re.fullmatch(pattern, told), (verb, told)


def test_init_below_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    """The folder that is there is named."""
    (tmp_path / "shared").mkdir(mode=0o500)
    ran = held_back("init", "-C", "shared/new/mesh", "--mesh-id", "acme", cwd=WorkDir(tmp_path))
    assert (ran.returncode, ran.stderr) == (
        2,
        "error: shared: cannot be written to\n  fix: ask its owner for the right to write\n",
    )
