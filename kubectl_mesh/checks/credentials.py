"""The checks of how the peers log in, and the tokens that end."""

from kubectl_mesh.checks.result import ERROR, WARNING, Check

_UNAUTHORIZED = "istiod: `Unauthorized`, and no endpoints of the cluster"
CHECKS = (
    Check(
        "credential-cost",
        "credentials",
        WARNING,
        "peers log in by tokens, which can be taken back",
        "a login that nobody can revoke, or that needs more than a Secret",
        "Use a token file, or do what the finding asks of istiod's image and environment.",
    ),
    Check(
        "credential-readable",
        "credentials",
        ERROR,
        "every file of a credential holds what it should",
        _UNAUTHORIZED,
        "Put into the file what the finding names, alone and in clear.",
    ),
    Check(
        "token-readable",
        "credentials",
        ERROR,
        "every token file holds a token",
        _UNAUTHORIZED,
        "Fetch the token again by the command that the finding gives.",
    ),
    Check(
        "token-expired",
        "credentials",
        ERROR,
        "no token has expired",
        _UNAUTHORIZED,
        "Fetch a new token, render, review and apply; a token of a Secret"
        " (kubernetes.io/service-account-token) does not expire.",
    ),
    Check(
        "token-expiring",
        "credentials",
        WARNING,
        "no token expires soon; within a day, or the time of --fail-within, it is an error",
        "a cluster that vanishes from the mesh on the day its token expires",
        "Fetch a new token, render, review and apply before that day.",
    ),
    Check(
        "token-account",
        "credentials",
        WARNING,
        "every token is of the account that the tree lets peers read as, as far as a token says so"
        " itself",
        "istiod: `Forbidden` or `Unauthorized`, and no endpoints of the cluster",
        "Fetch the token again by the command that the finding gives; or state the account in"
        " `contexts.CTX.serviceAccountReader`.",
    ),
    Check(
        "token-old",
        "credentials",
        ERROR,
        "no token that says when it was made is older than --token-age allows, where that is given",
        "a token that was copied years ago, by who knows whom",
        "Move the peers to another token: `kubectl mesh tokens rotate NAME begin`.",
    ),
    Check(
        "token-unique",
        "credentials",
        WARNING,
        "every cluster has a token of its own",
        "istiod: `Unauthorized` from the one whose token it is not",
        "Fetch both tokens again, each from the cluster whose name its file has.",
    ),
    Check(
        "token-pending",
        "credentials",
        WARNING,
        "every token is there",
        "a cluster that its peers do not discover",
        "Apply stage 3 of the cluster, then fetch the token by the command that the finding gives,"
        " and render.",
    ),
    Check(
        "next-token-pending",
        "credentials",
        WARNING,
        "no rotation waits for its next token",
        "an old token that stays for years, since nobody went on",
        "Apply stage 3 of the cluster, fetch the next token by the command that the finding gives,"
        " and go on; or `tokens rotate NAME abort`.",
    ),
    Check(
        "token-order",
        "credentials",
        ERROR,
        "no token goes in the same render in which its peers move to another",
        "istiod of a cluster that applies late: `Unauthorized`, and no endpoints of the cluster",
        "Go step by step, each rendered and applied everywhere before the next: `kubectl mesh"
        " tokens rotate NAME advance`.",
    ),
)
