"""The rotation of a root: three changes of `certs/`, each safe however late and in whatever order
the clusters apply it.

    begin -> trust-both -> sign-new -> drop-old -> done
                 |            |
                 |            +-- abort -> sign-old -> drop-new -> done
                 +-- abort -> drop-new -> done

Every arrow but abort waits until each cluster has been seen to hold the step before it.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model.issuers import ISSUERS
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.text import mesh_command, value_text, work_path
from kubectl_mesh.x509.certificates import is_for_key, load_certificates, load_key
from kubectl_mesh.x509.chain import find_root
from kubectl_mesh.x509.layout import (
    ARCHIVE_FOLDER,
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    ROTATION_FILE,
    intermediate_folder,
)

NEXT_STEPS = {
    "trust-both": "sign-new",
    "sign-new": "drop-old",
    "drop-old": "",
    "sign-old": "drop-new",
    "drop-new": "",
}
"""Each step, and the one that `advance` leads to; "": the rotation is over."""
ABORT_STEPS = {"trust-both": "drop-new", "sign-new": "sign-old"}
"""Where `abort` leads to, while the old root is trusted."""
WAITING_STEPS = frozenset(("trust-both", "sign-new", "sign-old"))
"""The steps after which every certificate of a workload has to be made anew before the next one."""
RESTORE_FROM_GIT_FIX = "put it back as git has it"
_FILE = work_path(f"certs/{ROTATION_FILE}")
_FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where a rotation stands: the roots by their fingerprints, and since when."""

    step: str
    old_roots: tuple[str, ...]
    new_root: str
    since: datetime
    is_union: bool = False
    """The old roots are those of running clusters that come under one: each has its own, and some
    may have the new one from the start.
    """

    @property
    def signs_with_new_root(self) -> bool:
        """Whether the new root signs."""
        return self.step in ("sign-new", "drop-old")


def read_rotation(files: Mapping[str, bytes]) -> Rotation | None:
    """The rotation that is on; None where there is none."""
    if ROTATION_FILE not in files:
        return None
    place = Place(f"certs/{ROTATION_FILE}")
    try:
        value = json.loads(files[ROTATION_FILE])
        rotation = _parse_rotation(value)
    except (ValueError, KeyError, TypeError, RecursionError):
        problem = Problem(
            place,
            "does not say where the rotation of the root stands",
            RESTORE_FROM_GIT_FIX,
            "certs-readable",
            code="rotation-file-unreadable",
        )
        raise MeshError([problem]) from None
    if unknown := sorted(set(value) - {"step", "old", "new", "since", "union"}):
        problem = Problem(
            place,
            f"has {', '.join(map(value_text, unknown))}, which this version of kubectl mesh does"
            " not"
            " know",
            f"use the version that wrote it, or {RESTORE_FROM_GIT_FIX}",
            "certs-readable",
            code="rotation-file-of-another-version",
        )
        raise MeshError([problem])
    return rotation


def _parse_rotation(value: Any) -> Rotation:
    """The rotation of a parsed file; raises ValueError, KeyError or TypeError."""
    step, old, new = value["step"], value["old"], value["new"]
    since = datetime.strptime(value["since"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    marks = [*old, new]
    if (
        value.get("union", True) is not True
        or step not in NEXT_STEPS
        or type(old) is not list
        or not old
        or not all(map(_FINGERPRINT.fullmatch, marks))
        or len(set(marks)) < len(marks)
    ):
        raise ValueError
    return Rotation(step, tuple(old), new, since, "union" in value)


def check_state(files: Mapping[str, bytes], issuer: str) -> None:
    """Raises a `MeshError` where `certs/` is not what the step says: one was edited, or put back
    from another commit, without the other.

    With the issuer `local` the key that is here signs; with `csr` it lies idle; with others, no
    rotation could go on.
    """
    rotation = read_rotation(files)
    problems = (
        _stray_key_problems(files)
        if rotation is None
        else _issuer_problems(rotation, issuer)
        or _root_problems(rotation, files)
        or _key_problems(rotation, files, issuer)
    )
    if problems:
        raise MeshError(problems)


def _stray_key_problems(files: Mapping[str, bytes]) -> list[Problem]:
    """That the key of a next root is there, and no rotation."""
    if NEXT_ROOT_KEY not in files:
        return []
    what = f"is there, as of a rotation that is on, but {_FILE}, which says where it stands, is not"
    fix = (
        f"put {_FILE} back as git has it; where that rotation was given up, move"
        f" the key to {work_path(f'certs/{ARCHIVE_FOLDER}')}"
    )
    return [
        Problem(
            Place(f"certs/{NEXT_ROOT_KEY}"),
            what,
            fix,
            "certs-complete",
            code="rotation-file-missing",
        )
    ]


def _issuer_problems(rotation: Rotation, issuer: str) -> list[Problem]:
    """That the issuer of the topology has a root of its own."""
    if not ISSUERS[issuer].in_clusters:
        return []
    what = (
        f"says that a rotation is on ({rotation.step}), and the topology says issuer: {issuer},"
        " which has a root of its own"
    )
    fix = (
        "write the issuer as it was, and finish the rotation or go back; where that mesh is no"
        f" more, move {work_path('certs/')} away"
    )
    return [
        Problem(
            Place(f"certs/{ROTATION_FILE}"),
            what,
            fix,
            "certs-chain",
            code="rotation-of-another-issuer",
        )
    ]


def _roots(files: Mapping[str, bytes]) -> tuple[x509.Certificate, ...]:
    return load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT]) if ROOT_CERT in files else ()


