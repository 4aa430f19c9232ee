"""Outputs for programs, validated by their schemas."""

import json
import re
from typing import Any

import jsonschema

from kubectl_mesh.yaml_io import assets
from tests.conftest import Run, WorkDir


def check_results(run: Run, mesh: WorkDir, *words: str) -> dict[str, dict[str, Any]]:
    """The result of every check by its id, as the schema describes it."""
    value = json.loads(run("check", "-o", "json", *words, cwd=mesh).out)
    jsonschema.Draft202012Validator(assets.load_schema("output/check.schema.json")).validate(value)
    return {check["id"]: check for check in value["checks"]}


def page_data(run: Run, mesh: WorkDir) -> dict[str, Any]:
    """What the page of `graph` shows."""
    found = re.search(
        r'<script[^>]*type="application/json"[^>]*>(.*?)</script>',
        run("graph", "-o", "html", cwd=mesh).out,
        re.DOTALL,
    )
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def schema(name: str) -> dict[str, object]:
    """The schema of a verb's `-o json`."""
    found: dict[str, object] = assets.load_schema(f"output/{name}.schema.json")
    return found


def valid(name: str, text: str) -> dict[str, object]:
    """A report, checked against its schema."""
    value: dict[str, object] = json.loads(text)
    jsonschema.Draft202012Validator(schema(name)).validate(value)
    return value
