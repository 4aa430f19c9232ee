"""The mesh as a picture: what is drawn, that it can be read, that it is the same on every day, and that nothing secret is in it."""

import base64
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from kubectl_mesh.cli import clock as shell
from kubectl_mesh.graph.dot import _quoted as dot_label
from kubectl_mesh.graph.edges import BROKEN, NO_EDGE, READS, STALE, WAITS, Discovery
from kubectl_mesh.graph.mermaid import _escape_label as mermaid_text
from kubectl_mesh.graph.text_width import text_width, wrap_to_width
from tests.conftest import TOP, Golden, Run, WorkDir
from tests.support.goldens import CASES, DAY, GOLDEN, copy_case, rendered_tree
from tests.support.pictures import HOSTILE, ODD, REGIONS, fleet, graph, rendered

Make = Callable[..., WorkDir]
FORMATS = ("mermaid", "svg", "dot", "html")
PICTURES = TOP / "tests" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


def page_data(text: str) -> dict[str, object]:
    """The data in a page."""
    value: dict[str, object] = json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    )  # type: ignore[index]
    return value


@pytest.fixture
def seed(workdir: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> WorkDir:
    """The seed mesh, rendered on the day that tests fix."""
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)
    mesh = workdir(tokens=True)
    shutil.copy(GOLDEN / "istioctl/in/base.yaml", mesh / "base.yaml")
    (mesh / "base.yaml").write_text(
        "apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec: {version: v1.31.3}\n"
    )
    assert run("render", cwd=mesh).code == 0
    return mesh


@pytest.mark.parametrize(("form", "ending"), [("mermaid", "mmd"), ("svg", "svg"), ("dot", "dot")])
def test_the_seed_mesh(run: Run, seed: WorkDir, golden: Golden, form: str, ending: str) -> None:
    """Three clusters on two networks, byte for byte."""
    golden(PICTURES / f"seed.{ending}", graph(run, seed, "-o", form))


def test_readme_shows_the_seed_mesh(run: Run, seed: WorkDir, golden: Golden) -> None:
    """The README's picture is what the verb prints, Mermaid being the default."""
    page = TOP / "README.md"
    text, found = re.subn(
        r"(```mermaid\n).*?(```)",
        lambda m: m[1] + graph(run, seed) + m[2],
        page.read_text(),
        flags=re.DOTALL,
    )
    assert found == 1
    golden(page, text)


def test_the_page_about_pictures(seed: WorkDir) -> None:
    """Its commands run as they stand there, and its pictures are small."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (TOP / "docs/graph.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 2
    script = "".join(blocks).replace("kubectl mesh", f"{sys.executable} -m kubectl_mesh")
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=seed,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (seed / "mesh.md").read_text() == f"```mermaid\n{done.stdout}```\n"
    assert (seed / "mesh.html").read_text().startswith("<!doctype html>")
    images = list((TOP / "docs/images").iterdir())
    assert len(images) == 4
    assert max(i.stat().st_size for i in images) < 150_000


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_on_every_day(
    run: Run, seed: WorkDir, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Dates are told and not judged: even after everything has expired, the same bytes."""
    before = graph(run, seed, "-o", form)
    assert "2028-11-30" in before
    for days in (-1000, 710, 10000):
        monkeypatch.setattr(shell, "read_clock", lambda days=days: DAY + timedelta(days=days))
        assert graph(run, seed, "-o", form) == before


def test_judged_on_a_day(run: Run, seed: WorkDir) -> None:
    """--on says what expires soon or has expired: in words, and in the page's data."""
    assert "certs-expiring" not in graph(run, seed)
    assert graph(run, seed, "--on", "2028-11-20").count("certs-expiring") == 3
    late = graph(run, seed, "--on", "2028-12-20")
    assert late.count("CA until 2028-11-30<br/>✗ certs-expired") == 3
    assert (
        graph(run, seed, "--on", "today")
        == graph(run, seed, "--on", f"{DAY:%Y-%m-%d}")
        == graph(run, seed)
    )
    value = page_data(graph(run, seed, "-o", "html", "--on", "2028-11-20"))
    assert value["on"] == "2028-11-20T23:59:59Z"
    assert {c["id"]: c["status"] for c in value["checks"]}["certs-expiring"] == "warning"  # type: ignore[attr-defined]
    assert {c["id"]: c["status"] for c in page_data(graph(run, seed, "-o", "html"))["checks"]}[
        "certs-expiring"
    ] == "dated"  # type: ignore[attr-defined]
    ran = run("graph", "--on", "tomorrow", cwd=seed)
    assert (ran.code, '"tomorrow" is no day such as 2026-12-01' in ran.err) == (2, True)