def _root_problems(rotation: Rotation, files: Mapping[str, bytes]) -> list[Problem]:
    """That the bundle does not have the roots of the step."""
    found_roots = {sha256_fingerprint(root) for root in _roots(files)}
    known = {**dict.fromkeys(rotation.old_roots, "old"), rotation.new_root: "new"}
    expected_roots = {mark for mark, which in known.items() if rotation.step != f"drop-{which}"}
    wrong = [
        f"lacks the {known[mark]} root (sha256 {mark[:16]}…)"
        for mark in known
        if mark in expected_roots - found_roots
    ]
    wrong += [
        f"holds the {known.get(mark, 'unknown')} root (sha256 {mark[:16]}…)"
        for mark in sorted(found_roots - expected_roots)
    ]
    if not wrong:
        return []
    bundle = work_path(f"certs/{ROOT_CERT}")
    what = f"says {rotation.step}, but {bundle} {', and '.join(wrong)}"
    return [
        Problem(
            Place(f"certs/{ROTATION_FILE}"),
            what,
            f"put both back, with all of {work_path('certs/')}, as one commit of git has them",
            "certs-chain",
            code="rotation-of-other-roots",
        )
    ]


def _key_problems(rotation: Rotation, files: Mapping[str, bytes], issuer: str) -> list[Problem]:
    """That the key here is not that of a root that signs at the step."""
    is_silent = rotation.is_union and not rotation.signs_with_new_root
    if not ISSUERS[issuer].signs_here or ROOT_KEY not in files or is_silent:
        return []
    key = load_key(f"certs/{ROOT_KEY}", files[ROOT_KEY], for_istio=False)
    expected, signs = (
        ("new", {rotation.new_root})
        if rotation.signs_with_new_root
        else ("old", set(rotation.old_roots))
    )
    if not any(
        is_for_key(root, key) and sha256_fingerprint(root) not in signs for root in _roots(files)
    ):
        return []
    return [
        Problem(
            Place(f"certs/{ROOT_KEY}"),
            f"is not the key of the {expected} root, which signs at {rotation.step}",
            f"put the {expected} root's key there, and keep this one elsewhere",
            "certs-pair",
            code="root-key-of-another-root",
        )
    ]


def dump_rotation(rotation: Rotation) -> bytes:
    """The file that says where a rotation stands; public."""
    value: dict[str, object] = {
        "step": rotation.step,
        "old": list(rotation.old_roots),
        "new": rotation.new_root,
        "since": f"{rotation.since:%Y-%m-%dT%H:%M:%SZ}",
    }
    value |= {"union": True} if rotation.is_union else {}
    return json.dumps(value, indent=2).encode() + b"\n"


def sha256_fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256, lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def read_trust(files: Mapping[str, bytes], names: Sequence[str]) -> dict[str, Trust]:
    """What the clusters are to trust by the files of `certs/`, and what signs in each."""
    roots = load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT])
    fingerprints = tuple(map(sha256_fingerprint, roots))
    trust = {}
    for name in names:
        base = intermediate_folder(name)
        if f"{base}/ca-cert.pem" not in files:
            continue
        chain = load_certificates(f"certs/{base}/ca-cert.pem", files[f"{base}/ca-cert.pem"])
        if f"{base}/cert-chain.pem" in files:
            chain += load_certificates(
                f"certs/{base}/cert-chain.pem", files[f"{base}/cert-chain.pem"]
            )
        signer = find_root(chain, roots)
        trust[name] = Trust(fingerprints, None if signer is None else sha256_fingerprint(signer))
    return trust


def next_step(rotation: Rotation, signers: Collection[str]) -> str:
    """The step that `advance` leads to, "" for the end; `signers` are the roots that sign now."""
    step = NEXT_STEPS[rotation.step]
    # Back from a union, where some had the one root from the start: it stays.
    return (
        "trust-both"
        if step == "drop-new" and rotation.is_union and rotation.new_root in signers
        else step
    )


