"""`check` reads the rendered tree itself: what somebody broke in it is named by its cause, once, with its remedy."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from kubectl_mesh.checks.table import CHECKS
from tests.conftest import Run, WorkDir
from tests.support import broken
from tests.support.authorities import authority
from tests.support.broken import Break, make
from tests.support.goldens import CASES, GOLDEN, rendered_tree

REMEDIES = {check.id: check.remedy for check in CHECKS}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Rendered meshes by kind, to be copied by each test."""
    from kubectl_mesh import cli

    found = {}
    for kind in ("Istio", "IstioControlPlane"):
        mesh = WorkDir(tmp_path_factory.mktemp("mesh") / kind)
        mesh.path.mkdir()
        # 1.29: on 1.30.0 to 1.30.3 `check` says besides that a mended remote secret may cost the cluster's endpoints.
        make(mesh, kind, broken.NAMES if kind == "Istio" else broken.NAMES[:3], version="1.29.10")
        assert cli.run_command(["render", "-C", str(mesh)]) == 0
        found[kind] = mesh.path
    return found


@pytest.fixture
def mesh(templates: dict[str, Path], tmp_path: Path) -> Callable[..., WorkDir]:
    """Copies a rendered mesh."""

    def copy(kind: str = "Istio") -> WorkDir:
        shutil.copytree(templates[kind], tmp_path / kind)
        return WorkDir(tmp_path / kind)

    return copy


def findings(run: Run, mesh: WorkDir, *words: str) -> list[tuple[str, str]]:
    """Id and file of each finding."""
    value = json.loads(run("check", "-o", "json", *words, cwd=mesh).out)
    return sorted((c["id"], f["file"]) for c in value["checks"] for f in c["findings"])


TEN: list[tuple[Break, list[tuple[str, str]]]] = [
    (lambda m: broken.wrong_root(m, "a"), [("tree-root", "out/a/1-trust/cacerts.yaml")]),
    (
        lambda m: broken.swapped(m, "b", "c"),
        [("tree-own", "out/b/1-trust/cacerts.yaml"), ("tree-own", "out/c/1-trust/cacerts.yaml")],
    ),
    (
        lambda m: broken.deleted(m, "d", "e"),
        [("remote-missing", "out/d/3-mesh/remote-secrets/e.yaml")],
    ),
    (
        lambda m: broken.labelled(m, "e", "net-1"),
        [("tree-network", "out/e/1-trust/namespace.yaml")],
    ),
    (
        lambda m: broken.rekeyed(m, "f", "a"),
        [("remote-names", "out/f/3-mesh/remote-secrets/a.yaml")],
    ),
    (
        lambda m: broken.doubled(m, "f", "b"),
        [("remote-double", "out/f/3-mesh/remote-secrets/b-new.yaml")],
    ),
    (
        lambda m: broken.annotated(m, "d", "a", "b"),
        [("remote-names", "out/d/3-mesh/remote-secrets/a.yaml")],
    ),
    (lambda m: broken.expired(m, "e"), [("tree-expired", "out/e/1-trust/cacerts.yaml")]),
    (
        lambda m: broken.valued(
            m, "d", lambda v: v["global"]["multiCluster"].update(clusterName="D")
        ),
        [("tree-identity", "out/d/2-control-plane/istio.yaml")],
    ),
    (lambda m: broken.stale(m, "a"), [("tree-stale", "out/a/3-mesh/old-gateway.yaml")]),
    (
        lambda m: broken.remote(
            m,
            "f",
            "c",
            lambda c: c["clusters"][0]["cluster"].update(server="https://127.0.0.1:6443"),
        ),
        [("remote-server", "out/f/3-mesh/remote-secrets/c.yaml")],
    ),
    (
        lambda m: broken.remote(m, "f", "d", lambda c: c["users"][0]["user"].update(token="old")),
        [("remote-login", "out/f/3-mesh/remote-secrets/d.yaml")],
    ),
]
"""What somebody did to one mesh, and what is to be said of it: that, and nothing else."""


