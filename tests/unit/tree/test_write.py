"""What a render does to a tree that is there: foreign and edited files, pruning, damage, links, modes, --check."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kubectl_mesh.fs import durable, locking
from kubectl_mesh.tree import write as tree
from tests.conftest import Run, WorkDir, snapshot

Make = Callable[..., WorkDir]
EAST = "out/context-east-1"


@pytest.fixture
def mesh(workdir: Make, run: Run) -> WorkDir:
    """A rendered mesh with all tokens."""
    made = workdir(tokens=True)
    assert run("render", cwd=made).code == 0
    return made


def bodies(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes."""
    return {name: body for name, (mode, body) in snapshot(folder).items() if stat.S_ISREG(mode)}


def test_twice_is_no_byte_and_no_inode(mesh: WorkDir, run: Run) -> None:
    """An unchanged render touches nothing at all."""
    before = {p: (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in mesh.path.rglob("*")}
    ran = run("render", cwd=mesh)
    assert "identical 3 directories" in ran.out
    assert {p: (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in mesh.path.rglob("*")} == before


def test_order_of_contexts_does_not_matter(mesh: WorkDir, run: Run) -> None:
    """Contexts in another order give the same tree."""
    text = (mesh / "topology.yaml").read_text()
    head, *entries = text.replace("  context-", "\0  context-").split("\0")
    tail = entries[-1].split("certificates:")
    reordered = (
        head + tail[0] + entries[1] + entries[0] + "".join("certificates:" + t for t in tail[1:])
    )
    assert reordered != text
    mesh.write("topology.yaml", reordered)
    assert run("render", "--check", cwd=mesh).code == 0


def test_a_new_cluster_changes_only_what_names_it(mesh: WorkDir, run: Run) -> None:
    """A fourth cluster: in the others its remote secret, the lists that name it, and the lock; nothing else."""
    before = bodies(mesh / "out")
    ca = next((mesh.path / "certs").glob("root-cert.pem")).read_bytes()
    mesh.write("clusters/new.crt", ca)
    mesh.topology(
        {"contexts": {"new": {"network": "network-west", "server": "https://198.51.100.50:6443"}}}
    )
    mesh.token("new")
    assert run("render", cwd=mesh).code == 0
    after = bodies(mesh / "out")
    changed = {name for name in before if after.get(name) != before[name]}
    added = set(after) - set(before)
    others = ("context-east-1", "context-east-2", "context-west-1")
    assert {n for n in added if not n.startswith("new/")} == {
        f"{o}/3-mesh/remote-secrets/new.yaml" for o in others
    }
    assert changed == {
        f"{o}/{n}"
        for o in others
        for n in (
            "3-mesh/kustomization.yaml",
            "2-control-plane/istiocontrolplane.yaml",
            "mesh.lock",
        )
    }
    for name in changed:
        assert b"new" in after[name]


def test_a_removed_cluster_disappears_everywhere(mesh: WorkDir, run: Run) -> None:
    """Its directory and every mention go; its certificate stays."""
    assert run("remove", "context-west-1", cwd=mesh).code == 0
    ran = run("render", cwd=mesh)
    assert "remove    out/context-west-1" in ran.out
    assert "removed   out/context-east-1/3-mesh/remote-secrets/context-west-1.yaml" in ran.out
    assert not (mesh / "out/context-west-1").exists()
    assert all(b"context-west-1" not in body for body in bodies(mesh / "out").values())
    assert (mesh / "certs/intermediate-context-west-1/ca-key.pem").exists()


def test_each_holds_the_others_and_not_itself(mesh: WorkDir) -> None:
    """Remote secrets: those of the two other clusters; the same bytes in both."""
    names = ("context-east-1", "context-east-2", "context-west-1")
    for name in names:
        folder = mesh / f"out/{name}/3-mesh/remote-secrets"
        assert {p.stem for p in folder.iterdir()} == set(names) - {name}
    for name in names:
        texts = {
            (mesh / f"out/{other}/3-mesh/remote-secrets/{name}.yaml").read_bytes()
            for other in names
            if other != name
        }
        assert len(texts) == 1


def test_foreign_files_stay(mesh: WorkDir, run: Run) -> None:
    """A file, a link, a folder and a fifo of somebody else's stay through an update and through the removal of the cluster."""
    note = mesh.write(f"{EAST}/3-mesh/notes.txt", "mine", 0o640)
    deep = mesh.write(f"{EAST}/mine/deep/file", "mine too", 0o600)
    (mesh / f"{EAST}/link").symlink_to("../../topology.yaml")
    os.mkfifo(mesh / f"{EAST}/pipe")
    mesh.write("out/README", "about this folder")
    inode = note.stat().st_ino
    mesh.token("context-west-1", "another-token")
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    for name in ("3-mesh/notes.txt", "mine/deep/file", "link", "pipe"):
        assert f"foreign   {EAST}/{name}: left alone" in ran.out
    assert "foreign   out/README: left alone" in ran.out
    assert (note.read_text(), stat.S_IMODE(note.stat().st_mode), note.stat().st_ino) == (
        "mine",
        0o640,
        inode,
    )
    assert (mesh / f"{EAST}/link").readlink() == Path("../../topology.yaml")
    assert stat.S_ISFIFO((mesh / f"{EAST}/pipe").lstat().st_mode)
    assert run("remove", "context-east-1", cwd=mesh).code == 0
    ran = run("render", cwd=mesh)
    assert f"kept      {EAST}" in ran.out
    assert set(snapshot(mesh / EAST)) == {
        "3-mesh",
        "3-mesh/notes.txt",
        "mine",
        "mine/deep",
        "mine/deep/file",
        "link",
        "pipe",
    }
    assert deep.read_text() == "mine too"


def test_edited_and_deleted_files_are_named_and_rewritten(mesh: WorkDir, run: Run) -> None:
    """A person's edit in a file of ours is told; check tells it too, before."""
    before = bodies(mesh / "out")
    mesh.write(f"{EAST}/1-trust/namespace.yaml", "edited")
    (mesh / f"{EAST}/kustomization.yaml").unlink()
    assert run("render", "--check", cwd=mesh).code == 1
    checked = run("check", cwd=mesh)
    assert checked.code == 1
    assert (
        f"tree-network: {EAST}/1-trust/namespace.yaml: metadata.labels: has no label topology.istio.io/network; it was edited by hand"
        in checked.out
    )
    assert f"tree-edited: {EAST}/kustomization.yaml: was deleted by hand" in checked.out
    ran = run("render", cwd=mesh)
    assert (
        f"edited    {EAST}/1-trust/namespace.yaml: it had been changed by hand, and was rewritten"
        in ran.out
    )
    assert (
        f"edited    {EAST}/kustomization.yaml: it had been deleted by hand, and was written again"
        in ran.out
    )
    assert bodies(mesh / "out") == before


@pytest.mark.parametrize("damage", [b"", b"{", b'{"files": 3}', b"\0" * 100])
def test_a_damaged_lock_is_repaired(mesh: WorkDir, run: Run, damage: bytes) -> None:
    """What a power loss leaves (an empty lock, files of zeros) is made anew, and foreign files stay."""
    before = bodies(mesh / "out")
    mesh.write(f"{EAST}/mesh.lock", damage)
    mesh.write(f"{EAST}/1-trust/cacerts.yaml", b"", 0o600)
    mesh.write(f"{EAST}/foreign", "mine")
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    assert "repaired" in ran.out
    assert bodies(mesh / "out") == before | {"context-east-1/foreign": b"mine"}


def test_a_file_in_the_way_is_refused(workdir: Make, run: Run) -> None:
    """Where no lock says that it is ours, a file is not overwritten; all such files are named, and nothing is written."""
    mesh = workdir()
    mesh.write(f"{EAST}/1-trust/namespace.yaml", "mine")
    mesh.write(f"{EAST}/3-mesh", "a file where a folder belongs")
    mesh.write("out/context-west-1/kustomization.yaml/x", "a folder where a file belongs")
    before = mesh.snapshot()
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert f"error: {EAST}/1-trust/namespace.yaml: is in the way" in ran.err
    assert f"error: {EAST}/3-mesh: is in the way: a folder belongs there" in ran.err
    assert (
        "error: out/context-west-1/kustomization.yaml: is a folder, where a file is to be written"
        in ran.err
    )
    assert {k: v for k, v in mesh.snapshot().items() if k != ".gitignore"} == before


def test_a_tree_without_lock_but_equal_is_taken_over(mesh: WorkDir, run: Run) -> None:
    """A tree whose locks are gone, but whose files are what would be rendered, is ours again."""
    before = bodies(mesh / "out")
    (mesh / f"{EAST}/mesh.lock").unlink()
    assert run("render", cwd=mesh).code == 0
    assert bodies(mesh / "out") == before


def test_private_files_are_private(mesh: WorkDir, run: Run) -> None:
    """0600 for what is secret, 0700 for its folders, whatever the umask; what became readable is tightened and told."""
    for path in [*(mesh / "out").rglob("*"), *(mesh / "certs").rglob("*")]:
        secret = (
            path.name in ("cacerts.yaml", "ca-key.pem", "root-key.pem")
            or path.parent.name == "remote-secrets"
        )
        if secret:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((mesh / "certs").stat().st_mode) == 0o700
    (mesh / f"{EAST}/1-trust/cacerts.yaml").chmod(0o644)
    (mesh / f"{EAST}/3-mesh/remote-secrets").chmod(0o755)
    ran = run("render", cwd=mesh)
    assert f"tightened {EAST}/1-trust/cacerts.yaml: others could read it" in ran.out
    assert stat.S_IMODE((mesh / f"{EAST}/1-trust/cacerts.yaml").stat().st_mode) == 0o600
    assert stat.S_IMODE((mesh / f"{EAST}/3-mesh/remote-secrets").stat().st_mode) == 0o700


def test_a_folder_that_gets_its_first_secret_holds_none_yet(workdir: Make, run: Run) -> None:
    """An intermediate that came back goes into a folder that others may read: nobody could read a secret there, and nobody can afterwards."""
    mesh = workdir(over={"certificates": {"issuer": "csr"}}, tokens=True)
    assert run("render", cwd=mesh).code == 0
    trust = mesh / "out/context-east-1/1-trust"
    assert trust.stat().st_mode & 0o055
    root = workdir("root")
    (root / "topology.yaml").unlink()
    assert run("init", "--mesh-id", "the-root", cwd=root).code == 0
    assert run("certs", "csr", "context-east-1", cwd=mesh).code == 0
    assert (
        run(
            "certs",
            "sign",
            "-C",
            root,
            "--to",
            root / "signed",
            mesh / "certs/intermediate-context-east-1/ca.csr",
            cwd=mesh,
        ).code
        == 0
    )
    signed = root / "signed/context-east-1.pem"
    assert (
        run(
            "certs",
            "import",
            "--root",
            root / "certs/root-cert.pem",
            "context-east-1",
            signed,
            cwd=mesh,
        ).code
        == 0
    )
    assert "others" not in run("check", cwd=mesh).out
    assert "others" not in run("render", cwd=mesh).out
    assert stat.S_IMODE(trust.stat().st_mode) == 0o700
    trust.chmod(0o755)
    assert (
        "out/context-east-1/1-trust/: holds a secret, but others may read it"
        in run("check", cwd=mesh).out
    )


def test_check_answers_no_after_any_edit(mesh: WorkDir, run: Run) -> None:
    """--check is 0, then 1 after an edit of the topology, of base.yaml, of a token, of a file; and writes nothing."""
    assert run("render", "--check", cwd=mesh).code == 0
    original = (mesh / "topology.yaml").read_text()
    edits: list[tuple[str, str]] = [
        ("topology.yaml", original.replace("mymeshname", "othermesh")),
        (
            "base.yaml",
            "apiVersion: install.istio.io/v1alpha2\nkind: IstioControlPlane\nspec: {profile: demo}\n",
        ),
        ("credentials/context-east-1.token", "changed"),
        (f"{EAST}/mesh.lock", "{}"),
    ]
    for name, text in edits:
        path = mesh / name
        kept = path.read_bytes() if path.exists() else None
        mesh.write(name, text, 0o600)
        before = mesh.snapshot()
        assert run("render", "--check", cwd=mesh).code == 1, name
        assert mesh.snapshot() == before, name
        if kept is None:
            path.unlink()
        else:
            path.write_bytes(kept)
    assert run("render", "--check", cwd=mesh).code == 0


def test_check_and_dry_run_write_nothing(workdir: Make, run: Run) -> None:
    """On the first day too, and without making the RSA keys that a render would make."""
    mesh = workdir(quick=False)
    before = mesh.snapshot()
    checked = run("render", "--check", cwd=mesh)
    assert (checked.code, "would be made" in checked.out) == (1, True)
    tried = run("render", "--dry-run", cwd=mesh)
    assert tried.code == 0
    assert "  create   1-trust/cacerts.yaml" in tried.out
    assert mesh.snapshot() == before


def test_one_cluster_alone(workdir: Make, run: Run) -> None:
    """--cluster renders what it names, by name or context, and makes no other certificate; a wrong name is told."""
    mesh = workdir()
    assert run("render", "--cluster", "context-east-1", cwd=mesh).code == 0
    assert {p.name for p in (mesh / "out").iterdir()} == {"context-east-1"}
    assert {p.name for p in (mesh / "certs").iterdir() if p.is_dir()} == {
        "intermediate-context-east-1"
    }
    ran = run("render", "--cluster", "content-east-1", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        'error: --cluster: no cluster "content-east-1" in the topology (did you mean "context-east-1"?)\n',
    )


def test_a_missing_token_withdraws_no_secret(mesh: WorkDir, run: Run) -> None:
    """In a fresh clone, where tokens are not, a render refuses rather than cut a running mesh; stating it in the topology is the way."""
    (mesh / "credentials/context-west-1.token").unlink()
    before = bodies(mesh / "out")
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert "2 rendered remote secrets for it would be removed" in ran.err
    assert bodies(mesh / "out") == before
    mesh.topology({"contexts": {"context-west-1": {"disableRegistryJoin": True}}})
    assert run("render", cwd=mesh).code == 0
    assert not list((mesh / "out").rglob("remote-secrets/context-west-1.yaml"))


def test_strict_makes_pending_an_error(workdir: Make, run: Run) -> None:
    """--strict writes nothing while something is pending, and names each."""
    mesh = workdir()
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 2
    assert ran.err.count("is pending") == 5
    assert not (mesh / "out").exists()


@pytest.mark.parametrize(
    "where",
    [
        "out",
        "out/context-east-1",
        "out/context-east-1/3-mesh",
        "certs",
        "certs/intermediate-context-east-1",
    ],
)
def test_no_link_is_followed(workdir: Make, run: Run, tmp_path: Path, where: str) -> None:
    """A symbolic link where a folder of ours belongs is refused, and nothing is written where it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mesh = workdir()
    (mesh / where).parent.mkdir(parents=True, exist_ok=True)
    (mesh / where).symlink_to(elsewhere)
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {where}: is ")
    assert not list(elsewhere.iterdir())
    assert not list(mesh.path.rglob("cacerts.yaml"))


def test_a_file_that_comes_during_the_exchange_is_not_lost(
    mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and exchanging, somebody writes into the directory: the file is put back."""
    original = tree._build

    def build(stage: int, name: str, *rest: object) -> None:
        original(stage, name, *rest)  # type: ignore[arg-type]
        mesh.write(f"out/{name}/3-mesh/late/arrival", name)

    monkeypatch.setattr(tree, "_build", build)
    mesh.token("context-west-1", "another-token")
    assert run("render", cwd=mesh).code == 0
    for name in ("context-east-1", "context-east-2"):
        assert (mesh / f"out/{name}/3-mesh/late/arrival").read_text() == name
    assert not list((mesh / "out").glob(".kubectl-mesh*"))


@pytest.mark.parametrize("lacking", ["exchange", "links", "both"])
def test_file_systems_that_lack_something(
    mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """Without renameat2, or without hard links, the result is the same."""
    if lacking != "links":
        monkeypatch.setattr(durable, "libc_rename", lambda *a: False)
    if lacking != "exchange":

        def link(*a: object, **k: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    mesh.write(f"{EAST}/foreign", "mine", 0o640)
    (mesh / f"{EAST}/link").symlink_to("nowhere")
    mesh.token("context-west-1", "another-token")
    mesh.write("clusters/new.crt", (mesh / "certs/root-cert.pem").read_bytes())
    mesh.topology(
        {"contexts": {"new": {"network": "network-west", "server": "https://198.51.100.50:6443"}}}
    )
    assert run("render", cwd=mesh).code == 0
    assert (mesh / f"{EAST}/foreign").read_text() == "mine"
    assert stat.S_IMODE((mesh / f"{EAST}/foreign").stat().st_mode) == 0o640
    assert os.readlink(mesh / f"{EAST}/link") == "nowhere"
    assert run("render", "--check", cwd=mesh).code == 0
    assert not list(mesh.path.rglob(".kubectl-mesh*"))


def test_a_copy_of_a_directory_is_a_persons(mesh: WorkDir, run: Run) -> None:
    """A backup beside the original has a lock that names another: it is left alone, and never rendered over."""
    shutil.copytree(mesh / EAST, mesh / "out/backup")
    (mesh / "out/backup/1-trust/namespace.yaml").write_text("mine")
    before = bodies(mesh / "out/backup")
    ran = run("render", cwd=mesh)
    assert "foreign   out/backup: left alone" in ran.out
    assert bodies(mesh / "out/backup") == before
    shutil.rmtree(mesh / EAST)
    shutil.copytree(mesh / "out/context-east-2", mesh / EAST)
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert (
        f'error: {EAST}/mesh.lock: is the lock of "context-east-2": the directory was copied or renamed'
        in ran.err
    )


def test_two_meshes_in_one_folder(workdir: Make, run: Run, tmp_path: Path) -> None:
    """Neither takes the other's directories for its own."""
    one, two = workdir("one"), workdir("two", over={"mesh_id": "other"})
    text = (two / "topology.yaml").read_text()
    for name in ("context-east-1", "context-east-2", "context-west-1"):
        text = text.replace(f"  {name}:\n", f"  {name}:\n    clusterName: other-{name}\n")
    two.write("topology.yaml", text)
    shared = tmp_path / "shared"
    assert run("render", "-C", one, "--out", shared).code == 0
    before = bodies(shared)
    assert run("render", "-C", two, "--out", shared).code == 0
    assert before.items() <= bodies(shared).items()
    assert run("render", "-C", one, "--out", shared, "--check").code == 0


@pytest.mark.parametrize(
    "lock",
    [
        '{"files": {"data": "x"}}',
        "no JSON",
        '{"lock": 1, "cluster": "x", "madeFrom": {"mesh": "other"}, "files": {"data": "x"}}',
    ],
)
def test_somebody_elses_lock(mesh: WorkDir, run: Run, lock: str) -> None:
    """A file of that name in a folder of a person's gives no right to what lies beside it."""
    mesh.write("out/x/mesh.lock", lock)
    mesh.write("out/x/data", "mine")
    assert run("render", cwd=mesh).code == 0
    assert (mesh / "out/x/data").read_text() == "mine"
    assert (mesh / "out/x/mesh.lock").read_text() == lock


def test_a_crafted_lock_reaches_nothing_outside(mesh: WorkDir, run: Run) -> None:
    """Paths that lead out of the directory are not followed, whatever the lock says."""
    lock = json.loads((mesh / f"{EAST}/mesh.lock").read_text())
    lock["files"] |= {
        "../../certs/root-key.pem": "x",
        "../context-east-2/mesh.lock": "x",
        str(mesh / "topology.yaml"): "x",
        "": "x",
        ".": "x",
    }
    mesh.write(f"{EAST}/mesh.lock", json.dumps(lock))
    before = mesh.snapshot()
    assert run("render", cwd=mesh).code == 0
    after = mesh.snapshot()
    assert {n for n in before if after.get(n) != before[n]} <= {f"{EAST}/mesh.lock"}


def test_empty_folders_modes_and_a_repository_survive_the_exchange(mesh: WorkDir, run: Run) -> None:
    """What a person made in a cluster's directory stays as it is: empty folders, odd modes, a git repository."""
    subprocess.run(
        ["git", "init", "-q", "-b", "main", mesh / EAST], check=True, capture_output=True
    )
    (mesh / f"{EAST}/.git/info/exclude").write_text("*\n")
    (mesh / f"{EAST}/keep/me").mkdir(parents=True)
    (mesh / f"{EAST}/keep").chmod(0o2777)
    (mesh / EAST).chmod(0o750)
    mesh.topology({"networks": {"network-west": {"gateways": [{"address": "192.0.2.1"}]}}})
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    assert (
        subprocess.run(
            ["git", "-C", mesh / EAST, "status"], capture_output=True, check=False
        ).returncode
        == 0
    )
    assert (mesh / f"{EAST}/keep/me").is_dir()
    assert stat.S_IMODE((mesh / f"{EAST}/keep").stat().st_mode) == 0o2777
    assert stat.S_IMODE((mesh / EAST).stat().st_mode) == 0o750


def test_a_run_killed_while_it_cleaned_up_leaves_nothing_of_ours_behind(
    mesh: WorkDir, run: Run
) -> None:
    """The old directory, half removed in the stage: the next run removes the rest, and gives back only what is a person's."""
    stage = mesh / "out" / durable.STAGE_PREFIX
    stage.mkdir(0o700)
    shutil.copytree(mesh / EAST, stage / "context-east-1")
    (stage / "context-east-1/1-trust/cacerts.yaml").unlink()
    (stage / "context-east-1/3-mesh/mine").write_text("a person's")
    assert run("render", cwd=mesh).code == 0
    assert not stage.exists()
    assert (mesh / f"{EAST}/3-mesh/mine").read_text() == "a person's"
    assert not list((mesh / "out").rglob("*kept*"))


def test_the_lock_is_the_last_file_to_go(
    mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a directory is taken apart, its lock tells what of it is ours."""
    gone: list[str] = []
    original = os.unlink

    def unlink(path: "str | bytes", *, dir_fd: "int | None" = None) -> None:
        gone.append(os.fsdecode(path))
        original(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    assert run("remove", "context-west-1", cwd=mesh).code == 0
    gone.clear()
    assert run("render", "--cluster", "context-east-1", cwd=mesh).code == 0
    files = [name for name in gone if not name.startswith((".", "/"))]
    assert files[-1] == "mesh.lock"
    assert len(files) > 10


def test_a_root_is_never_made_beside_intermediates_of_another(mesh: WorkDir, run: Run) -> None:
    """Not for one cluster alone, not when the others left the topology, not by init."""
    for name in ("root-cert.pem", "root-key.pem"):
        (mesh / "certs" / name).unlink()
    shutil.rmtree(mesh / "certs/intermediate-context-east-1")
    for words in (["render", "--cluster", "context-east-1"], ["init"]):
        ran = run(*words, cwd=mesh)
        assert ran.code == 2, words
        assert "signed by a root that is not here" in ran.err
    mesh.write(
        "topology.yaml",
        "mesh_id: m\ncertificates: {keyType: ec-p256}\ncontexts:\n  context-east-1:\n    network: n\n",
    )
    assert run("render", cwd=mesh).code == 2


def test_no_key_in_a_public_file(mesh: WorkDir, run: Run) -> None:
    """A private key that somebody put into a certificate's file is not copied into every cluster: it is told, and not shown."""
    key = (mesh / "certs/root-key.pem").read_text()
    for name in (
        "root-cert.pem",
        "intermediate-context-east-1/cert-chain.pem",
        "intermediate-context-east-2/ca-cert.pem",
    ):
        path = mesh / "certs" / name
        text = path.read_text()
        path.write_text(text + key)
        ran = run("render", cwd=mesh)
        assert ran.code == 2
        assert f"certs/{name}: holds a private key" in ran.err
        assert key.splitlines()[1] not in ran.err
        path.write_text(text)


def test_a_checkout_of_git_is_no_difference(mesh: WorkDir, run: Run) -> None:
    """git keeps no modes: --check is 0 all the same, and says what a render would tighten."""
    for path in (mesh / "out").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    ran = run("render", "--check", cwd=mesh)
    assert ran.code == 0
    assert "tightened" in ran.out
    assert run("check", cwd=mesh).code == 0


@pytest.mark.parametrize("body", ["mine", "123\nmine"])
def test_a_persons_file_in_the_place_of_the_lock(mesh: WorkDir, run: Run, body: str) -> None:
    """Neither emptied nor removed; a hard link to another file neither."""
    mesh.write(locking.LOCK_FILE, body)
    assert run("render", cwd=mesh).code == 2
    assert (mesh / locking.LOCK_FILE).read_text() == body
    (mesh / locking.LOCK_FILE).unlink()
    os.link(mesh / "topology.yaml", mesh / locking.LOCK_FILE)
    before = (mesh / "topology.yaml").read_text()
    assert run("render", cwd=mesh).code == 2
    assert (mesh / "topology.yaml").read_text() == before


def test_a_lock_that_does_not_state_its_kind(mesh: WorkDir, run: Run) -> None:
    """It says nothing of a lost base.yaml: no kind is guessed."""
    for path in (mesh / "out").glob("*/mesh.lock"):
        value = json.loads(path.read_text())
        del value["madeFrom"]["controlPlane"]
        path.write_text(json.dumps(value))
    ran = run("check", "-o", "short", cwd=mesh)
    assert "was rendered with one of kind" not in ran.out + ran.err
    assert run("render", cwd=mesh).code == 0
