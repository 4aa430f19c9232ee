"""What ends when: a calendar, and alerts."""

import base64
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubectl_mesh.cli import clock as shell
from kubectl_mesh.model import Expiry
from kubectl_mesh.render.alerts import parse_token_dates
from kubectl_mesh.reports.calendar import calendar_text
from tests.conftest import Run, WorkDir
from tests.support.goldens import DAY, GOLDEN, copy_case, read_files

END = datetime(2027, 11, 1, 12, 30, 5, tzinfo=UTC)
ONE = Expiry(
    END,
    "intermediate-east",
    "intermediate",
    "east",
    "the intermediate of east",
    "renew it; then render, and apply",
    END - timedelta(days=730),
)


EVENT = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//kubectl-mesh//dates//EN
X-WR-CALNAME:mesh acme
BEGIN:VEVENT
UID:intermediate-east.acme@kubectl-mesh
DTSTAMP:20251101T123005Z
DTSTART:20271101T123005Z
SUMMARY:acme: the intermediate of east ends
DESCRIPTION:renew it\\; then render\\, and apply
CATEGORIES:intermediate
TRANSP:TRANSPARENT
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:acme: the intermediate of east ends in 30 days
TRIGGER:-P30D
END:VALARM
END:VEVENT
END:VCALENDAR
"""


def test_a_calendar_to_the_letter() -> None:
    """One event, as RFC 5545 wants it: CR LF, escapes, UTC; nothing of the clock."""
    assert calendar_text("acme", [ONE]) == EVENT.replace("\n", "\r\n")


def test_a_renewed_thing_is_the_same_event() -> None:
    """Its UID stays, its date moves, and DTSTAMP is later, by which a calendar knows the newer one."""
    later = Expiry(END + timedelta(days=700), ONE.id, ONE.kind, ONE.subject, ONE.what, ONE.fix, END)
    old, new = (calendar_text("acme", [date]).split("\r\n") for date in (ONE, later))
    assert old[5] == new[5]
    assert [i for i in range(len(old)) if old[i] != new[i]] == [6, 7]
    assert old[6] < new[6]


@given(
    st.lists(
        st.text(
            alphabet=st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=200
        ),
        max_size=4,
    )
)
def test_lines_are_folded_and_read_back(texts: list[str]) -> None:
    """No line has more than 75 octets, each ends in CR LF, and what was folded and escaped reads back, in any order; format characters are escaped."""
    entries = [
        Expiry(END, f"{number}", "root", "mesh", "w", text, None)
        for number, text in enumerate(texts)
    ]
    made = calendar_text("acme", entries).encode()
    assert made == calendar_text("acme", reversed(entries)).encode()
    lines = made.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 75 and b"\r" not in line and b"\n" not in line for line in lines)
    assert all(line.decode() for line in lines)
    unfolded = made.replace(b"\r\n ", b"").decode().split("\r\n")
    read = [
        line.removeprefix("DESCRIPTION:") for line in unfolded if line.startswith("DESCRIPTION:")
    ][::2]
    plain = [t.replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\") for t in read]
    assert plain == texts


def rules(path: Path) -> list[dict[str, Any]]:
    """The rules of a rendered object."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["spec"]["groups"][0]["rules"]
    return found


