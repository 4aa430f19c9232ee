"""No name out of a foreign file forges a line of a report: a newline in it is escaped, as are controls and invisible characters."""

import base64
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubectl_mesh.pki.certificate_builder import build_root
from kubectl_mesh.pki.profile import CertificateProfile
from kubectl_mesh.text import escape_for_json, escape_for_terminal
from tests.conftest import CLUSTERS, SEED, TOP, Ran, Run, WorkDir

Make = Callable[..., WorkDir]
FORGED = "x\nFORGED: ok\u202e\u061c\r\x1b[31m"
MARKED = "FORGED: ok\ufdd0\ufdd1\ufdd2\ufdd3end"
"""The characters by which the package marks commands and paths inside of texts."""
REPORTS = [
    ["describe"], ["describe", "-o", "table"], ["check"], ["diff"], ["certs", "status"], ["tokens", "status"], ["verify"], ["graph"],
    ["render", "--dry-run"], ["render", "--check"], ["teardown"], ["render"], ["diff", "out", "other"], ["certs", "rotate-root", "status"],
    ["explain", "Unauthorized"], ["certs", "crl"],
]  # fmt: skip


def look(ran: Ran, words: object) -> None:
    """Fails where a foreign name begins a line, or leaves a control in it."""
    assert "a fault of its own" not in ran.err, (words, ran.err)
    text = ran.out + ran.err
    forged = [line for line in text.split("\n") if line.strip().startswith("FORGED")]
    assert not forged, (words, text)
    assert not [
        char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf")
    ], (words, text)


@pytest.fixture
def mesh(workdir: Make, run: Run) -> WorkDir:
    """A rendered mesh of today."""
    made = workdir(tokens=True)
    shutil.copy(TOP / "examples/seed/base.yaml", made / "base.yaml")
    assert run("render", cwd=made).code == 0
    shutil.copytree(made / "out", made / "other")
    return made


def certificate(
    path: Path, issuer: "tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None" = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Writes a CA certificate whose subject has the name."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = build_root(
        CertificateProfile("acme", "ec-p256", 3650, 730, {}),
        key,
        datetime.now(UTC) - timedelta(days=1),
    )
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, FORGED),
            x509.NameAttribute(NameOID.COMMON_NAME, FORGED),
        ]
    )
    by, signer = (issuer[0].subject, issuer[1]) if issuer else (name, key)
    builder = x509.CertificateBuilder(
        by,
        name,
        key.public_key(),
        x509.random_serial_number(),
        root.not_valid_before_utc,
        root.not_valid_after_utc,
    )
    for extension in root.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(signer, hashes.SHA256())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return made, key


def forge_root(mesh: WorkDir) -> None:
    certificate(mesh / "certs/root-cert.pem")


def forge_roots(mesh: WorkDir) -> None:
    """Roots of one name next to each other."""
    for name in ("other/context-east-1", "out/context-east-1"):
        value = yaml.safe_load((mesh / name / "1-trust/cacerts.yaml").read_text())
        for number in range(2):
            certificate(mesh / f"certs/{number}.pem")
        value["data"]["root-cert.pem"] = base64.b64encode(
            (mesh / "certs/0.pem").read_bytes() + (mesh / "certs/1.pem").read_bytes()
        ).decode()
        (mesh / name / "1-trust/cacerts.yaml").write_text(yaml.safe_dump(value))


def forge_intermediate(mesh: WorkDir) -> None:
    root = certificate(mesh / "certs/root-cert.pem")
    folder = mesh / "certs/intermediate-context-east-1"
    certificate(folder / "ca-cert.pem", root)
    (folder / "cert-chain.pem").write_bytes(
        (folder / "ca-cert.pem").read_bytes() + (mesh / "certs/root-cert.pem").read_bytes()
    )


def forge_authority(mesh: WorkDir) -> None:
    certificate(mesh / "clusters/context-east-1.crt")


