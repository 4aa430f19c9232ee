"""The page's mesh on Istio 1.31, and the steps of a rotation of its root."""

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.conftest import TOP, Run, WorkDir
from tests.support.clocks import Clock

Make = Callable[..., WorkDir]
TEXTS = TOP / "tests" / "golden" / "certs"
NAMES = ("context-east-1", "context-east-2", "context-west-1")
ISTIO = "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.31.3}\n"
ROTATE = ("certs", "rotate-root")


def render_sail_mesh(workdir: Make, run: Run) -> WorkDir:
    """The page's mesh on Istio 1.31 of the Sail operator, rendered."""
    made = workdir(tokens=True)
    made.write("base.yaml", ISTIO)
    assert run("render", cwd=made).code == 0
    return made


def certificates(body: bytes) -> list[x509.Certificate]:
    """The certificates of a text."""
    return x509.load_pem_x509_certificates(body)


def mark(certificate: x509.Certificate) -> str:
    """Its SHA-256."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def rendered(mesh: WorkDir, run: Run) -> set[str]:
    """Renders, and gives what of the files of a cluster changed, the lock aside; a second render changes nothing."""
    before = mesh.snapshot()
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    assert run("render", "--check", cwd=mesh).code == 0
    after = mesh.snapshot()
    paths = {
        p.split("/", 2)[2]
        for p in after
        if p.startswith("out/") and p.count("/") > 1 and after[p] != before.get(p)
    }
    return paths - {"mesh.lock"}


def advance(mesh: WorkDir, run: Run, clock: Clock, time: str = "24h") -> None:
    """Waits, and goes a step on."""
    clock.pass_(days=2)
    ran = run(*ROTATE, "advance", "--seen-for", time, cwd=mesh)
    assert ran.code == 0, ran.err
