"""Rendered trees whose Secrets are sealed, and what their controllers do with them."""

import base64
import json
import re
import shutil

from tests.conftest import WorkDir


def tree(mesh: WorkDir) -> dict[str, bytes]:
    """The files of the tree."""
    return {
        p.relative_to(mesh / "out").as_posix(): p.read_bytes()
        for p in sorted((mesh / "out").rglob("*"))
        if p.is_file()
    }


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """The paths that differ."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def forget_private(mesh: WorkDir, *, seal_key: bool = True) -> None:
    """Takes away what git does not have."""
    for path in [
        *(mesh / "certs").rglob("*key.pem"),
        *([mesh / "certs" / "seal-key"] if seal_key else []),
    ]:
        path.unlink()
    shutil.rmtree(mesh / "credentials")


def forms(secret: bytes) -> list[bytes]:
    """A secret as one might come across it: as it is, its long lines, in hex, in base64 at each of three places."""
    lines = [line for line in secret.splitlines() if len(line) > 20 and b"-----" not in line] or [
        secret.strip()
    ]
    found = []
    for line in lines:
        found += [line, line.hex().encode()]
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + line)
            found.append(encoded[4 if shift else 0 : len(encoded) - 4])
    return found


EXTERNAL = {
    "secrets": {
        "store": "external",
        "secretStore": {"kind": "ClusterSecretStore", "name": "vault"},
        "path": "mesh",
    }
}


SAIL = "apiVersion: sailoperator.io/v1\nkind: Istio\nspec:\n  version: v1.31.3\n"


def go_template(text: str, values: dict[str, str]) -> str:
    """What the template engine of the External Secrets Operator makes of ours: the few functions that we use."""

    def value(match: "re.Match[str]") -> str:
        words = [word.strip() for word in match[1].split("|")]
        if words == ['"{{"']:
            return "{{"
        found = values[words[0].removeprefix(".")]
        for function in words[1:]:
            found = {
                "trim": str.strip,
                "b64enc": lambda v: base64.b64encode(v.encode()).decode(),
                "toJson": json.dumps,
            }[function](found)  # type: ignore[operator]
        return found

    return re.sub(r"\{\{ (.*?) \}\}", value, text)
