"""Turns the files of a credential into the `user` of a kubeconfig. Problems show nothing of their
content.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import SEALED_PLACEHOLDER, Credential, Json

_TOKEN = re.compile(r"[!-~]+\Z")
"""The characters of a bearer token: the API server accepts any visible ASCII, and Rancher's tokens
have a colon.
"""
_SIGNATURES = {"ES256": (64,), "ES384": (96,), "ES512": (132,), "EdDSA": (64, 114)}
"""The possible lengths of a JSON Web Token's signature in bytes (RFC 7518, section 3; RFC 8037).
RSA signatures are as long as the key.
"""
_MAX_LENGTH = 64 * 1024
_FILES = {
    "oidc": {"idTokenFile": True, "refreshTokenFile": True, "clientSecretFile": True},
    "clientCertificate": {"certificateFile": False, "keyFile": True},
}
"""The files of each kind of credential, and whether they are private."""


def parse_token(body: bytes) -> str:
    """The token in a file for which `token_fault` is empty; white space around it is ignored."""
    return body.decode("ascii").strip()


def token_fault(body: bytes) -> str:
    """Why the content of a file is not a token, as the end of a sentence; empty if it is one."""
    try:
        text = body.decode("ascii").strip()
    except UnicodeDecodeError:
        return "is not a token: it holds characters that no token has"
    if text.startswith("ZXlK") and "." not in text:
        return "holds the token in base64, as a Secret's data does, and not the token itself"
    if len(text) > _MAX_LENGTH:
        return "is not a token: it is too long"
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        return "is in quotes, which are not part of a token"
    if not text:
        return "is empty"
    if not _TOKEN.match(text):
        return "is not a token: it holds more than one word, or characters that no token has"
    if is_cut_off(text):
        return "is a JSON Web Token that is cut off or damaged, so no API server accepts it"
    return ""


def token_problems(name: str, body: bytes, command: str) -> list[Problem]:
    """What is wrong with a token file; `command` fetches the token again."""
    fault = token_fault(body)
    if not fault:
        return []
    # A failed command leaves an empty file.
    wait = (
        ""
        if body
        else (
            "\n  until then, remove the file: without it the cluster waits for its token, and the"
            " others go on"
        )
    )
    fix = f"fetch it again: {command}{wait}"
    return [Problem(Place(name), fault, fix, id="token-readable", code="token-invalid")]


def is_cut_off(token: str) -> bool:
    """Whether a token is an incomplete JSON Web Token; False for tokens of other kinds."""
    if not token.startswith("eyJ"):
        return False
    parts = token.split(".")
    header = _parse_part(parts[0])
    if not isinstance(header, dict):
        return True
    if "alg" not in header or "enc" in header:  # not signed, so opaque here
        return False
    return (
        len(parts) != 3
        or not isinstance(_parse_part(parts[1]), dict)
        or not _is_signature(str(header["alg"]), parts[2])
    )


def _is_signature(algorithm: str, text: str) -> bool:
    """Whether a text can be a complete signature of an algorithm; it is not verified."""
    size = _decode_part(text)
    if size is None:
        return False
    if algorithm[:2] in ("RS", "PS"):
        return len(size) >= 128 and len(size) % 16 == 0
    return len(size) in _SIGNATURES.get(algorithm, (len(size),))


def _decode_part(text: str) -> bytes | None:
    if len(text) % 4 == 1 or not re.fullmatch(r"[A-Za-z0-9_-]*=*", text):
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return None


def _parse_part(text: str) -> object:
    """The JSON value of a part of a JSON Web Token; None if there is none."""
    try:
        return json.loads(_decode_part(text) or b"")
    except (ValueError, RecursionError):
        return None


def credential_files(credential: Credential) -> dict[str, tuple[str, bool]]:
    """The files of a credential other than a token file, by key: the name, and whether it is
    private.
    """
    known = _FILES.get(credential.kind, {})
    return {
        key: (str(credential.settings[key]), private)
        for key, private in known.items()
        if key in credential.settings
    }


def masked_login(
    credential: Credential, mark: Callable[[str], str] = lambda _: SEALED_PLACEHOLDER
) -> dict[str, Json]:
    """The `user` of a kubeconfig with a placeholder for each value from a file; `mark` returns the
    placeholder for the name of a value.
    """
    if credential.kind == "tokenFile":
        return {"token": mark("token")}
    if credential.kind == "exec":
        return build_login(credential, {})
    stated: Any = credential.settings
    if credential.kind == "oidc":
        known = {
            "client-secret": "clientSecret",
            "id-token": "idToken",
            "refresh-token": "refreshToken",
        }
        config = {"client-id": stated["clientID"], "idp-issuer-url": stated["issuerURL"]}
        config |= {key: mark(name) for key, name in known.items() if f"{name}File" in stated}
        return {"auth-provider": {"config": dict(sorted(config.items())), "name": "oidc"}}
    return {"client-certificate-data": mark("certificate"), "client-key-data": mark("key")}


def login_problems(
    credential: Credential, bodies: Mapping[str, bytes], display_path: Callable[[str], str]
) -> list[Problem]:
    """What is wrong with the files of a credential. `bodies` are the files by key; `display_path`
    returns the path of a file for messages.
    """
    names = {key: display_path(name) for key, (name, _) in credential_files(credential).items()}
    if credential.kind == "oidc":
        return [p for key, name in names.items() for p in _word_problems(name, bodies[key])]
    kinds = {"certificateFile": "CERTIFICATE", "keyFile": "PRIVATE KEY"}
    return [
        p
        for key, kind in kinds.items()
        if key in names
        for p in _pem_problems(names[key], bodies[key], kind)
    ]


def build_login(credential: Credential, bodies: Mapping[str, bytes]) -> dict[str, Json]:
    """The `user` of a kubeconfig (client-go's clientcmd/api/v1). `bodies` are the files by key, for
    which `login_problems` is empty.
    """
    stated: Any = credential.settings
    if credential.kind == "exec":
        return {"exec": _exec_config(stated)}
    if credential.kind == "oidc":
        words = {key: _decode_word(bodies[key]) for key in credential_files(credential)}
        config = {
            "client-id": stated["clientID"],
            **({"client-secret": words["clientSecretFile"]} if "clientSecretFile" in words else {}),
            "id-token": words["idTokenFile"],
            "idp-issuer-url": stated["issuerURL"],
            **({"refresh-token": words["refreshTokenFile"]} if "refreshTokenFile" in words else {}),
        }
        return {"auth-provider": {"config": config, "name": "oidc"}}
    return {
        "client-certificate-data": base64.b64encode(bodies["certificateFile"]).decode(),
        "client-key-data": base64.b64encode(bodies["keyFile"]).decode(),
    }


def _exec_config(stated: Any) -> dict[str, Json]:
    env = [{"name": name, "value": value} for name, value in sorted(stated.get("env", {}).items())]
    return {
        "apiVersion": stated.get("apiVersion", "client.authentication.k8s.io/v1"),
        **({"args": stated["args"]} if stated.get("args") else {}),
        "command": stated["command"],
        **({"env": env} if env else {}),
        # istiod cannot ask anybody, and v1 requires the field.
        "interactiveMode": "Never",
        "provideClusterInfo": stated.get("provideClusterInfo", False),
    }


def _decode_word(body: bytes) -> str:
    return body.decode("ascii", "replace").strip()


def _word_problems(name: str, body: bytes) -> list[Problem]:
    text = _decode_word(body)
    is_word = text.isprintable() and " " not in text and "\ufffd" not in text
    if text and is_word and len(text) <= _MAX_LENGTH:
        return []
    what = "is empty" if not text else "holds more than one word, or characters that no token has"
    fix = "put the token alone into it"
    return [Problem(Place(name), what, fix, "credential-readable", code="credential-invalid")]


def _pem_problems(name: str, body: bytes, kind: str) -> list[Problem]:
    begins = re.findall(rb"-----BEGIN ([A-Z0-9 ]+)-----", body)
    private = [b for b in begins if b.endswith(b"PRIVATE KEY")]
    if kind == "CERTIFICATE" and private:
        what, fix, code = (
            "holds a private key beside the certificate",
            "put the key into a file of its own",
            "certificate-with-private-key",
        )
    elif not any(b.endswith(kind.encode()) for b in begins):
        what, fix, code = (
            f"is no PEM {kind.lower()}",
            f"put the {kind.lower()} there, with its BEGIN and END lines",
            "credential-invalid",
        )
    elif any(b.startswith(b"ENCRYPTED") for b in private):
        what, fix, code = (
            "is encrypted, and istiod has no password",
            "decrypt it",
            "private-key-encrypted",
        )
    else:
        return []
    return [Problem(Place(name), what, fix, "credential-readable", code=code)]


@dataclass(frozen=True, slots=True)
class Claims:
    """The unverified claims of a token (RFC 7519): subject, audience, end (UTC; None: never) and
    time of issue.

    Kubernetes puts no date into the token of a Secret, but the name of the Secret.
    """

    subject: str
    audience: tuple[str, ...]
    expires: datetime | None
    issued: datetime | None = None
    secret: str | None = None
    account: str | None = None
    """The user in the API server: the subject, or the account in Kubernetes' own claims."""


def parse_claims(token: str) -> Claims | None:
    """The claims of a JSON Web Token, which is not verified; None for other tokens, which
    Kubernetes accepts too.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        audience, expires = value.get("aud", ()), value.get("exp")
        listed = (audience,) if isinstance(audience, str) else tuple(str(a) for a in audience)
        issued, secret = value.get("iat"), value.get("kubernetes.io/serviceaccount/secret.name")
        expires_at, issued_at = (
            None if number is None else datetime.fromtimestamp(float(number), UTC)
            for number in (expires, issued)
        )
        subject = str(value.get("sub", ""))
        return Claims(
            subject,
            listed,
            expires_at,
            issued_at,
            secret if isinstance(secret, str) else None,
            subject or _kubernetes_account(value),
        )
    except (
        ValueError,
        binascii.Error,
        AttributeError,
        TypeError,
        OverflowError,
        OSError,
        RecursionError,
    ):
        return None


def _kubernetes_account(value: Mapping[str, Any]) -> str | None:
    """The account in Kubernetes' own claims, in the format of bound tokens or of tokens in
    Secrets.
    """
    bound = value.get("kubernetes.io")
    account = bound.get("serviceaccount") if isinstance(bound, dict) else None
    pairs = (
        (
            (bound.get("namespace"), account.get("name"))
            if isinstance(bound, dict) and isinstance(account, dict)
            else (None, None)
        ),
        (
            value.get("kubernetes.io/serviceaccount/namespace"),
            value.get("kubernetes.io/serviceaccount/service-account.name"),
        ),
    )
    return next(
        (
            f"system:serviceaccount:{space}:{name}"
            for space, name in pairs
            if isinstance(space, str) and isinstance(name, str)
        ),
        None,
    )
