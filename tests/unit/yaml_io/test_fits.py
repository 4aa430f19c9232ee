"""The quick yes or no of `fits` is jsonschema's own."""

import json
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_mesh.model import Document
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.fits import fits
from kubectl_mesh.yaml_io.read import load_document
from kubectl_mesh.yaml_io.schema import schema_problems
from tests.conftest import SEED, TOP

SCHEMAS = {
    name: assets.load_schema(name)
    for name in ("topology.schema.json", "kinds/istiocontrolplane-install-v1alpha2.json")
}
words = st.sampled_from(
    [
        "mesh_id",
        "contexts",
        "network",
        "networks",
        "gateways",
        "address",
        "port",
        "peers",
        "spec",
        "values",
        "global",
        "kind",
        "metadata",
        "name",
        "a",
        "ec-p256",
        "net",
        "1.4",
    ]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70000),
    st.floats(allow_nan=False, allow_infinity=False),
    words,
    st.text(max_size=8),
    st.just("a\n"),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=5)),
    max_leaves=25,
)
VALID: list[tuple[str, Any]] = [
    ("topology.schema.json", yaml.safe_load((SEED / "topology.yaml").read_text())),
    (
        "topology.schema.json",
        load_document("t", (TOP / "tests/golden/fleet/in/topology.yaml").read_bytes()).value,
    ),
    (
        "kinds/istiocontrolplane-install-v1alpha2.json",
        load_document(
            "b", (TOP / "tests/golden/seed/in/base.yaml").read_bytes(), aliases=True
        ).value,
    ),
]


def agree(name: str, value: Any) -> bool:
    """Both answers, which must be one; jsonschema's with our reading of `$`, as problems are worded."""
    quick = fits(value, SCHEMAS[name])
    if quick:
        jsonschema.validators.validator_for(SCHEMAS[name])(SCHEMAS[name]).validate(value)
    else:
        assert list(schema_problems(Document("x", value, {}), SCHEMAS[name]))
    return quick


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(SCHEMAS)), values)
def test_random_values(name: str, value: Any) -> None:
    """A yes is a yes of jsonschema; a no is always worded."""
    agree(name, value)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(VALID), st.data())
def test_valid_values_with_one_change(valid: tuple[str, Any], data: st.DataObject) -> None:
    """Near what is valid, where the two could differ."""
    name, value = valid[0], json.loads(json.dumps(valid[1]))
    node = value
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and data.draw(st.integers(0, 3)):
            node = node[key]
            continue
        if isinstance(node, dict) and data.draw(st.booleans()):
            node[data.draw(words)] = node.pop(key)
        else:
            node[key] = data.draw(values)
        break
    agree(name, value)


@pytest.mark.parametrize(("name", "value"), VALID)
def test_valid_values_are_quickly_valid(name: str, value: Any) -> None:
    """The quick way is really taken: a keyword that is not known here would make every answer a no."""
    assert fits(value, SCHEMAS[name])


def test_a_good_render_does_not_load_jsonschema() -> None:
    """Which is what `fits` is for."""

    with tempfile.TemporaryDirectory() as folder:
        for name in ("topology.yaml", "kubeconfig.yaml"):
            shutil.copy(SEED / name, folder)
        code = f"import sys; from kubectl_mesh.cli import run; run(['render', '--check', '-C', {folder!r}]); print('jsonschema' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
        )
    assert done.stdout.splitlines()[-1] == "False"
