"""Certificates made by openssl as others make them, and the Secrets that a cluster holds them in, as kubectl prints them."""

import base64
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CA = (
    "-addext",
    "basicConstraints=critical,CA:TRUE",
    "-addext",
    "keyUsage=critical,keyCertSign,cRLSign",
)
P256 = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")
MAKEFILE = """\
[req]
encrypt_key = no
prompt = no
utf8 = yes
default_md = sha256
req_extensions = req_ext
x509_extensions = req_ext
distinguished_name = req_dn
[req_ext]
subjectKeyIdentifier = hash
authorityKeyIdentifier = none
basicConstraints = critical, CA:true{pathlen}
keyUsage = critical, digitalSignature, nonRepudiation, keyEncipherment, keyCertSign
{names}
[san]
{san}
[req_dn]
O = {organization}
CN = {common}
{locality}
"""
"""root-ca.conf and intermediate.conf of Istio's samples/certs/Makefile, 1.4 to 1.6; OpenSSL of those days added no authorityKeyIdentifier by itself."""


def openssl(*words: object, cwd: Path) -> None:
    """Runs openssl."""
    done = subprocess.run(
        ["openssl", *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def make_root(
    folder: Path,
    name: str = "own",
    *,
    key: tuple[str, ...] = P256,
    extra: tuple[str, ...] = CA,
    subject: str | None = None,
) -> None:
    """A root as a company's CA has it: NAME.pem and NAME.key."""
    folder.mkdir(exist_ok=True)
    (folder / "root.conf").write_text("[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n")
    openssl("genpkey", "-algorithm", *key, "-out", f"{name}.key", cwd=folder)
    words = (
        "req",
        "-x509",
        "-config",
        "root.conf",
        "-new",
        "-key",
        f"{name}.key",
        "-days",
        3650,
        "-subj",
        subject or f"/O=Acme/CN={name}",
    )
    openssl(*words, *extra, "-out", f"{name}.pem", cwd=folder)


def makefile(folder: Path, contexts: tuple[str, ...], organization: str = "Acme") -> None:
    """`certs/` of the old tool's working directory: what its `make root-ca` and `make intermediate-CTX-certs` left.

    Keys are of 2048 bits and not of 4096, which changes nothing but how long it takes.
    """
    folder.mkdir(parents=True)
    root = MAKEFILE.format(
        pathlen="", names="", san="", organization=organization, common="Root CA", locality=""
    )
    (folder / "root-ca.conf").write_text(root)
    openssl("genrsa", "-out", "root-key.pem", 2048, cwd=folder)
    openssl(
        "req",
        "-new",
        "-key",
        "root-key.pem",
        "-config",
        "root-ca.conf",
        "-out",
        "root-cert.csr",
        cwd=folder,
    )
    self_signed = (
        "x509",
        "-req",
        "-days",
        3650,
        "-signkey",
        "root-key.pem",
        "-extensions",
        "req_ext",
        "-extfile",
        "root-ca.conf",
    )
    openssl(*self_signed, "-in", "root-cert.csr", "-out", "root-cert.pem", cwd=folder)
    for number, context in enumerate(contexts):
        inner = folder / f"intermediate-{context}"
        inner.mkdir()
        names = "".join(
            f"URI.{i} = spiffe://{d}/ns/istio-system/sa/citadel\n"
            for i, d in enumerate(("cluster.local", inner.name))
        )
        (inner / "intermediate.conf").write_text(
            MAKEFILE.format(
                pathlen=", pathlen:0",
                names="subjectAltName=@san",
                san=names + "DNS.1 = localhost",
                organization="Istio",
                common="Intermediate CA",
                locality=f"L = {inner.name}",
            )
        )
        openssl("genrsa", "-out", "ca-key.pem", 2048, cwd=inner)
        openssl(
            "req",
            "-new",
            "-config",
            "intermediate.conf",
            "-key",
            "ca-key.pem",
            "-out",
            "cluster-ca.csr",
            cwd=inner,
        )
        signed = (
            "x509",
            "-req",
            "-days",
            730,
            "-CA",
            "../root-cert.pem",
            "-CAkey",
            "../root-key.pem",
            "-set_serial",
            4711 + number,
        )
        openssl(
            *signed,
            "-extensions",
            "req_ext",
            "-extfile",
            "intermediate.conf",
            "-in",
            "cluster-ca.csr",
            "-out",
            "ca-cert.pem",
            cwd=inner,
        )
        (inner / "root-cert.pem").write_bytes((folder / "root-cert.pem").read_bytes())
        (inner / "cert-chain.pem").write_bytes(
            (inner / "ca-cert.pem").read_bytes() + (folder / "root-cert.pem").read_bytes()
        )


def printed(
    kind: str, name: str, namespace: str = "istio-system", **parts: object
) -> dict[str, object]:
    """An object as `kubectl get -o yaml` prints it, with what the server adds."""
    metadata: dict[str, object] = {
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"kind": kind}) + "\n"
        },
        "creationTimestamp": "2026-02-03T04:05:06Z",
        "managedFields": [
            {
                "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {".": {}}},
                "manager": "kubectl",
                "operation": "Update",
            }
        ],
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "resourceVersion": "123456",
        "selfLink": f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}",
        "uid": "0b0e4f3c-7c3b-4f8c-9c55-2d9b5a8c1d21",
    }
    for key in ("annotations", "labels"):
        if key in parts:
            metadata[key] = {**metadata.get(key, {}), **parts.pop(key)}  # type: ignore[dict-item]
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **parts}


def secret(name: str, held: Mapping[str, "bytes | str"], **parts: object) -> dict[str, object]:
    """A Secret as kubectl prints it."""
    data = {
        key: base64.b64encode(body.encode() if isinstance(body, str) else body).decode()
        for key, body in held.items()
    }
    return printed("Secret", name, **{"type": "Opaque", **parts, "data": data})


def cacerts(folder: Path, **parts: object) -> dict[str, object]:
    """The Secret that `kubectl create secret generic cacerts --from-file=…` makes of a folder."""
    names = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
    return secret("cacerts", {name: (folder / name).read_bytes() for name in names}, **parts)


def self_signed(folder: Path, name: str) -> dict[str, object]:
    """`istio-ca-secret` of an istiod that signed for itself, and its root as PEM beside it; O=cluster.local in every cluster."""
    make_root(folder, name, key=RSA, subject="/O=cluster.local")
    held = {
        "ca-cert.pem": (folder / f"{name}.pem").read_bytes(),
        "ca-key.pem": (folder / f"{name}.key").read_bytes(),
    }
    return secret(
        "istio-ca-secret",
        {**held, "cert-chain.pem": "", "key.pem": "", "root-cert.pem": ""},
        type="istio.io/ca-root",
    )


def dump(path: Path, *values: object) -> Path:
    """Writes what kubectl printed: one object, or a List of several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = (
        values[0]
        if len(values) == 1
        else {
            "apiVersion": "v1",
            "items": list(values),
            "kind": "List",
            "metadata": {"resourceVersion": ""},
        }
    )
    path.write_text(yaml.safe_dump(whole))
    path.chmod(0o600)
    return path


def authority(begin: datetime | None = None, end: datetime | None = None) -> bytes:
    """A CA for an API server, valid from one day to another."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )
    built = built.not_valid_before(begin or now - timedelta(days=400)).not_valid_after(
        end or now + timedelta(days=4000)
    )
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
