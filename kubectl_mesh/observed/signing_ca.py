"""The CA of a cluster in a dump: the Secret `cacerts`, or the `istio-ca-secret` of a self-signed
istiod.

istiod: pilot/pkg/bootstrap/istio_ca.go, security/pkg/pki/ca/ca.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.observed.cacerts_keys import CERT_MANAGER_KEYS, find_key_names
from kubectl_mesh.observed.dumped_objects import DumpedObject, decode_secret

CACERTS, SELF_SIGNED_SECRET, ROOTS_CONFIG_MAP = "cacerts", "istio-ca-secret", "istio-ca-root-cert"
GENERATED_KEY = "istio-generated"
"""The key that marks a cacerts created by istiod (USE_CACERTS_FOR_SELF_SIGNED_CA)."""


@dataclass(frozen=True, slots=True)
class SigningCa:
    """The CA of a cluster: its files by istiod's names."""

    resource: DumpedObject
    files: Mapping[str, bytes] = field(repr=False)
    is_self_signed: bool
    """istiod created it: no other cluster trusts it."""
    issuer: tuple[str, str, str] | None = None
    """The cert-manager issuer that created it: name, kind and group."""


def is_signing_ca(resource: DumpedObject) -> bool:
    """Whether an object contains the CA of a cluster."""
    return (
        resource.kind == "Secret"
        and not resource.group
        and resource.name in (CACERTS, SELF_SIGNED_SECRET)
    )


def parse_signing_ca(resource: DumpedObject) -> SigningCa:
    """The CA in a Secret. Raises a `MeshError` that names the missing files."""
    data = decode_secret(resource)
    bodies = {key: body for key, body in data.items() if body.strip()}
    is_self_signed = resource.name == SELF_SIGNED_SECRET or GENERATED_KEY in data
    if (
        resource.name == SELF_SIGNED_SECRET
        and (certificate := bodies.get("ca-cert.pem")) is not None
    ):
        bodies = {"cert-chain.pem": certificate, "root-cert.pem": certificate, **bodies}
    names = find_key_names(bodies if resource.name == CACERTS else ())
    missing = [key for key in dict.fromkeys(names.values()) if key not in bodies]
    if missing:
        what = f"{resource} lacks {' and '.join(missing)}"
        fix = (
            "istiod does not start with a part of it; dump the whole Secret"
            if resource.name == CACERTS
            else "dump the whole Secret"
        )
        raise MeshError([Problem(resource.place, what, fix, code="cacerts-incomplete")])
    files = {name: bodies[key] for name, key in names.items()}
    if names is not CERT_MANAGER_KEYS:
        return SigningCa(resource, files, is_self_signed)
    # istiod has no chain of its own then.
    files["cert-chain.pem"] = _with_newline(files["ca-cert.pem"]) + files["root-cert.pem"]
    return SigningCa(resource, files, is_self_signed, _cert_manager_issuer(resource))


def _cert_manager_issuer(resource: DumpedObject) -> tuple[str, str, str] | None:
    annotations = resource.metadata_strings("annotations")
    name = annotations.get("cert-manager.io/issuer-name")
    kind, group = (
        annotations.get("cert-manager.io/issuer-kind", "Issuer"),
        annotations.get("cert-manager.io/issuer-group", "cert-manager.io"),
    )
    return None if name is None else (name, kind or "Issuer", group or "cert-manager.io")


def _with_newline(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


def find_signing_ca(
    where: str, objects: Sequence[DumpedObject], namespace: str | None = None
) -> SigningCa:
    """The CA among the objects of a cluster: `cacerts` before `istio-ca-secret`, as in istiod."""
    found = [o for o in objects if is_signing_ca(o)]
    for name in (CACERTS, SELF_SIGNED_SECRET):
        named = [o for o in found if o.name == name]
        inside = [o for o in named if o.namespace == namespace] or named
        if len(inside) > 1:
            places = ", ".join(str(o.place) for o in inside)
            raise MeshError(
                [
                    Problem(
                        Place(where),
                        f"holds {name} {len(inside)} times: {places}",
                        "give that of one cluster",
                        code="several-signing-cas",
                    )
                ]
            )
        if inside:
            return parse_signing_ca(inside[0])
    raise MeshError(
        [
            Problem(
                Place(where),
                f"holds neither a Secret {CACERTS} nor {SELF_SIGNED_SECRET}",
                f"give `kubectl get secret {CACERTS} -o yaml`",
                code="signing-ca-missing",
            )
        ]
    )


def find_trusted_roots(where: str, objects: Sequence[DumpedObject]) -> bytes:
    """The roots that a cluster trusts, as PEM: from its CA, or from the ConfigMap that istiod
    distributes to every namespace.
    """
    if any(is_signing_ca(o) for o in objects):
        return find_signing_ca(where, objects).files["root-cert.pem"]
    bodies = {
        body
        for o in objects
        if o.kind == "ConfigMap"
        and o.name == ROOTS_CONFIG_MAP
        and isinstance(body := o.value_at("data", "root-cert.pem"), str)
    }
    if len(bodies) == 1:
        return bodies.pop().encode()
    what = (
        (
            f"holds no root: neither a Secret {CACERTS} or {SELF_SIGNED_SECRET}, nor a ConfigMap"
            f" {ROOTS_CONFIG_MAP}"
        )
        if not bodies
        else f"holds {len(bodies)} roots in {ROOTS_CONFIG_MAP}"
    )
    raise MeshError(
        [
            Problem(
                Place(where),
                what,
                f"give `kubectl get configmap {ROOTS_CONFIG_MAP} -o yaml`, or the root as PEM",
                code="several-roots" if bodies else "root-missing",
            )
        ]
    )
