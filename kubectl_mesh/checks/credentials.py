"""The checks of how the peers log in, and the tokens that end."""

from collections.abc import Iterable

from kubectl_mesh.checks.check import Check, StageCheck, Unknown
from kubectl_mesh.checks.context import ERROR, WARNING, CheckContext, Finding, InputFacts, Needs
from kubectl_mesh.checks.pending import PendingCheck
from kubectl_mesh.checks.unknown_answers import tokens_unknown
from kubectl_mesh.credentials.tokens import token_findings
from kubectl_mesh.text import mesh_command
from kubectl_mesh.workdir.places import relocate_problems

_UNAUTHORIZED = "istiod: `Unauthorized`, and no endpoints of the cluster"


def judge_tokens(context: CheckContext) -> tuple[Finding, ...]:
    """What the tokens say of themselves, by the limits of this run."""
    if context.inputs is None or context.inputs.plan is None:
        return ()
    limits = context.limits
    found = token_findings(context.inputs.plan, context.now, limits.fail_within, limits.token_age)
    return tuple(
        Finding(severity, problem)
        for severity, problems in zip((ERROR, WARNING), found, strict=True)
        for problem in relocate_problems(
            context.directory, problems, (p.where.file for p in problems)
        )
    )


class TokenCheck(Check):
    """A check of what tokens say of themselves."""

    def find_problems(self, context: CheckContext) -> Iterable[Finding]:
        return self.select_own(context.run_once(judge_tokens))


class CredentialCost(StageCheck):
    id = "credential-cost"
    category = "credentials"
    severity = WARNING
    sentence = "peers log in by tokens, which can be taken back"
    prevents = "a login that nobody can revoke, or that needs more than a Secret"
    remedy = "Use a token file, or do what the finding asks of istiod's image and environment."
    needs = Needs.RENDER


class CredentialReadable(StageCheck):
    id = "credential-readable"
    category = "credentials"
    severity = ERROR
    sentence = "every file of a credential holds what it should"
    prevents = _UNAUTHORIZED
    remedy = "Put into the file what the finding names, alone and in clear."


class TokenReadable(StageCheck):
    id = "token-readable"
    category = "credentials"
    severity = ERROR
    sentence = "every token file holds a token"
    prevents = _UNAUTHORIZED
    remedy = "Fetch the token again by the command that the finding gives."
    needs = Needs.INPUTS | Needs.LOGINS


class TokenExpired(TokenCheck):
    id = "token-expired"
    category = "credentials"
    severity = ERROR
    sentence = "no token has expired"
    prevents = _UNAUTHORIZED
    remedy = (
        "Fetch a new token, render, review and apply; a token of a Secret"
        " (kubernetes.io/service-account-token) does not expire."
    )
    needs = Needs.RENDER | Needs.PLANNED_LOGINS

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return tokens_unknown(inputs)


class TokenExpiring(TokenCheck):
    id = "token-expiring"
    category = "credentials"
    severity = WARNING
    sentence = "no token expires soon; within a day, or the time of --fail-within, it is an error"
    prevents = "a cluster that vanishes from the mesh on the day its token expires"
    remedy = "Fetch a new token, render, review and apply before that day."
    needs = Needs.RENDER | Needs.PLANNED_LOGINS

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return tokens_unknown(inputs)


class TokenAccount(TokenCheck):
    id = "token-account"
    category = "credentials"
    severity = WARNING
    sentence = (
        "every token is of the account that the tree lets peers read as, as far as a token says so"
        " itself"
    )
    prevents = "istiod: `Forbidden` or `Unauthorized`, and no endpoints of the cluster"
    remedy = (
        "Fetch the token again by the command that the finding gives; or state the account in"
        " `contexts.CTX.serviceAccountReader`."
    )
    needs = Needs.RENDER


class TokenOld(TokenCheck):
    id = "token-old"
    category = "credentials"
    severity = ERROR
    sentence = (
        "no token that says when it was made is older than --token-age allows, where that is given"
    )
    prevents = "a token that was copied years ago, by who knows whom"
    remedy = f"Move the peers to another token: `{mesh_command('tokens rotate NAME begin')}`."
    needs = Needs.RENDER | Needs.PLANNED_LOGINS | Needs.TOKEN_AGE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return tokens_unknown(inputs)


class TokenUnique(StageCheck):
    id = "token-unique"
    category = "credentials"
    severity = WARNING
    sentence = "every cluster has a token of its own"
    prevents = "istiod: `Unauthorized` from the one whose token it is not"
    remedy = "Fetch both tokens again, each from the cluster whose name its file has."
    needs = Needs.INPUTS | Needs.LOGINS


class TokenPending(PendingCheck):
    id = "token-pending"
    category = "credentials"
    severity = WARNING
    sentence = "every token is there"
    prevents = "a cluster that its peers do not discover"
    remedy = (
        "Apply stage 3 of the cluster, then fetch the token by the command that the finding gives,"
        " and render."
    )
    needs = Needs.RENDER


class NextTokenPending(PendingCheck):
    id = "next-token-pending"
    category = "credentials"
    severity = WARNING
    sentence = "no rotation waits for its next token"
    prevents = "an old token that stays for years, since nobody went on"
    remedy = (
        "Apply stage 3 of the cluster, fetch the next token by the command that the finding gives,"
        " and go on; or `tokens rotate NAME abort`."
    )
    needs = Needs.RENDER


class TokenOrder(StageCheck):
    id = "token-order"
    category = "credentials"
    severity = ERROR
    sentence = "no token goes in the same render in which its peers move to another"
    prevents = (
        "istiod of a cluster that applies late: `Unauthorized`, and no endpoints of the cluster"
    )
    remedy = (
        "Go step by step, each rendered and applied everywhere before the next:"
        f" `{mesh_command('tokens rotate NAME advance')}`."
    )
    needs = Needs.COMPARISON