def test_a_token_is_judged_on_a_day_only(run: Run, seed: WorkDir) -> None:
    """A token that says when it ends: told in the page, and broken on a day after that."""
    claims = (
        base64.urlsafe_b64encode(
            json.dumps(
                {"sub": "reader", "exp": int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())}
            ).encode()
        )
        .decode()
        .rstrip("=")
    )
    seed.token("context-west-1", f"eyJhbGciOiJub25lIn0.{claims}.c2lnbmF0dXJl")
    text = graph(run, seed)
    assert "token-exp" not in text
    assert "✗ token-expired" in graph(run, seed, "--on", "2026-12-01")
    page = graph(run, seed, "-o", "html")
    assert [c["tokens"] for c in page_data(page)["clusters"] if c["name"] == "context-west-1"] == [
        [{"peer": "", "expires": "2026-11-01T00:00:00Z"}]
    ]  # type: ignore[attr-defined]
    assert claims not in page


def secrets_of(case: Path) -> Iterator[str]:
    """What must never be seen: keys, tokens and ciphertexts of a golden case, as they stand there."""
    for path in sorted(case.rglob("*")):
        if (
            not path.is_file()
            or path.suffix in (".txt", ".crt")
            or path.name in ("topology.yaml", "base.yaml")
        ):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        if path.name.endswith((".token", "seal-key")):
            yield text.strip()
        for block in re.findall(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", text, re.DOTALL
        ):
            yield from (line.strip() for line in block.splitlines() if len(line.strip()) > 20)
        if "/out/" in str(path):
            yield from re.findall(r"ENC\[[^\]]*\]|data:([A-Za-z0-9+/=]{24,})", text)
            yield from re.findall(
                r'"?(?:ca-key\.pem|token|[a-z0-9-]+)"?: "?([A-Za-z0-9+/=]{60,})"?$',
                text,
                re.MULTILINE,
            )


@pytest.mark.parametrize("case", CASES)
def test_nothing_secret(run: Run, tmp_path: Path, case: str) -> None:
    """In no format, for no case: no key, no token, no ciphertext, nor the base64 of one."""
    mesh = copy_case(case, tmp_path / "mesh")
    shutil.rmtree(mesh / "out", ignore_errors=True)
    shutil.copytree(rendered_tree(case), mesh / "out")
    hidden = {s for s in secrets_of(mesh) if s}
    hidden |= {base64.b64encode(s.encode()).decode() for s in hidden if len(s) < 5000}
    # Mere names of files can be as long as a token; what is looked for is not in the topology.
    for form in FORMATS:
        text = graph(run, mesh, "-o", form)
        assert "PRIVATE KEY" not in text
        assert "AGE-SECRET-KEY" not in text
        assert not [s for s in hidden if s in text], form
        assert "not compared" not in text


def test_there_is_something_secret_to_look_for() -> None:
    """The test above would be empty if nothing was found in the cases."""
    assert len(set(secrets_of(rendered_tree("seed").parent))) > 10
    encrypted = secrets_of(rendered_tree("sops").parent)
    assert any(s.startswith("ENC[") or len(s) > 60 for s in encrypted)


# That it can be read


class Rect:
    """A place in the drawing."""

    def __init__(self, x: float, y: float, wide: float, high: float) -> None:
        self.x, self.y, self.right, self.bottom = x, y, x + wide, y + high

    def meets(self, other: "Rect") -> bool:
        return (
            self.x < other.right
            and other.x < self.right
            and self.y < other.bottom
            and other.y < self.bottom
        )

    def holds(self, other: "Rect") -> bool:
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.right <= self.right
            and other.bottom <= self.bottom
        )