@pytest.mark.parametrize(
    "covered", [True, False], ids=["the locks made to fit", "the locks as they were"]
)
def test_a_mesh_that_somebody_broke_in_twelve_ways(
    covered: bool, mesh: Callable[..., WorkDir], run: Run
) -> None:
    """Each is named by its cause with a remedy, and nothing else, whether or not the locks give the edits away; no secret is shown."""
    made = mesh()
    assert findings(run, made) == []
    wanted = []
    for harm, told in TEN:
        harm(made)
        wanted += told
    if covered:
        broken.relock(made)
    else:
        # No lock lists it, so nobody can tell that it once was ours.
        wanted = [
            ("tree-foreign" if check == "tree-stale" else check, file) for check, file in wanted
        ]
    assert findings(run, made) == sorted(wanted)
    value = json.loads(run("check", "-o", "json", cwd=made).out)
    for check in value["checks"]:
        for finding in check["findings"]:
            assert finding["fix"]
            assert check["remedy"] == REMEDIES[check["id"]]
            by_hand = finding["what"].endswith((" by hand",))
            assert by_hand == (
                not covered and check["id"] not in ("tree-foreign", "remote-double")
            ), finding
    private = [*made.path.glob("certs/**/*key.pem"), *made.path.glob("credentials/*")]
    secrets = [s for path in private for s in broken.lines(path)]
    secrets += [base64.b64encode(path.read_bytes()).decode()[:60] for path in private]
    verbs = [("check", "-o", form) for form in ("text", "short", "json", "sarif", "junit")]
    verbs += [("describe", "-o", form) for form in ("text", "table", "json")]
    verbs += [
        ("explain", "-o", form, "Unauthorized, no healthy upstream, UNKNOWN_CA")
        for form in ("text", "json")
    ]
    for words in verbs:
        ran = run(*words, cwd=made)
        assert ran.out
        assert not [s for s in secrets if s in ran.out + ran.err], words
        assert "PRIVATE KEY" not in ran.out + ran.err
    # A render mends it all, but for what is not ours.
    assert run("render", cwd=made).code == 0
    assert {check for check, _ in findings(run, made)} <= {"tree-foreign", "remote-double"}


def chain_of(mesh: WorkDir, name: str) -> bytes:
    """The root alone, as a chain that does not begin with the intermediate."""
    return (mesh / "certs/root-cert.pem").read_bytes()


def leaf(mesh: WorkDir, name: str) -> None:
    """A certificate that is no CA, in the place of the intermediate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    root, key = broken.root_of(mesh)
    own = x509.load_pem_x509_certificate(
        (mesh / f"certs/intermediate-{name}/ca-cert.pem").read_bytes()
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .public_key(own.public_key())
        .serial_number(7)
    )
    builder = builder.not_valid_before(own.not_valid_before_utc).not_valid_after(
        own.not_valid_after_utc
    )
    made = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    ).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    broken.cacerts(
        mesh, name, ca_cert=pem, cert_chain=pem + root.public_bytes(serialization.Encoding.PEM)
    )


def other_key(mesh: WorkDir, name: str, other: str) -> None:
    """The key of another cluster beside a cluster's certificate."""
    broken.cacerts(
        mesh, name, ca_key=(mesh / f"certs/intermediate-{other}/ca-key.pem").read_bytes()
    )


def gate(mesh: WorkDir, name: str, network: str) -> None:
    """The label of a gateway's Service edited."""
    broken.edit(
        mesh,
        f"{name}/3-mesh/eastwest-service.yaml",
        lambda v: v["metadata"]["labels"].update({"topology.istio.io/network": network}),
    )


