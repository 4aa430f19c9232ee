"""The checks of `certs/`, and the certificates that end."""

from datetime import datetime, timedelta

from kubectl_mesh.checks.result import ERROR, WARNING, Check
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import Pki
from kubectl_mesh.x509.chain import RENEW_FIX

CHECKS = (
    Check(
        "certs-readable",
        "certificates",
        ERROR,
        "istiod can read every key and certificate",
        "istiod does not start: `failed to create an istiod CA`",
        "Put back the file, or write it anew as PEM by the command that the finding gives.",
    ),
    Check(
        "certs-complete",
        "certificates",
        ERROR,
        "no part of a certificate is missing",
        "istiod does not start: `incomplete signing CA bundle`",
        "Put back what is missing; or move the folder of the intermediate away and render, which"
        " makes it anew.",
    ),
    Check(
        "certs-pair",
        "certificates",
        ERROR,
        "every certificate belongs to its key",
        "istiod does not start: `private key does not match public key`",
        "Put back the pair that belongs together; or move the folder away and render.",
    ),
    Check(
        "certs-ca",
        "certificates",
        ERROR,
        "every certificate is a CA",
        "istiod does not start, or proxies: `CERTIFICATE_VERIFY_FAILED`",
        "Use a certificate with CA:TRUE and keyCertSign, and without extended key usage.",
    ),
    Check(
        "certs-chain",
        "certificates",
        ERROR,
        "every intermediate leads to the root",
        "proxies: `TLSV1_ALERT_UNKNOWN_CA`",
        "Put back the root that signed it; or move the intermediate's folder away and render, which"
        " makes it under the root that is there.",
    ),
    Check(
        "certs-one-root",
        "certificates",
        ERROR,
        "all clusters share one root",
        "proxies of different clusters: `TLSV1_ALERT_UNKNOWN_CA`",
        "Find out which root is right and copy it over the other; an intermediate that another root"
        " signed is made anew.",
    ),
    Check(
        "root-exchange",
        "certificates",
        ERROR,
        "a change of roots is one that clusters may apply one after the other",
        "`CERTIFICATE_VERIFY_FAILED` between clusters that have the old root and those that have"
        " the new one",
        "Change the root in three steps, each applied everywhere before the next: trust both, sign"
        " by the new one, trust the new one alone.",
    ),
    Check(
        "root-elsewhere",
        "certificates",
        WARNING,
        "no change of certificates.issuer brings a root that nobody has compared with the one"
        " in use",
        "`CERTIFICATE_VERIFY_FAILED` between clusters that have the change and those that have not",
        "Have the new issuer sign by the root that is trusted now; or rotate to its root first,"
        " under the old issuer.",
    ),
    Check(
        "certs-own",
        "certificates",
        ERROR,
        "every cluster has an intermediate of its own; one that two clusters share is a warning",
        "one cluster's key opens another's identity",
        "Put each folder back in its place, or move it away and render.",
    ),
    Check(
        "certs-expired",
        "certificates",
        ERROR,
        "every certificate is valid today",
        "proxies: `CERTIFICATE_VERIFY_FAILED: certificate has expired`",
        "Move the intermediate's folder away, render, review and apply.",
    ),
    Check(
        "certs-expiring",
        "certificates",
        WARNING,
        "no certificate expires soon; within the time of --fail-within it is an error",
        "an outage on the day it expires",
        "Move the intermediate's folder away, render, review and apply, well before that day.",
    ),
    Check(
        "certs-key-type",
        "certificates",
        WARNING,
        "Istio's version can sign with every key",
        "workloads get no certificate: `requested SignatureAlgorithm does not match private key"
        " type`",
        "Use the type of key that the finding names.",
    ),
    Check(
        "certs-names",
        "certificates",
        WARNING,
        "no certificate has name constraints that nobody has judged",
        "proxies: `CERTIFICATE_VERIFY_FAILED: permitted subtree violation`",
        "Make sure that the constraints permit the URIs of the trust domain and the DNS names of"
        " istiod.",
    ),
    Check(
        "crl-readable",
        "certificates",
        ERROR,
        "istiod can read certs/ca-crl.pem",
        "istiod: `failed to parse CRL`, and no change of cacerts is taken",
        "Put back the file, or have it made anew: `kubectl mesh certs crl`.",
    ),
    Check(
        "crl-complete",
        "certificates",
        ERROR,
        "every CA of the mesh has a CRL, where something is or was revoked",
        "istiod: `missing CRL signed by certificates`; proxies: `unable to get certificate CRL`",
        "Sign what is missing, with the keys here: `kubectl mesh certs crl`.",
    ),
    Check(
        "crl-revoked",
        "certificates",
        ERROR,
        "no cluster signs with an intermediate that is revoked",
        "proxies: `certificate revoked`, for every workload of that cluster",
        "Move the folder of the intermediate away and render, which makes another; or empty the"
        " CRLs: `kubectl mesh certs crl --clear`.",
    ),
    Check(
        "crl-expired",
        "certificates",
        ERROR,
        "no CRL is past its nextUpdate",
        "proxies: `CRL has expired`, and no connection at all",
        "Sign it anew, render and apply: `kubectl mesh certs crl`.",
    ),
    Check(
        "crl-expiring",
        "certificates",
        WARNING,
        "no CRL is about to pass its nextUpdate; within the time of --fail-within it is an error",
        "an outage of the whole mesh on that day",
        "Sign it anew, render and apply, well before that day: `kubectl mesh certs crl`.",
    ),
    Check(
        "crl-read",
        "certificates",
        WARNING,
        "every proxy goes by what is revoked",
        "a lost cluster that some clusters go on trusting",
        "Raise Istio where it reads no CRL, or change the root.",
    ),
    Check(
        "certificate-pending",
        "certificates",
        WARNING,
        "every intermediate that others sign is there",
        "a cluster that is not rendered",
        "Have the request signed, and take the certificate in: `kubectl mesh certs import`.",
    ),
    Check(
        "private-mode",
        "certificates",
        WARNING,
        "nobody else can read private files",
        "a key that others have",
        "Take the right to read it from others: chmod 600; and ask who had it meanwhile.",
    ),
)


def expiry_findings(pki: Pki, now: datetime, within: timedelta) -> list[Problem]:
    """Certificates that expire within a time."""
    found = [("root-cert.pem", c) for c in pki.roots]
    found += [
        (f"intermediate-{name}/ca-cert.pem", i.certificate) for name, i in pki.intermediates.items()
    ]
    late = [] if pki.crl is None or pki.crl.until - now > within else [pki.crl.until]
    fix = "sign it anew with `kubectl mesh certs crl`, render and apply"
    return [
        Problem(
            Place("certs/ca-crl.pem"),
            f"is valid until {u:%Y-%m-%d}, for {(u - now).days} days",
            fix,
            "crl-expiring",
        )
        for u in late
    ] + [
        Problem(
            Place(f"certs/{name}"),
            f"expires on {c.not_after:%Y-%m-%d}, in {(c.not_after - now).days} days",
            RENEW_FIX,
            "certs-expiring",
        )
        for name, c in found
        if c.not_after - now <= within
    ]