def jwt(**claims: object) -> str:
    """A token that says something of itself."""
    return ".".join(
        [
            *(
                base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=")
                for p in ({"alg": "none"}, claims)
            ),
            "c2lnbmF0dXJl",
        ]
    )


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of the golden trees."""
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)


def test_alerts_come_in_time_and_not_at_once(tmp_path: Path, run: Run) -> None:
    """30 and 7 days before, or a third and a tenth of a short life; never for what has just been made."""
    mesh = WorkDir(copy_case("revoked", tmp_path / "mesh"))
    born = int(DAY.timestamp())
    mesh.token("east", jwt(iat=born, exp=born + 3600))
    mesh.token("west", jwt(iat=born, exp=born + 400 * 86400))
    assert run("render", cwd=mesh).code == 0
    for name, life, early in (
        ("east", 3600, (1200, 360)),
        ("west", 400 * 86400, (30 * 86400, 7 * 86400)),
    ):
        mine = [
            r
            for r in rules(mesh / f"out/{name}/3-mesh/expiry-alerts.yaml")
            if r["labels"]["kind"] == "token"
        ]
        assert [r["labels"]["severity"] for r in mine] == ["warning", "critical"]
        assert [int(r["expr"].removeprefix("vector(time()) > ")) - born for r in mine] == [
            life - e for e in early
        ]
        assert all(int(r["expr"].rpartition(" ")[2]) > born for r in mine)
    kinds = [r["labels"]["id"] for r in rules(mesh / "out/east/3-mesh/expiry-alerts.yaml")]
    assert len(kinds) == len(set(kinds)) * 2 == 10


def test_a_sealed_token_that_is_not_here_keeps_its_date(tmp_path: Path, run: Run) -> None:
    """A render where the tokens are and one where they are not give the same bytes."""
    mesh = WorkDir(copy_case("sops", tmp_path / "mesh"))
    mesh.token("east", jwt(iat=int(DAY.timestamp()), exp=int(END.timestamp())))
    mesh.topology({"alerts": {"prometheusRule": True, "namespace": "monitoring"}})
    assert run("render", "--with-restarts", cwd=mesh).code == 0
    tree = read_files(mesh / "out")
    told = yaml.safe_load(tree["east/3-mesh/expiry-alerts.yaml"])
    assert told["metadata"] == {"name": "kubectl-mesh-expiry", "namespace": "monitoring"}
    assert (
        "the token by which its peers read east ends on 2027-11-01 12:30 UTC"
        in tree["east/3-mesh/expiry-alerts.yaml"].decode()
    )
    shutil.rmtree(mesh / "credentials")
    assert run("render", "--check", cwd=mesh).code == 0
    assert read_files(mesh / "out") == tree
    assert parse_token_dates("- a person's file") == parse_token_dates("a: [") == {}


def test_a_name_is_no_template(tmp_path: Path, run: Run) -> None:
    """Prometheus takes annotations for templates: what looks like one in a name is none."""
    mesh = WorkDir(copy_case("two-networks", tmp_path / "mesh"))
    mesh.topology({"organization": "{{ $value }}", "alerts": {"prometheusRule": True}})
    shutil.rmtree(mesh / "certs")
    assert run("render", cwd=mesh).code == 0
    found = [
        r["annotations"]["summary"]
        for r in rules(mesh / "out/east/3-mesh/expiry-alerts.yaml")
        if r["labels"]["kind"] == "root"
    ]
    assert found[0].startswith('the root O={{ "{{" }} $value }}, CN=Root CA ends on ')


def test_certificates_as_a_calendar(tmp_path: Path, run: Run) -> None:
    """What `certs status -o ics` prints: the root, every intermediate, what is revoked; the same on every day."""
    mesh = WorkDir(copy_case("revoked", tmp_path / "mesh"))
    ran = run("certs", "status", "-o", "ics", cwd=mesh)
    assert ran.code == 0
    assert ran.out.splitlines(keepends=True)[0] == "BEGIN:VCALENDAR\r\n"
    assert sorted(re.findall(r"UID:([a-z-]+)", ran.out)) == [
        "crl",
        "intermediate-east",
        "intermediate-west",
        "root-",
        "server-ca-east",
        "server-ca-west",
    ]
    status = json.loads(run("certs", "status", "-o", "json", cwd=mesh).out)
    ends = {
        one["notAfter"].replace("-", "").replace(":", "")
        for one in (*status["roots"], *status["intermediates"], *status["servers"])
    }
    assert ends < set(re.findall(r"DTSTART:(\w+)", ran.out))
    (mesh / "certs/ca-crl.pem").unlink()
    assert "UID:crl" not in run("certs", "status", "-o", "ics", cwd=mesh).out


def test_tokens_as_a_calendar(tmp_path: Path, run: Run) -> None:
    """What `tokens status -o ics` prints: the tokens that end; one that never does is no event."""
    mesh = WorkDir(copy_case("revoked", tmp_path / "mesh"))
    ran = run("tokens", "status", "-o", "ics", cwd=mesh)
    assert ran.code == 0
    assert ran.out.count("BEGIN:VEVENT") == 1
    assert "UID:token-east-g1.acme@kubectl-mesh" in ran.out
    assert "DTSTART:20271101T000000Z" in ran.out
    assert (
        run("tokens", "status", "-o", "ics", "--cluster", "west", cwd=mesh).out.count("VEVENT") == 0
    )
    assert (GOLDEN / "revoked").is_dir()