TREE: list[tuple[str, str, Break]] = [
    (
        "tree-readable",
        "1-trust/namespace.yaml",
        lambda m: m.write("out/a/1-trust/namespace.yaml", "a: ["),
    ),
    (
        "tree-readable",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.edit(
            m, "a/3-mesh/remote-secrets/b.yaml", lambda v: v["data"].update(b="*")
        ),
    ),
    (
        "tree-complete",
        "1-trust/cacerts.yaml",
        lambda m: broken.edit(
            m, "a/1-trust/cacerts.yaml", lambda v: v["data"].pop("cert-chain.pem")
        ),
    ),
    ("tree-root", "1-trust/cacerts.yaml", lambda m: broken.wrong_root(m, "a")),
    (
        "tree-chain",
        "1-trust/cacerts.yaml",
        lambda m: broken.cacerts(m, "a", cert_chain=chain_of(m, "a")),
    ),
    ("tree-pair", "1-trust/cacerts.yaml", lambda m: other_key(m, "a", "b")),
    ("tree-ca", "1-trust/cacerts.yaml", lambda m: leaf(m, "a")),
    ("tree-expired", "1-trust/cacerts.yaml", lambda m: broken.expired(m, "a")),
    (
        "tree-expired",
        "1-trust/cacerts.yaml",
        lambda m: broken.reissued(m, "a", timedelta(days=2), 30),
    ),
    (
        "tree-expiring",
        "1-trust/cacerts.yaml",
        lambda m: broken.reissued(m, "a", timedelta(days=-28), 30),
    ),
    ("remote-missing", "3-mesh/remote-secrets/b.yaml", lambda m: broken.deleted(m, "a", "b")),
    (
        "remote-missing",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.deleted(m, "a", "b", listed=True),
    ),
    ("remote-extra", "3-mesh/remote-secrets/gone.yaml", lambda m: broken.extra(m, "a")),
    ("remote-double", "3-mesh/remote-secrets/b-new.yaml", lambda m: broken.doubled(m, "a", "b")),
    ("remote-names", "3-mesh/remote-secrets/b.yaml", lambda m: broken.rekeyed(m, "a", "b")),
    ("remote-names", "3-mesh/remote-secrets/b.yaml", lambda m: broken.annotated(m, "a", "b", "c")),
    (
        "remote-names",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.edit(
            m,
            "a/3-mesh/remote-secrets/b.yaml",
            lambda v: v["metadata"].update(name="istio-remote-secret-c"),
        ),
    ),
    (
        "remote-seen",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.edit(
            m, "a/3-mesh/remote-secrets/b.yaml", lambda v: v["metadata"].pop("labels")
        ),
    ),
    (
        "remote-seen",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.edit(
            m, "a/3-mesh/remote-secrets/b.yaml", lambda v: v["metadata"].update(namespace="default")
        ),
    ),
    (
        "remote-server",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.remote(
            m,
            "a",
            "b",
            lambda c: c["clusters"][0]["cluster"].update(server="https://192.0.2.77:6443"),
        ),
    ),
    (
        "remote-server",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.remote(
            m,
            "a",
            "b",
            lambda c: c["clusters"][0]["cluster"].update(server="http://192.0.2.2:6443"),
        ),
    ),
    (
        "remote-server",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.remote(m, "a", "b", lambda c: c["clusters"][0]["cluster"].pop("server")),
    ),
    (
        "remote-ca",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.remote(
            m,
            "a",
            "b",
            lambda c: c["clusters"][0]["cluster"].update({"certificate-authority-data": "eA=="}),
        ),
    ),
    (
        "remote-ca",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.remote(
            m,
            "a",
            "b",
            lambda c: c["clusters"][0]["cluster"].update({"insecure-skip-tls-verify": True}),
        ),
    ),
    (
        "remote-login",
        "3-mesh/remote-secrets/b.yaml",
        lambda m: broken.remote(m, "a", "b", lambda c: c["users"][0]["user"].update(token="old")),
    ),
    (
        "tree-identity",
        "2-control-plane/istio.yaml",
        lambda m: broken.valued(
            m, "a", lambda v: v["global"]["multiCluster"].update(clusterName="b")
        ),
    ),
    (
        "tree-identity",
        "2-control-plane/istio.yaml",
        lambda m: broken.valued(m, "a", lambda v: v["global"].update(meshID="other")),
    ),
    (
        "tree-network",
        "2-control-plane/istio.yaml",
        lambda m: broken.valued(m, "a", lambda v: v["global"].update(network="net-1")),
    ),
    ("tree-network", "1-trust/namespace.yaml", lambda m: broken.labelled(m, "a", "Net-0")),
    (
        "tree-network",
        "1-trust/namespace.yaml",
        lambda m: broken.edit(m, "a/1-trust/namespace.yaml", lambda v: v["metadata"].pop("labels")),
    ),
    ("tree-network", "3-mesh/eastwest-service.yaml", lambda m: gate(m, "a", "net-1")),
    (
        "tree-namespace",
        "2-control-plane/istio.yaml",
        lambda m: broken.edit(
            m, "a/2-control-plane/istio.yaml", lambda v: v["spec"].update(namespace="mesh")
        ),
    ),
    (
        "tree-trust-domain",
        "2-control-plane/istio.yaml",
        lambda m: broken.valued(m, "a", lambda v: v["meshConfig"].update(trustDomain="old.local")),
    ),
    ("tree-stale", "3-mesh/old-gateway.yaml", lambda m: broken.stale(m, "a")),
]