def abort_step(rotation: Rotation, signers: Collection[str]) -> str | None:
    """The step that `abort` leads to, None where there is none."""
    step = ABORT_STEPS.get(rotation.step)
    return (
        "drop-old"
        if step == "drop-new" and rotation.is_union and rotation.new_root in signers
        else step
    )


def wait_problem(
    rotation: Rotation, seen_for: timedelta | None, wait: timedelta, now: datetime
) -> Problem | None:
    """Why it is too early to advance, by what was seen; None where it is not. `wait` is how long a
    certificate of a workload may live.
    """
    minimum_text = _hours_text(wait)
    place = Place("--seen-for")
    if rotation.since > now:
        what = (
            f"says that {rotation.step} was made on {rotation.since:%Y-%m-%d %H:%M} UTC, which is"
            " yet to come: this clock, or the one of that day, is wrong"
        )
        fix = 'set the clock right; where it is, write under "since" when the step was made'
        return Problem(Place(f"certs/{ROTATION_FILE}"), what, fix, code="rotation-in-the-future")
    if seen_for is None:
        return Problem(
            place,
            f"is missing: whether every cluster holds {rotation.step} cannot be told from here",
            f"look, wait {minimum_text}, and give the time" if wait else "look, and give 0h",
            code="seen-for-missing",
        )
    if seen_for < wait:
        what = (
            f"is {_hours_text(seen_for)}; until {minimum_text} have passed in every cluster,"
            " workloads may hold"
            f" what is older than {rotation.step}"
        )
        return Problem(
            place, what, f"wait, and give {minimum_text} or more", code="seen-for-too-short"
        )
    if seen_for > now - rotation.since:
        what = (
            f"is longer than the step is old: {rotation.step} was made on"
            f" {rotation.since:%Y-%m-%d %H:%M} UTC"
        )
        return Problem(place, what, "give the time that was seen", code="seen-for-longer-than-step")
    return None


def _hours_text(time: timedelta) -> str:
    return f"{-int(-time.total_seconds() // 3600)}h"


def wrong_signer_problems(
    rotation: Rotation | None, file: str, chain: bytes, bundle: bytes, current: bytes | None = None
) -> list[Problem]:
    """Why an intermediate that comes from elsewhere may not be used now: another root is to sign.
    `current` is the chain of the one in use.
    """
    if rotation is None:
        return []
    signer = find_root(
        load_certificates(file, chain), load_certificates(f"certs/{ROOT_CERT}", bundle)
    )
    current_chain = load_certificates(file, current) if current is not None else ()
    keeps_new_root = (
        rotation.is_union
        and bool(current_chain)
        and _signer_fingerprint(current_chain, bundle) == rotation.new_root
    )
    if signer is None or (sha256_fingerprint(signer) == rotation.new_root) == (
        rotation.signs_with_new_root or keeps_new_root
    ):
        return []
    wrong, right = ("old", "new") if rotation.signs_with_new_root else ("new", "old")
    what = f"is signed by the {wrong} root, and the rotation of the root is at {rotation.step}"
    return [
        Problem(
            Place(file),
            what,
            f"have it signed by the {right} root",
            "certs-chain",
            code="intermediate-signed-by-wrong-root",
        )
    ]


def _signer_fingerprint(chain: Sequence[x509.Certificate], bundle: bytes) -> str:
    root = find_root(chain, load_certificates(f"certs/{ROOT_CERT}", bundle))
    return sha256_fingerprint(root) if root is not None else ""


def untrusted_signer_problems(
    files: Mapping[str, bytes], names: Sequence[str], issuer: x509.Certificate | None
) -> list[Problem]:
    """Why these clusters may not get an intermediate of `issuer` yet: not every cluster trusts it.
    None stands for a root whose key is not in use.
    """
    rotation = read_rotation(files)
    if (
        rotation is None
        or rotation.signs_with_new_root
        or (
            sha256_fingerprint(issuer) != rotation.new_root
            if issuer is not None
            else not rotation.is_union
        )
    ):
        return []
    trust = read_trust(files, names)
    problems = []
    for name in names:
        if name in trust and trust[name].signer == rotation.new_root:
            continue
        what = (
            "would be signed by a root that not every cluster trusts before the rotation of the"
            f" root is past {rotation.step}"
        )
        fix = f"`{mesh_command('certs rotate-root advance')}` makes it, once all trust that root"
        if name not in trust:
            fix = (
                f"take in what signs there: `{mesh_command(f'certs import {name} FILE')}`; if it"
                f" runs nothing yet, `{mesh_command('certs rotate-root advance')}` first"
            )
        problems.append(
            Problem(
                Place(f"certs/{intermediate_folder(name)}/ca-cert.pem"),
                what,
                fix,
                "certs-chain",
                code="root-not-trusted-everywhere",
            )
        )
    return problems
