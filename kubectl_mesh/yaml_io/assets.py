"""Reads the templates and schemas of the package, in a wheel or in a checkout."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def asset_folder(name: str) -> Path:
    """The folder `templates` or `schemas`: inside the package in a wheel, next to the package in a
    checkout.
    """
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the installation of kubectl mesh lacks its {name}; install it again")


@cache
def asset_text(path: str) -> str:
    """The text of an asset, such as `templates/secret.yaml`."""
    top, _, rest = path.partition("/")
    return (asset_folder(top) / rest).read_text(encoding="utf-8")


def template_text(name: str) -> str:
    """The text of a template, such as `secret.yaml`."""
    return asset_text(f"templates/{name}")


@cache
def load_schema(path: str) -> Any:
    """A JSON Schema, such as `topology.schema.json`. It is shared and must not be changed."""
    return json.loads(asset_text(f"schemas/{path}"))