@pytest.mark.parametrize(
    ("check", "file", "harm"), TREE, ids=[f"{check}-{n}" for n, (check, _, _) in enumerate(TREE)]
)
def test_a_tree_that_trips_a_check(
    check: str, file: str, harm: Break, mesh: Callable[..., WorkDir], run: Run
) -> None:
    """With locks that fit: this check, this file, and no other; an error is exit code 1."""
    made = mesh()
    harm(made)
    broken.relock(made)
    # Where the lock says so too, the cluster runs with another trust domain, and a render must not change it in one step.
    running = [("identity-change", "out/a/2-control-plane")] if check == "tree-trust-domain" else []
    assert findings(run, made) == [*running, (check, f"out/a/{file}")]
    assert run("check", cwd=made).code == (0 if check == "tree-expiring" else 1)


def test_links_and_strays(mesh: Callable[..., WorkDir], run: Run) -> None:
    """A link in the place of a file or of a folder is never followed, and told; so is a directory that was copied over another."""
    made = mesh()
    link = made / "out/a/3-mesh/remote-secrets/b.yaml"
    link.unlink()
    link.symlink_to(made / "out/c/3-mesh/remote-secrets/b.yaml")
    assert findings(run, made) == [("tree-readable", "out/a/3-mesh/remote-secrets/b.yaml")]
    shutil.rmtree(made / "out/a/3-mesh/remote-secrets")
    (made / "out/a/3-mesh/remote-secrets").symlink_to(made / "out/c/3-mesh/remote-secrets")
    assert {f for c, f in findings(run, made) if c.startswith(("tree", "remote"))} >= {
        "out/a/3-mesh/remote-secrets"
    }
    shutil.rmtree(made / "out/a")
    shutil.copytree(made / "out/b", made / "out/a")
    assert ("tree-current", "out/a/mesh.lock") in findings(run, made)


def test_mesh_networks_of_the_tree(mesh: Callable[..., WorkDir], run: Run) -> None:
    """Where networks are declared: another gateway, another registry, a network too many or too few."""
    path = "a/2-control-plane/istiocontrolplane.yaml"
    harms: list[Callable[[dict[str, dict[str, object]]], object]] = [
        lambda n: n["net-1"].update(gateways=[{"address": "203.0.113.99", "port": 443}]),
        lambda n: n["net-1"].update(endpoints=[{"fromRegistry": "b"}]),
        lambda n: n.pop("net-1"),
        lambda n: n.update(more={"endpoints": [], "gateways": []}),
    ]
    for harm in harms:
        made = mesh("IstioControlPlane")
        clean = findings(run, made)
        assert "tree-networks" not in {c for c, _ in clean}

        def change(
            value: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]],
            harm: Callable[..., object] = harm,
        ) -> None:
            for part in ("global", "pilot"):
                stated = value["spec"]["values"].get(part, {}).get("meshNetworks")
                if stated:
                    harm(stated.get("networks", stated))

        broken.edit(made, path, change)
        broken.relock(made)
        assert set(findings(run, made)) - set(clean) == {("tree-networks", f"out/{path}")}
        shutil.rmtree(made.path)


def test_fail_within_counts_the_certificates_of_the_tree(
    mesh: Callable[..., WorkDir], run: Run
) -> None:
    """What certs/ has is long renewed, and the tree still holds the old one."""
    made = mesh()
    broken.reissued(made, "a", timedelta(minutes=-1), 60)
    broken.relock(made)
    assert findings(run, made) == [("tree-current", "out/a")]
    assert findings(run, made, "--fail-within", "90d") == [
        ("tree-expiring", "out/a/1-trust/cacerts.yaml")
    ]
    assert run("check", "--fail-within", "90d", "--id", "tree-expiring", cwd=made).code == 1
    assert run("check", "--fail-within", "30d", "--id", "tree-expiring", cwd=made).code == 0


def test_the_tree_is_read_though_the_inputs_are_wrong(
    mesh: Callable[..., WorkDir], run: Run
) -> None:
    """A key that is not here keeps a render from being thought of; the tree is judged all the same, by what most clusters say."""
    made = mesh()
    broken.wrong_root(made, "a")
    broken.swapped(made, "b", "c")
    broken.labelled(made, "e", "net-1")
    broken.relock(made)
    (made / "certs/intermediate-d/ca-key.pem").unlink()
    assert findings(run, made) == [
        ("certs-complete", "certs/intermediate-d/ca-key.pem"),
        ("tree-network", "out/e/1-trust/namespace.yaml"),
        ("tree-own", "out/b/1-trust/cacerts.yaml"),
        ("tree-own", "out/c/1-trust/cacerts.yaml"),
        ("tree-root", "out/a/1-trust/cacerts.yaml"),
    ]