def forge_claims(mesh: WorkDir) -> None:
    soon = int(datetime.now(UTC).timestamp()) + 3600
    account = f"system:serviceaccount:istio-system:{FORGED}"
    said = {
        "sub": account,
        "iss": FORGED,
        "aud": [FORGED],
        "exp": soon,
        "kubernetes.io/serviceaccount/secret.name": FORGED,
    }
    parts = (json.dumps({"alg": "RS256", "kid": FORGED}), json.dumps(said))
    for name in CLUSTERS:
        mesh.token(
            name,
            ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts)
            + ".c2lnbmF0dXJl",
        )


def forge_files(mesh: WorkDir) -> None:
    odd = FORGED.replace("/", "")
    for folder in (
        "out",
        "out/context-east-1",
        "out/context-east-1/1-trust",
        "certs",
        "certs/intermediate-context-east-1",
        "credentials",
        "clusters",
        "other",
    ):
        mesh.write(f"{folder}/{odd}", "x")
        mesh.write(f"{folder}/{odd}.pem", "x")
        mesh.write(f"{folder}/{odd}.yaml", "a: b\n")
        mesh.write(f"{folder}/{odd}.token", "x", 0o600)
    for folder in ("out", "other", "certs"):
        mesh.write(f"{folder}/{odd}d/1-trust/cacerts.yaml", "a: b\n")


def forge_tree(mesh: WorkDir) -> None:
    """Keys and values of rendered files, which a person may have edited."""
    for name, path in (
        (n, p) for n in ("out", "other") for p in sorted((mesh / n).rglob("*.yaml"))
    ):
        values = list(yaml.safe_load_all(path.read_text()))
        for value in values:
            value[FORGED] = FORGED
            meta = value.setdefault("metadata", {})
            meta.setdefault("labels", {})[FORGED] = FORGED
            if name == "other":
                meta["name"] = FORGED
                meta["namespace"] = FORGED
                for key in ("spec", "data"):
                    if isinstance(value.get(key), dict):
                        value[key][FORGED] = {FORGED: FORGED}
        path.write_text(yaml.safe_dump_all(values))


def forge_kind(mesh: WorkDir) -> None:
    for path in sorted((mesh / "other").rglob("*.yaml")):
        value = yaml.safe_load(path.read_text())
        value["kind"] = FORGED
        path.write_text(yaml.safe_dump(value))


def forge_lock(mesh: WorkDir) -> None:
    for path in sorted((mesh / "out").rglob("mesh.lock")):
        value = json.loads(path.read_text())
        value["files"] = {**value["files"], FORGED: "0" * 64}
        value["madeFrom"] = {**value["madeFrom"], "roots": [FORGED], "signer": FORGED}
        path.write_text(json.dumps(value))


def forge_kubeconfig(mesh: WorkDir) -> None:
    value = yaml.safe_load((mesh / "kubeconfig.yaml").read_text())
    for kind in ("clusters", "contexts", "users"):
        value[kind].append({**value[kind][0], "name": FORGED})
        value[kind].append({**value[kind][0], "name": FORGED})
    value["contexts"][0]["context"]["cluster"] = FORGED
    mesh.write("kubeconfig.yaml", yaml.safe_dump(value), 0o600)


def forge_topology(mesh: WorkDir) -> None:
    value = yaml.safe_load((mesh / "topology.yaml").read_text())
    value["contexts"][FORGED] = {
        "network": FORGED,
        "server": FORGED,
        FORGED: FORGED,
        "clusterName": FORGED,
    }
    value[FORGED] = FORGED
    value["secrets"] = {"store": FORGED}
    mesh.write("topology.yaml", yaml.safe_dump(value))


def forge_context(mesh: WorkDir) -> None:
    value = yaml.safe_load((mesh / "topology.yaml").read_text())
    value["contexts"][FORGED] = {"network": "network-east", "clusterName": "odd"}
    mesh.write("topology.yaml", yaml.safe_dump(value))