SIZES = {"title": 20.0, "name": 14.0, "network": 15.0, "small": 12.0}


def drawn(
    text: str,
) -> tuple[Rect, list[Rect], list[Rect], list[tuple[str, Rect]], list[list[tuple[float, float]]]]:
    """The paper, the areas, the boxes, the texts and the lines of a drawing."""
    top = ET.fromstring(text)
    _, _, wide, high = map(float, top.attrib["viewBox"].split())
    areas, boxes, texts, lines = [], [], [], []

    def walk(node: ET.Element, x: float, y: float) -> None:
        move = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", node.attrib.get("transform", ""))
        x, y = (x + float(move[1]), y + float(move[2])) if move else (x, y)
        kind = node.attrib.get("class", "")
        if node.tag == f"{SVG}rect" and kind in ("ground", "box"):
            rect = Rect(
                x + float(node.attrib.get("x", 0)),
                y + float(node.attrib.get("y", 0)),
                float(node.attrib["width"]),
                float(node.attrib["height"]),
            )
            (areas if kind == "ground" else boxes).append(rect)
        if node.tag == f"{SVG}text" and node.text and not node.text.isdigit():
            size = next((s for k, s in SIZES.items() if k in kind.split()), 13.0)
            bold = kind in ("title", "name", "network", "statement", "sum") or "broken" in kind
            left, base = x + float(node.attrib.get("x", 0)), y + float(node.attrib.get("y", 0))
            texts.append(
                (
                    node.text,
                    Rect(left, base - 0.75 * size, text_width(node.text, size, bold=bold), size),
                )
            )
        if node.tag == f"{SVG}path" and kind == "wire" and "L" in node.attrib["d"]:
            lines.append(
                [
                    (float(a), float(b))
                    for a, b in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", node.attrib["d"])
                ]
            )
        for inner in node:
            walk(inner, x, y)

    walk(top, 0, 0)
    return Rect(0, 0, wide, high), areas, boxes, texts, lines


LONG = "arn:aws:eks:us-east-1:111122223333:cluster/checkout-and-payments-blue"


TANGLE: dict[str, dict[str, object]] = {
    f"{r}-{i}": {
        "peers": [
            f"{o}-{j}"
            for o in REGIONS[:3]
            for j in range(1, 9)
            if (o, j) != (r, i) and (i + 3 * j + len(o)) % 8
        ]
    }
    for r in REGIONS[:3]
    for i in range(1, 9)
}
"""Everybody reads all but a few, each other ones."""