@pytest.mark.parametrize("case", CASES)
def test_golden_trees_trip_no_check_of_the_tree(case: str, tmp_path: Path, run: Run) -> None:
    """A stranger beside the tree makes `check` read all of it: whatever the kind, the store and the delivery, nothing else is said."""
    shutil.copytree(GOLDEN / case / "in", tmp_path / "in")
    made = WorkDir(tmp_path / "in")
    shutil.copytree(rendered_tree(case), made / "out")
    names = [p.name for p in (made / "out").iterdir()]
    for name in names:
        made.write(f"out/{name}/note.txt", "mine")
    for path in [
        *made.path.glob("**/*key.pem"),
        *made.path.glob("credentials/*"),
        *made.path.glob("certs/seal-key"),
    ]:
        path.chmod(0o600)
    found = [(c, f) for c, f in findings(run, made) if re.match("tree|remote", c)]
    assert found == sorted(("tree-foreign", f"out/{name}/note.txt") for name in names)


def names_constrained(mesh: WorkDir) -> None:
    """An intermediate with name constraints."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    root, key = broken.root_of(mesh)
    own = x509.load_pem_x509_certificate((mesh / "certs/intermediate-a/ca-cert.pem").read_bytes())
    builder = (
        x509.CertificateBuilder(extensions=list(own.extensions))
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .public_key(own.public_key())
    )
    builder = (
        builder.serial_number(7)
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
    )
    made = builder.add_extension(
        x509.NameConstraints([x509.DNSName("example.com")], None), critical=True
    ).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    mesh.write("certs/intermediate-a/ca-cert.pem", pem)
    mesh.write(
        "certs/intermediate-a/cert-chain.pem", pem + root.public_bytes(serialization.Encoding.PEM)
    )


def from_tree(mesh: WorkDir, name: str, *parts: str) -> None:
    """Takes certificates of the tree, which a test has put there, into certs/."""
    import yaml

    data = yaml.safe_load((mesh / f"out/{name}/1-trust/cacerts.yaml").read_text())["data"]
    for part in parts or ("ca-cert.pem", "ca-key.pem", "cert-chain.pem"):
        mesh.write(
            f"certs/intermediate-{name}/{part}",
            base64.b64decode(data[part]),
            0o600 if "key" in part else 0o644,
        )


def both(*harms: Break) -> Break:
    """One after the other."""

    def harm(mesh: WorkDir) -> None:
        for one in harms:
            one(mesh)

    return harm


def ec_key_before_it_was_signed_with(mesh: WorkDir) -> None:
    """Istio 1.5, whose istiod reads EC keys and cannot sign with them."""
    from kubectl_mesh import targets

    mesh.topology({"istio": {"version": "1.6.0"}})
    mesh.write("base.yaml", targets.KINDS["IstioOperator"].STARTER)


def sealed_for(mesh: WorkDir, days_ago: int, days: int, *names: str) -> None:
    """The store `sealed`, with certificates of controllers."""
    from datetime import UTC, datetime

    from tests.unit.stores.test_stores import Controller

    mesh.topology({"secrets": {"store": "sealed"}})
    for name in names:
        mesh.write(
            f"clusters/{name}.sealing.crt",
            Controller(datetime.now(UTC) - timedelta(days=days_ago), days).certificate,
        )


def sops(mesh: WorkDir, *names: str) -> None:
    """The store `sops`: every cluster has the recipient of the name given for it."""
    import pyrage

    known = {name: str(pyrage.x25519.Identity.generate().to_public()) for name in set(names)}
    mesh.topology(
        {
            "secrets": {"store": "sops"},
            "contexts": {n: {"recipients": [known[names[i]]]} for i, n in enumerate(broken.NAMES)},
        }
    )


def rendered(mesh: WorkDir) -> None:
    """The tree made anew."""
    from kubectl_mesh import cli

    assert cli.run_command(["render", "-C", str(mesh)]) == 0


def jwt(days: int, said: str = "exp") -> str:
    """A token that ends on a day from now."""
    from datetime import UTC, datetime

    from tests.unit.credentials.test_logins import jwt as made

    return made(sub="x", **{said: int((datetime.now(UTC) + timedelta(days=days)).timestamp())})


def aged(days: int) -> str:
    """A token that was made some days ago."""
    return jwt(-days, "iat")


def committed(mesh: WorkDir) -> None:
    """A git repository that keeps nothing out."""
    import subprocess

    subprocess.run(["git", "init", "-q", mesh.path], check=True)


def tracked(mesh: WorkDir) -> None:
    """A key that git has all the same."""
    import subprocess

    subprocess.run(["git", "-C", mesh.path, "add", "-f", "certs/root-key.pem"], check=True)


def crls(mesh: WorkDir, days: int, *, root: bool = True, revoked: str = "") -> None:
    """The bundle of CRLs of a mesh that ends on a day from now; without `root` the root's is missing, and its key too. `revoked` is a cluster."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    from kubectl_mesh.x509.certificates import load_key

    now = datetime.now(UTC).replace(microsecond=0)
    body = b""
    for name, pair in [(f"intermediate-{n}", "ca") for n in broken.NAMES] + [(".", "root")] * root:
        key = load_key("key", (mesh / f"certs/{name}/{pair}-key.pem").read_bytes())
        certificate = x509.load_pem_x509_certificate(
            (mesh / f"certs/{name}/{pair}-cert.pem").read_bytes()
        )
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        # Older than the certificates, so that it can be about to end.
        builder = x509.CertificateRevocationListBuilder(
            certificate.subject, now - timedelta(days=40), now + timedelta(days=days)
        )
        if revoked and pair == "root":
            gone = x509.load_pem_x509_certificate(
                (mesh / f"certs/intermediate-{revoked}/ca-cert.pem").read_bytes()
            )
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(gone.serial_number)
                .revocation_date(now)
            )
            builder = builder.add_revoked_certificate(entry.build())
        made = (
            builder.add_extension(signer, critical=False)
            .add_extension(x509.CRLNumber(1), critical=False)
            .sign(key, hashes.SHA256())
        )
        body += made.public_bytes(serialization.Encoding.PEM)
    mesh.write("certs/ca-crl.pem", body)
    if not root:
        (mesh / "certs/root-key.pem").unlink()