def forge_base(mesh: WorkDir) -> None:
    value = yaml.safe_load((mesh / "base.yaml").read_text())
    value["spec"][FORGED] = FORGED
    value["spec"].setdefault("values", {})[FORGED] = {FORGED: FORGED}
    value["spec"]["version"] = FORGED
    mesh.write("base.yaml", yaml.safe_dump(value))


FORGERIES = [
    forge_root, forge_roots, forge_intermediate, forge_authority, forge_claims, forge_files, forge_tree, forge_kind, forge_lock, forge_kubeconfig,
    forge_topology, forge_context, forge_base,
]  # fmt: skip


@pytest.mark.parametrize("forge", FORGERIES)
def test_reports(mesh: WorkDir, run: Run, forge: Callable[[WorkDir], None]) -> None:
    """Every command, over files that have such a name in every place of a kind."""
    forge(mesh)
    for words in REPORTS:
        look(run(*words, cwd=mesh), words)


def look_at_marks(ran: Ran, words: object) -> int:
    """Fails where such a character was taken out or is not escaped; gives how often the name is there."""
    assert "a fault of its own" not in ran.err, (words, ran.err)
    text = ran.out.replace("\r\n ", "") + ran.err
    assert not re.search("[\ufdd0-\ufdef]", text), (words, text)
    whole = r"\\{1,2}ufdd0\\{1,2}ufdd1\\{1,2}ufdd2\\{1,2}ufdd3end"
    places = list(re.finditer("FORGED: ok", text))
    for place in places:
        assert re.match(f"{whole}|…|[^a-z]*$", text[place.end() :]), (words, text)
    return len(places)


@pytest.mark.parametrize("forge", FORGERIES)
def test_marks_are_escaped(
    mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch, forge: Callable[[WorkDir], None]
) -> None:
    """The characters of our own marks stay visible, in every report, wherever somebody wrote them."""
    monkeypatch.setattr(sys.modules[__name__], "FORGED", MARKED)
    forge(mesh)
    more = [
        *(["check", "-o", kind] for kind in ("json", "sarif", "junit", "short")),
        *(["diff", "out", "other", "-o", kind] for kind in ("json", "markdown")),
        ["describe", "-o", "json"],
        ["certs", "status", "-o", "json"],
        ["certs", "status", "-o", "ics"],
        ["graph", "-o", "html"],
    ]
    # A script keeps the characters, since a shell reads it.
    reports = [*more, *(words for words in REPORTS if words != ["teardown"])]
    outputs = [(words, run(*words, cwd=mesh)) for words in reports]
    shown = sum([look_at_marks(ran, words) for words, ran in outputs])
    assert bool(shown) != (forge in (forge_authority, forge_claims, forge_kubeconfig))
    values = [json.loads(ran.out) for words, ran in outputs if words[-1] == "json" and ran.out]
    kept = MARKED in json.dumps(values, ensure_ascii=False)
    assert kept == bool(shown) or forge is forge_topology


def test_marks_in_arguments_are_escaped(mesh: WorkDir, run: Run, tmp_path: Path) -> None:
    """Verbs, options, values of options, folders and files."""
    (tmp_path / MARKED).mkdir()
    for words in (
        [MARKED],
        ["check", f"--{MARKED}"],
        ["check", "--id", MARKED],
        ["check", "-C", MARKED],
        ["check", "-C", f"../{MARKED}"],
        ["render", "-o", MARKED],
        ["render", "--out", f"{MARKED}/{MARKED}", "--check"],
        ["certs", "renew", MARKED],
        ["certs", "import", "context-east-1", MARKED],
        ["certs", "crl", "--add", MARKED],
        ["diff", MARKED, "out"],
        ["remove", MARKED],
        ["add", MARKED, "--network", "network-east"],
        ["add", "b", "--network", MARKED],
        ["describe", "--cluster", MARKED],
        ["adopt", MARKED, "-C", "new"],
        ["explain", "-C", MARKED, "Unauthorized"],
        ["schema", MARKED],
        ["init", "-C", f"../{MARKED}", "--mesh-id", MARKED],
    ):
        assert look_at_marks(run(*words, cwd=mesh), words), words