@pytest.mark.parametrize(
    ("clusters", "networks", "over"),
    [
        (1, 1, {}),
        (3, 2, {}),
        (12, 3, {}),
        (12, 3, ODD),
        (12, 1, {}),
        (60, 5, {}),
        (60, 3, ODD),
        (60, 1, {}),
        (60, 5, {"eu-central-1": {"peers": []}}),
        (24, 3, TANGLE),
    ],
)
def test_it_can_be_read(
    run: Run, tmp_path: Path, clusters: int, networks: int, over: dict[str, dict[str, object]]
) -> None:
    """No box lies on another, no text on another or beyond its box, no line on a box; all inside the paper, and every name there."""
    mesh = fleet(tmp_path / "mesh", clusters, networks, over)
    text = graph(run, mesh, "-o", "svg")
    paper, areas, boxes, texts, lines = drawn(text)
    assert (len(areas), len(boxes)) == (networks, clusters)
    names = set(yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"])
    assert names <= {t for t, _ in texts}
    for group in (areas, boxes, [r for _, r in texts]):
        assert all(paper.holds(r) for r in group)
        assert not [1 for i, a in enumerate(group) for b in group[i + 1 :] if a.meets(b)]
    for box in boxes:
        assert sum(area.holds(box) for area in areas) == 1
        assert all(box.holds(r) for _, r in texts if box.meets(r)), "a text sticks out"
    for line in lines:
        for (ax, ay), (bx, by) in itertools.pairwise(line):
            stretch = Rect(min(ax, bx), min(ay, by), abs(ax - bx), abs(ay - by))
            assert not [
                b
                for b in boxes
                if b.meets(
                    Rect(
                        stretch.x + 0.1,
                        stretch.y + 0.2,
                        stretch.right - stretch.x,
                        stretch.bottom - stretch.y - 0.4,
                    )
                )
            ]
    stretches = [
        (i, *sorted(pair)) for i, line in enumerate(lines) for pair in itertools.pairwise(line)
    ]
    for (i, a, b), (j, c, d) in itertools.combinations(stretches, 2):
        along = a[1] == b[1] == c[1] == d[1] and a[0] < d[0] and c[0] < b[0]
        down = a[0] == b[0] == c[0] == d[0] and a[1] < d[1] and c[1] < b[1]
        assert i == j or not (along or down), "a line lies on another"
    assert paper.right <= 1240
    if clusters == 60:
        assert len(lines) <= 36
        assert paper.bottom < 2400


def test_small_text_is_not_too_small() -> None:
    """Nothing is set smaller than 11 pixels, in the drawing or on the page."""
    for name in ("graph-svg.css", "graph.css"):
        text = (TOP / "templates" / name).read_text()
        sizes = [
            float(n) * (15 if unit != "px" else 1)
            for n, unit in re.findall(r"font-size:([\d.]+)(px|rem|em)", text)
        ]
        assert sizes
        assert min(sizes) >= 11, name


def test_wrapping() -> None:
    """No line is wider than its room, nothing is lost, and words are kept whole where they can be."""
    for text in (
        "gateway 192.0.2.10:15443, gateway.us-east.example.com:15443",
        "a" * 200,
        LONG,
        "",
        "all 3 read each other",
    ):
        for room in (60.0, 150.0, 400.0):
            lines = wrap_to_width(text, room, 12)
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")
            assert all(text_width(line, 12) <= room or len(line) == 1 for line in lines)
    assert wrap_to_width("all 3 read each other", 90, 12) == ["all 3 read", "each other"]


def contrast(a: str, b: str) -> float:
    """The contrast of two colours by WCAG 2."""

    def light(colour: str) -> float:
        full = colour.lstrip("#")
        full = "".join(c * 2 for c in full) if len(full) == 3 else full
        parts = [int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [1, 2])
def test_contrast(mode: int) -> None:
    """Every colour of a text has 4.5:1 on every ground that it stands on, in light and in dark (WCAG AA)."""
    svg = (TOP / "templates/graph-svg.css").read_text()
    page = (TOP / "templates/graph.css").read_text()
    pairs = re.compile(r"light-dark\((#\w+),(#\w+)\)")
    texts = [
        re.search(pairs, line)[mode]
        for line in svg.splitlines()
        if re.match(r"\.mesh (text|\.soft|\.statement|text\.)", line) and "fill" in line
    ]  # type: ignore[index]
    grounds = [
        re.search(pairs, line)[mode]
        for line in svg.splitlines()
        if re.match(r"\.mesh \.(paper|ground|box)\{", line)
    ]  # type: ignore[index]
    names = dict(re.findall(r"--(\w+):(light-dark\([^)]*\))", page))
    colour = {name: re.search(pairs, value)[mode] for name, value in names.items()}  # type: ignore[index]
    texts += [colour[n] for n in ("ink", "soft", "accent", "ok", "warn", "bad")]
    grounds += [colour[n] for n in ("back", "paper")]
    assert len(texts) > 9
    assert not [
        (a, b, round(contrast(a, b), 2)) for a in texts for b in grounds if contrast(a, b) < 4.5
    ]
    assert contrast(colour["ink"], colour["tint"]) >= 4.5
    assert contrast(colour["accent"], colour["tint"]) >= 4.5


# What is drawn


def told(run: Run, mesh: Path, *words: str) -> tuple[str, list[str], list[str]]:
    """The statement, the lines and the notes of a picture."""
    value = page_data(graph(run, mesh, "-o", "html", *words))
    lines: list[dict[str, str]] = value["lines"]  # type: ignore[assignment]
    notes: list[dict[str, str]] = value["notes"]  # type: ignore[assignment]
    return (
        str(value["statement"]),
        [f"{line['kind']}: {line['text']}" for line in lines],
        [f"{n['kind']}: {n['text']}" for n in notes],
    )


def test_a_full_mesh_is_a_sentence(run: Run, tmp_path: Path) -> None:
    """However many clusters: no line at all."""
    assert told(run, rendered(run, fleet(tmp_path / "a", 12, 3))) == (
        "full mesh: every cluster reads every other",
        [],
        [],
    )
    assert told(run, fleet(tmp_path / "b", 60, 5)) == (
        "full mesh (once nothing is pending): every cluster reads every other",
        [],
        [],
    )
    assert told(run, rendered(run, fleet(tmp_path / "c", 1, 1))) == (
        "one cluster: there is nobody else to read",
        [],
        [],
    )


def test_exceptions_are_lines(run: Run, tmp_path: Path) -> None:
    """One-way, cut, edited and stale edges of a mesh that is otherwise full."""
    over: dict[str, dict[str, object]] = {
        "us-east-1": {"peers": ["us-east-2", "ap-south-1", "ap-south-2"]},
        "eu-central-1": {"peers": ["eu-central-2", "ap-south-1", "ap-south-2", "us-east-2"]},
    }
    mesh = rendered(run, fleet(tmp_path / "mesh", 6, 3, over))
    edited = mesh / "out/ap-south-1/3-mesh/remote-secrets/us-east-2.yaml"
    edited.write_text(edited.read_text() + "# mine\n")
    (mesh / "credentials/ap-south-2.token").write_text("another-token")
    statement, lines, notes = told(run, mesh)
    assert statement == "full mesh (but for exceptions): every cluster reads every other"
    assert lines == [
        "broken: the remote secret of us-east-2 in ap-south-1 was edited or deleted by hand",
        "one-way: eu-central-2 reads us-east-1, us-east-1 does not read eu-central-2",
        "cut: eu-central-1 and us-east-1 do not read each other",
    ]
    assert notes == [
        "pending: ap-south-2 is yet to be read by: ap-south-1, eu-central-1, eu-central-2 and 2 more"
    ]


def test_islands_hubs_and_nobody(run: Run, tmp_path: Path) -> None:
    """Where most do not read each other, what is there is drawn; where a network reads another one way, a sentence says so."""
    nobody: dict[str, dict[str, object]] = {
        f"{r}-{i}": {"peers": []} for r in REGIONS[:2] for i in (1, 2)
    }
    assert told(run, rendered(run, fleet(tmp_path / "a", 4, 2, nobody))) == (
        "no cluster reads another",
        [],
        [],
    )
    hub = {name: {"peers": ["eu-central-1"]} for name in nobody if name != "eu-central-1"} | {
        "eu-central-1": {"peers": []}
    }
    statement, lines, _ = told(run, rendered(run, fleet(tmp_path / "b", 4, 2, hub)))
    assert statement == "no full mesh: only single edges"
    assert [line.split(",")[0] for line in lines] == [
        "one-way: eu-central-2 reads eu-central-1",
        "one-way: us-east-1 reads eu-central-1",
        "one-way: us-east-2 reads eu-central-1",
    ]
    up = {
        f"us-east-{i}": {"peers": [f"us-east-{j}" for j in (1, 2, 3) if j != i]} for i in (1, 2, 3)
    }
    _, lines, notes = told(run, rendered(run, fleet(tmp_path / "c", 6, 2, up)))  # type: ignore[arg-type]
    assert (lines, notes) == (
        [],
        [
            "one-way: every cluster of eu-central reads every one of us-east, and none of us-east reads back"
        ],
    )


def test_what_is_not_drawn_is_counted(run: Run, tmp_path: Path) -> None:
    """So many exceptions that no picture shows them: the most urgent are drawn, and a note says how many are not."""
    # Everyone reads those whose number is not theirs by two: no two clusters have five exceptions of one kind.
    names = [f"eu-central-{i}" for i in range(1, 41)]
    over: dict[str, dict[str, object]] = {
        n: {"peers": [m for j, m in enumerate(names) if j not in (i, (i + 1) % 40, (i + 7) % 40)]}
        for i, n in enumerate(names)
    }
    statement, lines, notes = told(run, fleet(tmp_path / "mesh", 40, 1, over))
    assert statement.startswith("full mesh (but for exceptions")
    assert len(lines) == 24
    assert notes == [
        "cut: 56 more pairs not drawn (56 one-way): ask for some clusters with --cluster, or for -o html"
    ]


def test_edges_as_bits() -> None:
    """The bits of every edge are the letters of the rows; an edge is in trouble unless it works or one of its ends shows what it waits for."""
    dice = random.Random(7)
    names = tuple("abcdefg")
    seen: set[tuple[str, bool, bool]] = set()
    for _ in range(60):
        rows = {
            a: "".join(
                NO_EDGE if a == b else dice.choice((NO_EDGE, READS, WAITS, STALE, BROKEN))
                for b in names
            )
            for a in names
        }
        whole = frozenset(dice.sample(names, 3))
        reading = Discovery(names, rows, {name: place for place, name in enumerate(names)}, whole)
        edges = reading.to_edges()
        for (at, a), (to, b) in itertools.product(enumerate(names), repeat=2):
            letter = rows[a][to]
            fine = (
                letter in (NO_EDGE, READS)
                or (letter == WAITS and (a in whole or b in whole))
                or (letter == STALE and a in whole)
            )
            assert [e >> to & 1 for e in (edges.reads[a], edges.troubles[a])] == [
                letter != NO_EDGE,
                not fine,
            ]
            assert [e >> at & 1 for e in (edges.read_by[b], edges.troubled_by[b])] == [
                letter != NO_EDGE,
                not fine,
            ]
            seen.add((letter, a in whole, b in whole))
    assert len(seen) == 5 * 4


def test_primary_and_remote(run: Run, tmp_path: Path) -> None:
    """A cluster without an istiod is served, and reads nobody; that is no exception."""
    mesh = copy_case("primary-remote", tmp_path / "mesh")
    assert run("render", cwd=mesh).code == 0
    assert told(run, mesh) == (
        "full mesh: every istiod reads every other cluster",
        ["served: west is served by the istiod of east"],
        [],
    )
    assert "served by east" in graph(run, mesh)


def test_some_clusters(run: Run, tmp_path: Path, workdir: Make) -> None:
    """--cluster draws those and whom they are tied to; edges among the others are left out; a wrong name is an error."""
    mesh = fleet(
        tmp_path / "mesh",
        6,
        3,
        {
            "us-east-1": {"peers": ["us-east-2"]},
            "us-east-2": {"peers": ["us-east-1"]},
            "ap-south-1": {"peers": []},
        },
    )
    value = page_data(graph(run, mesh, "-o", "html", "--cluster", "ap-south-1"))
    assert {c["name"] for c in value["clusters"]} == {
        "ap-south-1",
        "ap-south-2",
        "eu-central-1",
        "eu-central-2",
    }  # type: ignore[attr-defined]
    ran = run("graph", "--cluster", "ap-south-9", cwd=mesh)
    assert (ran.code, 'did you mean "ap-south-1"' in ran.err or "no cluster" in ran.err) == (
        2,
        True,
    )


def test_a_broken_mesh_is_drawn(run: Run, seed: WorkDir) -> None:
    """With the wrong certificate in one cluster nothing can be rendered: the picture says so there, and the rest is drawn."""
    shutil.copy(
        GOLDEN / "seed/in/certs/intermediate-context-east-2/ca-cert.pem",
        seed / "certs/intermediate-context-east-2/ca-cert.pem",
    )
    text = graph(run, seed)
    assert re.search(
        r"<b>context-east-2</b><br/>Istio 1.31.3<br/>CA broken<br/>✗ certs-[a-z]+.*:::broken", text
    )
    assert text.count("CA until 2028-11-30") == 2
    assert "the tree could not be compared with a render" in text
    (seed / "certs/root-cert.pem").write_bytes(b"nonsense")
    assert "root not known" in graph(run, seed, "-o", "svg")


def test_nothing_to_draw(run: Run, tmp_path: Path) -> None:
    """No topology, or one that is not valid: what is wrong, and no picture."""
    ran = run("graph", cwd=tmp_path)
    assert (ran.code, ran.out, "topology.yaml: is not there" in ran.err) == (2, "", True)
    (tmp_path / "topology.yaml").write_text(
        "mesh_id: a\ncontexts: {x: {network: east, netwrk: east}}\n"
    )
    ran = run("graph", "-o", "svg", cwd=tmp_path)
    assert (ran.code, ran.out, "contexts.x.netwrk: unknown field" in ran.err) == (2, "", True)


# Formats


def test_graphviz_takes_it(run: Run, tmp_path: Path) -> None:
    """`dot` lays out every kind of line without a warning."""
    program = shutil.which("dot")
    if program is None:
        pytest.skip("graphviz (dot) is not on PATH")
    for number, over in enumerate(({}, ODD)):
        text = graph(run, fleet(tmp_path / f"m{number}", 12, 3, over), "-o", "dot")
        done = subprocess.run(
            [program, "-Tsvg"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count('class="node"') >= 12


def test_names_cannot_break_out(run: Run, tmp_path: Path) -> None:
    """A context and an organization full of markup: data in the page, text in the SVG, entities in Mermaid, escaped in DOT."""
    mesh = fleet(tmp_path / "mesh", 2, 1, top={"organization": "<b>\"'&</title>"})
    value = yaml.safe_load((mesh / "topology.yaml").read_text())
    value["contexts"][HOSTILE] = {
        **value["contexts"]["eu-central-1"],
        "clusterName": "odd",
        "server": "https://203.0.113.99:6443",
    }
    (mesh / "topology.yaml").write_text(yaml.safe_dump(value))
    assert run("render", cwd=mesh).code == 0
    text = graph(run, mesh, "-o", "html")
    assert "alert(1)</script" not in text
    assert text.count("<script") == text.count("</script") == 2
    odd = next(c for c in page_data(text)["clusters"] if c["name"] == "odd")  # type: ignore[attr-defined]
    assert odd["context"] == HOSTILE
    assert odd["certificate"]["subject"].startswith("O=<b>")
    ET.fromstring(graph(run, mesh, "-o", "svg"))
    for form in ("mermaid", "dot"):
        assert "<script" not in graph(run, mesh, "-o", form)


def test_the_page_needs_no_network(run: Run, seed: WorkDir) -> None:
    """Nothing from elsewhere, and a policy that forbids it, with the hashes of what is inline; no handler or style attribute."""
    text = graph(run, seed, "-o", "html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]  # type: ignore[index]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    outside = re.sub(r"<script.*?</script>|<style>.*?</style>", "", text, flags=re.DOTALL)
    assert not re.search(r"\s(?:src|on\w+|style)=", outside)
    assert set(re.findall(r'\bhref="([^"]*)"', outside)) == {"data:,", "#clusters"}
    assert not re.findall(
        r"url\(|@import|https?://", re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    )  # type: ignore[index]
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0]
    assert not re.findall(
        r"fetch\(|XMLHttp|WebSocket|https?://|innerHTML|insertAdjacent|document\.write|eval\(|new Function",
        script,
    )
    assert len(text.encode()) < 120_000


def test_labels_end_where_they_should() -> None:
    """Whatever could end a label, or be markup in it, is written otherwise."""
    assert mermaid_text('a"]; click <b>#é') == "a#34;#93;#59; click #60;b#62;#35;é"
    assert dot_label('a"b\\', "c") == '"a\\"b\\\\\\nc"'


def test_mermaid_text_is_only_text(run: Run, tmp_path: Path) -> None:
    """One line each; labels in quotes that nothing in them ends."""
    for line in graph(run, fleet(tmp_path / "mesh", 12, 3, ODD)).splitlines():
        if line.startswith("%%"):
            continue
        assert line.count('"') in (0, 2), line
        assert ";" not in re.sub(r"#\d+;|; ", "", line), line
