"""The decade: no pair of clusters is ever cut, by some seeds; and broken on purpose, it tells at once. `make decade` runs a thousand."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from kubectl_mesh.model import CertsChange
from kubectl_mesh.pki import rotation, rotation_changes
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.layout import ROOT_CERT
from tools import decade
from tools.decade import CutError, Decade

CHUNKS, SEEDS = 2, 8


@pytest.fixture(autouse=True, scope="module")
def _remember() -> None:
    decade.remember()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_pair_is_ever_cut(chunk: int) -> None:
    """Operators do what the tool lets them, clusters apply it late and in any order: whoever ought to talk always can."""
    runs = [Decade(seed).run() for seed in range(chunk, SEEDS, CHUNKS)]
    assert min(run.renders for run in runs) > 50
    assert sum(run.rotations for run in runs) > 10
    assert sum(run.refused for run in runs) > 10
    assert sum(run.token_rotations for run in runs) > 10
    assert sum(run.revocations for run in runs) > 2
    assert sum(run.cuts for run in runs) > 0, "what is revoked is still taken"
    assert sum(run.checked for run in runs) > 10_000


def test_the_same_seed_tells_the_same_story() -> None:
    """What fails can be looked at again."""
    first, second = (Decade(5, years=2).run().story for _ in range(2))
    assert first == second
    assert len(first) > 50


def cut_within(
    seeds: int, *, first: int = 0, prepared: bool = False, revokes: bool | None = None
) -> str:
    """The story of the first of some seeds whose traffic is cut; `first` saves those of which it is known that they take long."""
    for seed in range(first, first + seeds):
        try:
            Decade(seed, prepared=prepared, revokes=revokes).run()
        except CutError as cut:
            return str(cut)
    pytest.fail(f"{seeds} decades were broken on purpose, and none was cut")


def test_a_broken_barrier_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a step taken before every cluster holds the one before, traffic would be cut."""

    def anyhow(self: Decade, state: rotation.Rotation) -> timedelta:
        return self.now - state.since

    monkeypatch.setattr(Decade, "seen_for", anyhow)
    story = cut_within(3)
    assert "CUT: " in story
    assert "advance: " in story


def test_a_broken_wait_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it not waited for the certificates of the workloads, traffic would be cut."""
    monkeypatch.setattr(rotation, "wait_problem", lambda *args: None)
    story = cut_within(12, first=3)
    assert "which trusts CN=Root CA" in story


def test_a_broken_bundle_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the old text not in the new one as it was, an istiod up to 1.29 would ignore it."""
    begin = rotation_changes.begin_rotation

    def broken(wanted: Any, have: CertsFolder, now: datetime) -> CertsChange:
        change = begin(wanted, have, now)
        bundle = change.write[ROOT_CERT]
        bundle = (
            bundle.replace(b"\r\n", b"\n") if b"\r" in bundle else bundle.replace(b"\n", b"\r\n")
        )
        return replace(
            change,
            write={
                p: bundle if p.endswith("root-cert.pem") else b for p, b in change.write.items()
            },
        )

    monkeypatch.setattr(rotation_changes, "begin_rotation", broken)
    assert "(1.29.10) ignores the roots of render" in cut_within(4, prepared=True)


def test_a_skipped_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the new root to sign in the very render that brings it, traffic would be cut; the render refuses, so that is broken too."""
    begin = rotation_changes.begin_rotation

    def at_once(wanted: Any, have: CertsFolder, now: datetime) -> CertsChange:
        change = begin(wanted, have, now)
        kept = {**have.files, **change.write}
        state = rotation.read_rotation(kept)
        assert state is not None
        signs = rotation_changes.advance_rotation(
            state, wanted, replace(have, files=kept), now, local=True
        )
        put = {p: b for p, b in change.write.items() if p not in signs.rename} | dict(signs.write)
        put[signs.rename.pop("next-root-key.pem")] = kept["next-root-key.pem"]  # type: ignore[attr-defined]
        return replace(signs, write=put)

    monkeypatch.setattr(rotation_changes, "begin_rotation", at_once)
    monkeypatch.setattr(decade.trusting, "find_cuts", lambda before, after: ())
    assert "does not accept" in cut_within(3)


def test_roots_by_hand_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Did a render take whatever is in certs/, a root made by hand would cut traffic."""
    monkeypatch.setattr(decade.trusting, "find_cuts", lambda before, after: ())
    assert "somebody makes new certificates by hand" in cut_within(3)


def test_crls_that_are_not_renewed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the CRLs not signed anew before their nextUpdate, every connection would be refused."""
    monkeypatch.setattr(Decade, "lists_due", lambda self: False)
    sign = Decade.sign_lists
    monkeypatch.setattr(
        Decade,
        "sign_lists",
        lambda self, gone=None, **kwargs: sign(self, gone, **kwargs) if gone is not None else None,
    )
    assert "does not accept" in (story := cut_within(6, revokes=True))
    assert story.endswith("the CRLs have expired")


def test_a_new_root_without_its_crl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Did the CRL of the new root not go ahead of it, proxies would refuse what it signs."""
    monkeypatch.setattr(rotation_changes, "add_next_root_crl", lambda pem, kept, now: pem)
    monkeypatch.setattr(rotation_changes, "missing_crl_problems", lambda kept, marks, now: [])
    monkeypatch.setattr(decade.revoking, "_add_trusted_roots", lambda wanted, *args: list(wanted))
    monkeypatch.setattr(decade, "covers_roots", lambda crls, roots: True)
    assert cut_within(6, revokes=True).endswith("unable to get certificate CRL")


def test_first_crls_of_today_alone_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Had the first bundle no CRL of what was replaced, whoever is late would be refused."""
    monkeypatch.setattr(decade.revoking, "_find_replaced_signers", lambda *args: iter(()))
    assert cut_within(24, first=9, revokes=True).endswith("unable to get certificate CRL")


def test_a_new_intermediate_before_its_crl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Did a cluster start before the others have the CRL of its intermediate, they would refuse it."""
    monkeypatch.setattr(Decade, "known", lambda *args: True)
    assert cut_within(6, revokes=True).endswith("unable to get certificate CRL")


def test_a_token_that_goes_too_early_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Did the first token go before every peer holds the second, whoever is late could not log in."""
    monkeypatch.setattr(Decade, "token_seen", lambda *args: True)
    assert "with a token that is void" in cut_within(6)


def test_a_skipped_step_of_a_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Did the peers move in the very render that takes the first token away; the render refuses, so that is broken too."""
    monkeypatch.setattr(
        decade.token_rotation,
        "advance_rotation",
        lambda cluster: {"generation": cluster.second_generation},
    )
    monkeypatch.setattr(decade.tokens, "skipped_step_problems", lambda plan, changes: [])
    assert "with a token that is void" in cut_within(6)


def test_a_token_that_goes_on_the_way_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were nothing to be seen between two aborts, whoever has not moved back yet could not log in."""
    checks = decade.rotate_token._list_checks
    monkeypatch.setattr(
        decade.rotate_token,
        "_list_checks",
        lambda after, result: checks(after, replace(result, requested_action="begin")),
    )
    assert "with a token that is void" in cut_within(24, first=8)