def test_a_root_of_ones_own(workdir: Make, run: Run, tmp_path: Path) -> None:
    """The same, where the root with such a name is in use."""
    mesh = workdir(over={"certificates": {"issuer": "csr"}})
    certificate(tmp_path / "root.pem")
    assert run("certs", "import-root", tmp_path / "root.pem", cwd=mesh).code == 0
    assert "FORGED" in run("describe", "-o", "table", cwd=mesh).out
    for words in REPORTS:
        look(run(*words, cwd=mesh), words)


def test_kubeconfigs_of_init_and_add(workdir: Make, run: Run, tmp_path: Path) -> None:
    """What `init` and `add` read."""
    mesh = workdir()
    forge_kubeconfig(mesh)
    name = f"--kubeconfig={mesh / 'kubeconfig.yaml'}"
    (tmp_path / "new").mkdir()
    for words in (
        [
            "init",
            "-C",
            tmp_path / "new",
            "--mesh-id",
            "a",
            "--context",
            "context-east-1=n",
            "--context",
            "context-east-2=n",
            name,
        ],
        ["init", "-C", tmp_path / "new", "--mesh-id", FORGED],
        ["init", "-C", tmp_path / "new", "--mesh-id", "a", "--context", f"{FORGED}=n", name],
        ["add", FORGED, "--network", "network-east", name],
        ["add", "b", "--network", FORGED, name],
        ["remove", FORGED],
        ["describe", "--cluster", FORGED],
        ["diff", "--against", FORGED],
    ):
        look(run(*words, cwd=mesh), words)


@pytest.mark.parametrize("look", [look, look_at_marks])
def test_dumps(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Ran, object], object]
) -> None:
    """What `adopt` reads: names, namespaces, kinds, labels and annotations, of the whole dump and one after the other."""
    if look is look_at_marks:
        monkeypatch.setattr(sys.modules[__name__], "FORGED", MARKED)
    source = SEED.parent.parent / "tests/adopt"
    whole = {path: path.read_text() for path in sorted(source.rglob("*.yaml"))[:6]}
    for number, (path, text) in enumerate(whole.items()):
        values = list(yaml.safe_load_all(text))
        for value in values:
            for item in value.get("items", [value]) if isinstance(value, dict) else []:
                meta = item.setdefault("metadata", {})
                meta["name"] = FORGED
                meta.setdefault("labels", {})[FORGED] = FORGED
                meta.setdefault("annotations", {})["networking.istio.io/cluster"] = FORGED
                item[FORGED] = FORGED
                if number % 2:
                    item["kind"] = FORGED
        dump = tmp_path / f"{number}.yaml"
        dump.write_text(yaml.safe_dump_all(values))
        for extra in ([], ["--cluster", "context-east-1"]):
            words = ["adopt", "-C", tmp_path / f"made-{number}", *extra, dump]
            look(run(*words, cwd=tmp_path), (path.name, words))


def test_every_format_character_is_visible() -> None:
    """As Unicode has them: controls, format characters that show nothing, separators and surrogates; JSON keeps its meaning."""
    shows = {
        0x600,
        0x601,
        0x602,
        0x603,
        0x604,
        0x605,
        0x6DD,
        0x70F,
        0x890,
        0x891,
        0x8E2,
        0x110BD,
        0x110CD,
    }
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        hidden = (
            unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            and code not in shows
            and char != "\n"
        )
        if hidden:
            assert re.fullmatch(
                r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}", escape_for_terminal(char)
            ), hex(code)
            assert escape_for_json(f'"{char}"').isascii()
            assert json.loads(escape_for_json(f'"{char}"')) == char
        elif unicodedata.category(char) != "Cn":
            assert escape_for_terminal(char) == char == escape_for_json(char), hex(code)
