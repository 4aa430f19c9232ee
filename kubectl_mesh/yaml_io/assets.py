"""Finds what travels with the package: templates and schemas, inside a wheel or beside the package
in a checkout.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def asset_folder(name: str) -> Path:
    """The folder `templates` or `schemas`: force-included in the wheel, at the top of a
    checkout.
    """
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the installation of kubectl mesh lacks its {name}; install it again")


@cache
def asset_text(path: str) -> str:
    """One file of theirs, such as `templates/secret.yaml`."""
    top, _, rest = path.partition("/")
    return (asset_folder(top) / rest).read_text(encoding="utf-8")


def template_text(name: str) -> str:
    """One template, such as `secret.yaml`."""
    return asset_text(f"templates/{name}")


@cache
def load_schema(path: str) -> Any:
    """One JSON Schema, such as `topology.schema.json`, parsed; shared, so not to be changed."""
    return json.loads(asset_text(f"schemas/{path}"))