def borrowed(mesh: WorkDir) -> None:
    """A server that only kubeconfig.yaml has, which git ignores."""
    entries = {
        "clusters": [
            {
                "name": "a",
                "cluster": {"server": "https://192.0.2.1:6443", "certificate-authority-data": ""},
            }
        ]
    }
    entries["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(
        (mesh / "clusters/a.crt").read_bytes()
    ).decode()  # type: ignore[index]
    contexts = [{"name": name, "context": {"cluster": "a", "user": "a"}} for name in broken.NAMES]
    mesh.write(
        "kubeconfig.yaml",
        yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Config", "contexts": contexts, "users": [], **entries}
        ),
        0o600,
    )
    mesh.topology({"contexts": {"a": {"server": None}}})
    mesh.write(".gitignore", "/certs/\n/credentials/\n/kubeconfig.yaml\n.kubectl-mesh-*\n")
    committed(mesh)


INPUTS: dict[str, Break] = {
    "server-borrowed": borrowed,
    "network-near": lambda m: m.topology(
        {"contexts": {"a": {"network": "network-1"}, "b": {"network": "Network-1"}}}
    ),
    "server-pending": lambda m: m.topology({"contexts": {"a": {"server": None}}}),
    "server-ca-expired": lambda m: m.write(
        "clusters/a.crt", authority(end=datetime.now(UTC) - timedelta(days=1))
    ),
    "server-ca-expiring": lambda m: m.write(
        "clusters/a.crt", authority(end=datetime.now(UTC) + timedelta(days=9))
    ),
    "token-expired": lambda m: m.token("a", jwt(-1)),
    "token-expiring": lambda m: m.token("a", jwt(20)),
    "token-account": lambda m: m.token("a", jwt(1000)),
    "token-old": lambda m: m.token("a", aged(100)),
    "next-token-pending": lambda m: m.topology(
        {"contexts": {"a": {"tokens": {"generation": 1, "beside": 2}}}}
    ),
    "token-order": both(
        lambda m: m.topology({"contexts": {"a": {"tokens": {"generation": 2}}}}),
        lambda m: m.write("credentials/a.token.g2", "the-next-token", 0o600),
    ),
    "tree-in-use": lambda m: m.topology({"contexts": {"a": {"serviceAccountReader": "another"}}}),
    "identity-change": lambda m: m.topology({"trustDomain": "acme.org"}),
    "crl-readable": lambda m: m.write("certs/ca-crl.pem", "nonsense"),
    "crl-complete": lambda m: crls(m, 400, root=False),
    "crl-revoked": lambda m: crls(m, 400, revoked="a"),
    "crl-expired": lambda m: (crls(m, -1), (m / "certs/root-key.pem").unlink()),
    "crl-expiring": lambda m: crls(m, 10),
    "crl-read": both(
        lambda m: crls(m, 400),
        lambda m: m.write("base.yaml", (m / "base.yaml").read_text().replace("1.29.10", "1.26.0")),
    ),
    "certs-readable": lambda m: m.write("certs/root-cert.pem", "nonsense"),
    "certs-complete": lambda m: (m / "certs/intermediate-a/ca-key.pem").unlink(),
    "certs-pair": lambda m: m.write(
        "certs/intermediate-a/ca-key.pem",
        (m / "certs/intermediate-b/ca-key.pem").read_bytes(),
        0o600,
    ),
    "certs-ca": both(
        lambda m: leaf(m, "a"), lambda m: from_tree(m, "a", "ca-cert.pem", "cert-chain.pem")
    ),
    "certs-chain": lambda m: m.write(
        "certs/intermediate-a/cert-chain.pem", (m / "certs/root-cert.pem").read_bytes()
    ),
    "certs-one-root": both(
        lambda m: broken.wrong_root(m, "a"), lambda m: from_tree(m, "a", "root-cert.pem")
    ),
    "root-elsewhere": lambda m: m.topology(
        {"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "mesh-ca"}}}
    ),
    "root-exchange": lambda m: shutil.rmtree(m / "certs"),
    "certs-own": both(
        lambda m: shutil.rmtree(m / "certs/intermediate-b"),
        lambda m: shutil.copytree(m / "certs/intermediate-a", m / "certs/intermediate-b"),
    ),
    "certs-expired": both(lambda m: broken.expired(m, "a"), lambda m: from_tree(m, "a")),
    "certs-expiring": both(
        lambda m: broken.reissued(m, "a", timedelta(days=-28), 30), lambda m: from_tree(m, "a")
    ),
    "certs-key-type": ec_key_before_it_was_signed_with,
    "certs-names": names_constrained,
    "certificate-pending": both(
        lambda m: m.topology({"certificates": {"issuer": "csr"}}),
        lambda m: [shutil.rmtree(m / d) for d in ("certs/intermediate-a", "out")],
    ),
    "private-mode": lambda m: (m / "certs/root-key.pem").chmod(0o644),
    "tree-current": lambda m: m.topology({"eastWestGateway": {"replicas": 3}}),
    "tree-edited": lambda m: m.write("out/a/3-mesh/kustomization.yaml", "# nothing\n"),
    "tree-withdrawn": lambda m: (m / "credentials/a.token").unlink(),
    "tree-foreign": lambda m: m.write("out/a/note.txt", "mine"),
    "secret-change": both(
        lambda m: m.write("base.yaml", (m / "base.yaml").read_text().replace("1.29.10", "1.30.3")),
        rendered,
        lambda m: m.token("a", "another"),
    ),
    "sealed-current": both(
        lambda m: sops(m, *"abcdef"),
        rendered,
        lambda m: [
            p.unlink()
            for p in (
                *m.path.glob("certs/*/ca-key.pem"),
                *m.path.glob("credentials/*"),
                m / "certs/seal-key",
            )
        ],
        lambda m: m.write(
            "out/a/1-trust/cacerts.yaml",
            (m / "out/a/1-trust/cacerts.yaml").read_text() + "# edited\n",
        ),
    ),
    "sealed-proven": both(
        lambda m: sops(m, *"abcdef"), rendered, lambda m: (m / "certs/seal-key").unlink()
    ),
    "recipient-shared": lambda m: sops(m, *"aacdef"),
    "sealing-certificate": lambda m: sealed_for(m, 90, 89, *broken.NAMES),
    "sealing-expiring": lambda m: sealed_for(m, 90, 100, *broken.NAMES),
    "sealing-pending": lambda m: (sealed_for(m, 1, 100, "a"), shutil.rmtree(m / "out")),
    "git-ignored": committed,
    "git-tracked": both(committed, lambda m: m.write(".gitignore", "/out/\n"), tracked),
}


@pytest.mark.parametrize("check", INPUTS)
def test_a_working_directory_that_trips_a_check(
    check: str, mesh: Callable[..., WorkDir], run: Run
) -> None:
    """What else there is to trip; the same mesh as it was trips nothing."""
    made = mesh()
    INPUTS[check](made)
    words = ("--token-age", "90d") if check == "token-old" else ()
    assert check in {c for c, _ in findings(run, made, *words)}
    assert run("check", "--id", check, cwd=made).code in (0, 1)


def deaf(made: WorkDir, run: Run) -> tuple[WorkDir, Callable[[], list[str]]]:
    """A mesh whose istiod may lose a cluster when its remote secret changes, rendered; and what `check` says of such changes."""
    made.write("base.yaml", (made / "base.yaml").read_text().replace("1.29.10", "1.30.3"))
    rendered(made)

    def told() -> list[str]:
        checks = json.loads(run("check", "-o", "json", cwd=made).out)["checks"]
        return [f["what"] for c in checks if c["id"] == "secret-change" for f in c["findings"]]

    return made, told


def test_another_store_is_no_change_of_a_remote_secret(
    mesh: Callable[..., WorkDir], run: Run
) -> None:
    """From clear to sealed and back with the same login: nothing happens in the cluster; with another, and where it cannot be compared, it is told."""
    made, told = deaf(mesh(), run)
    sops(made, *"abcdef")
    assert told() == []
    made.token("a", "another")
    (only,) = told()
    assert only.startswith(
        "its remote secret changes its store, and perhaps its login, which cannot be compared, in "
    )
    ran = run("render", cwd=made)
    assert ran.code == 0
    assert ran.err.count("changes its store, and perhaps its login") == 1
    assert told() == []
    made.topology(
        {
            "secrets": {"store": "plain"},
            "contexts": {name: {"recipients": None} for name in broken.NAMES},
        }
    )
    assert told() == []
    (made / "certs/seal-key").unlink()
    (only,) = told()
    assert re.match(
        r"its remote secret and that of [2-5] more clusters changes its store, and perhaps its login",
        only,
    )


def test_other_recipients_are_no_change_of_a_remote_secret(
    mesh: Callable[..., WorkDir], run: Run
) -> None:
    """The same login for others, or by another seal key: nothing happens in the cluster; it is told where the login changes too, or may."""
    made, told = deaf(mesh(), run)
    sops(made, *"abcdef")
    rendered(made)
    sops(made, *"ghijkl")
    assert told() == []
    assert "secret changes" not in run("render", "--check", "--reseal", cwd=made).err
    made.token("a", "another")
    (only,) = told()
    assert only.startswith("its remote secret changes in ")
    (made / "certs/seal-key").unlink()
    ran = run("render", "--check", "--reseal", cwd=made)
    # One finding for all, and a restart for each cluster.
    assert (
        ran.err.count(
            "its remote secret and that of 5 more clusters is sealed anew, perhaps with another login, which cannot be compared, in 6 clusters"
        )
        == 1
    )
    assert ran.err.count("if a login changed, restart istiod right after each apply") == 1
    assert ran.err.count("rollout restart deployment -l app=istiod && ") == 6


def test_another_controller_is_no_change_of_a_remote_secret(
    mesh: Callable[..., WorkDir], run: Run
) -> None:
    """The same login for the new key of a controller, or for SOPS: nothing happens in the cluster; it is told where the login changes too."""
    made, told = deaf(mesh(), run)
    sealed_for(made, 1, 100, *broken.NAMES)
    rendered(made)
    sealed_for(made, 1, 100, *broken.NAMES)
    assert told() == []
    token = (made / "credentials/a.token").read_text()
    made.token("a", "another")
    (only,) = told()
    assert only.startswith("its remote secret changes in ")
    made.token("a", token)
    sops(made, *"abcdef")
    assert told() == []


def test_every_check_is_tripped_by_something(
    tmp_path: Path, mesh: Callable[..., WorkDir], run: Run
) -> None:
    """The table, and what trips it, are the same set: here, and in tests/invalid; and a sound mesh trips none."""
    from tests.test_invalid import CASES as INVALID
    from tests.test_invalid import WARNED, directory

    told = (
        {c for c, _, _ in TREE}
        | {c for _, wanted in TEN for c, _ in wanted}
        | set(INPUTS)
        | {"tree-networks"}
    )
    for case in [*INVALID, *WARNED]:
        told |= {c for c, _ in findings(run, directory(case, tmp_path))}
    assert told == {check.id for check in CHECKS}
    assert findings(run, mesh()) == []
