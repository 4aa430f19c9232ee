"""The checks of `certs/`, and the certificates that end."""

from collections.abc import Iterator

from kubectl_mesh.checks.check import Check, StageCheck, Unknown
from kubectl_mesh.checks.context import ERROR, WARNING, CheckContext, Finding, InputFacts, Needs
from kubectl_mesh.checks.pending import PendingCheck
from kubectl_mesh.checks.unknown_answers import cacerts_unknown, version_unknown
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.text import mesh_command
from kubectl_mesh.workdir.places import relocate_problems
from kubectl_mesh.x509.chain import RENEW_FIX


class CertsReadable(StageCheck):
    id = "certs-readable"
    category = "certificates"
    severity = ERROR
    sentence = "istiod can read every key and certificate"
    prevents = "istiod does not start: `failed to create an istiod CA`"
    remedy = "Put back the file, or write it anew as PEM by the command that the finding gives."
    needs = Needs.INPUTS | Needs.CERTS


class CertsComplete(StageCheck):
    id = "certs-complete"
    category = "certificates"
    severity = ERROR
    sentence = "no part of a certificate is missing"
    prevents = "istiod does not start: `incomplete signing CA bundle`"
    remedy = (
        "Put back what is missing; or move the folder of the intermediate away and render, which"
        " makes it anew."
    )
    needs = Needs.INPUTS | Needs.CERTS


class CertsPair(StageCheck):
    id = "certs-pair"
    category = "certificates"
    severity = ERROR
    sentence = "every certificate belongs to its key"
    prevents = "istiod does not start: `private key does not match public key`"
    remedy = "Put back the pair that belongs together; or move the folder away and render."
    needs = Needs.INPUTS | Needs.CERTS


class CertsCa(StageCheck):
    id = "certs-ca"
    category = "certificates"
    severity = ERROR
    sentence = "every certificate is a CA"
    prevents = "istiod does not start, or proxies: `CERTIFICATE_VERIFY_FAILED`"
    remedy = "Use a certificate with CA:TRUE and keyCertSign, and without extended key usage."
    needs = Needs.INPUTS | Needs.CERTS


class CertsChain(StageCheck):
    id = "certs-chain"
    category = "certificates"
    severity = ERROR
    sentence = "every intermediate leads to the root"
    prevents = "proxies: `TLSV1_ALERT_UNKNOWN_CA`"
    remedy = (
        "Put back the root that signed it; or move the intermediate's folder away and render, which"
        " makes it under the root that is there."
    )
    needs = Needs.INPUTS | Needs.CERTS


class CertsOneRoot(StageCheck):
    id = "certs-one-root"
    category = "certificates"
    severity = ERROR
    sentence = "all clusters share one root"
    prevents = "proxies of different clusters: `TLSV1_ALERT_UNKNOWN_CA`"
    remedy = (
        "Find out which root is right and copy it over the other; an intermediate that another root"
        " signed is made anew."
    )
    needs = Needs.INPUTS | Needs.CERTS

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return cacerts_unknown(inputs) if not inputs.topology.has_intermediate_files else None


class RootExchange(StageCheck):
    id = "root-exchange"
    category = "certificates"
    severity = ERROR
    sentence = "a change of roots is one that clusters may apply one after the other"
    prevents = (
        "`CERTIFICATE_VERIFY_FAILED` between clusters that have the old root and those that have"
        " the new one"
    )
    remedy = (
        "Change the root in three steps, each applied everywhere before the next: trust both, sign"
        " by the new one, trust the new one alone."
    )
    needs = Needs.COMPARISON | Needs.CERTS


class RootElsewhere(StageCheck):
    id = "root-elsewhere"
    category = "certificates"
    severity = WARNING
    sentence = (
        "no change of certificates.issuer brings a root that nobody has compared with the one"
        " in use"
    )
    prevents = (
        "`CERTIFICATE_VERIFY_FAILED` between clusters that have the change and those that have not"
    )
    remedy = (
        "Have the new issuer sign by the root that is trusted now; or rotate to its root first,"
        " under the old issuer."
    )
    needs = Needs.COMPARISON | Needs.CERTS


class CertsOwn(StageCheck):
    id = "certs-own"
    category = "certificates"
    severity = ERROR
    sentence = (
        "every cluster has an intermediate of its own; one that two clusters share is a warning"
    )
    prevents = "one cluster's key opens another's identity"
    remedy = "Put each folder back in its place, or move it away and render."
    needs = Needs.RENDER | Needs.CERTS


class CertsExpired(StageCheck):
    id = "certs-expired"
    category = "certificates"
    severity = ERROR
    sentence = "every certificate is valid today"
    prevents = "proxies: `CERTIFICATE_VERIFY_FAILED: certificate has expired`"
    remedy = "Move the intermediate's folder away, render, review and apply."
    needs = Needs.INPUTS | Needs.CERTS


class CertsExpiring(Check):
    id = "certs-expiring"
    category = "certificates"
    severity = WARNING
    sentence = "no certificate expires soon; within the time of --fail-within it is an error"
    prevents = "an outage on the day it expires"
    remedy = "Move the intermediate's folder away, render, review and apply, well before that day."
    needs = Needs.RENDER | Needs.CERTS

    error_replaces_warning = True

    def find_problems(self, context: CheckContext) -> Iterator[Finding]:
        within = context.limits.fail_within
        pki = context.inputs.pki if context.inputs is not None else None
        if within is None or pki is None:
            return
        certificates = [("root-cert.pem", c) for c in pki.roots]
        certificates += [
            (f"intermediate-{name}/ca-cert.pem", i.certificate)
            for name, i in pki.intermediates.items()
        ]
        for name, certificate in certificates:
            left = certificate.not_after - context.now
            if left <= within:
                what = f"expires on {certificate.not_after:%Y-%m-%d}, in {left.days} days"
                problem = Problem(
                    Place(f"certs/{name}"), what, RENEW_FIX, self.id, code="certificate-expiring"
                )
                yield from (
                    Finding(ERROR, p) for p in relocate_problems(context.directory, [problem])
                )


class CertsKeyType(StageCheck):
    id = "certs-key-type"
    category = "certificates"
    severity = WARNING
    sentence = "Istio's version can sign with every key"
    prevents = (
        "workloads get no certificate: `requested SignatureAlgorithm does not match private key"
        " type`"
    )
    remedy = "Use the type of key that the finding names."
    needs = Needs.RENDER | Needs.CERTS | Needs.CONTROL_PLANE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return version_unknown(inputs.topology)


class CertsNames(StageCheck):
    id = "certs-names"
    category = "certificates"
    severity = WARNING
    sentence = "no certificate has name constraints that nobody has judged"
    prevents = "proxies: `CERTIFICATE_VERIFY_FAILED: permitted subtree violation`"
    remedy = (
        "Make sure that the constraints permit the URIs of the trust domain and the DNS names of"
        " istiod."
    )
    needs = Needs.RENDER | Needs.CERTS


class CrlReadable(StageCheck):
    id = "crl-readable"
    category = "certificates"
    severity = ERROR
    sentence = "istiod can read certs/ca-crl.pem"
    prevents = "istiod: `failed to parse CRL`, and no change of cacerts is taken"
    remedy = f"Put back the file, or have it made anew: `{mesh_command('certs crl')}`."
    needs = Needs.INPUTS | Needs.CERTS


class CrlComplete(StageCheck):
    id = "crl-complete"
    category = "certificates"
    severity = ERROR
    sentence = "every CA of the mesh has a CRL, where something is or was revoked"
    prevents = (
        "istiod: `missing CRL signed by certificates`; proxies: `unable to get certificate CRL`"
    )
    remedy = f"Sign what is missing, with the keys here: `{mesh_command('certs crl')}`."
    needs = Needs.INPUTS | Needs.CERTS


class CrlRevoked(StageCheck):
    id = "crl-revoked"
    category = "certificates"
    severity = ERROR
    sentence = "no cluster signs with an intermediate that is revoked"
    prevents = "proxies: `certificate revoked`, for every workload of that cluster"
    remedy = (
        "Move the folder of the intermediate away and render, which makes another; or empty the"
        f" CRLs: `{mesh_command('certs crl --clear')}`."
    )
    needs = Needs.INPUTS | Needs.CERTS


class CrlExpired(StageCheck):
    id = "crl-expired"
    category = "certificates"
    severity = ERROR
    sentence = "no CRL is past its nextUpdate"
    prevents = "proxies: `CRL has expired`, and no connection at all"
    remedy = f"Sign it anew, render and apply: `{mesh_command('certs crl')}`."
    needs = Needs.INPUTS | Needs.CERTS


class CrlExpiring(Check):
    id = "crl-expiring"
    category = "certificates"
    severity = WARNING
    sentence = (
        "no CRL is about to pass its nextUpdate; within the time of --fail-within it is an error"
    )
    prevents = "an outage of the whole mesh on that day"
    remedy = f"Sign it anew, render and apply, well before that day: `{mesh_command('certs crl')}`."
    needs = Needs.RENDER | Needs.CERTS

    error_replaces_warning = True

    def find_problems(self, context: CheckContext) -> Iterator[Finding]:
        within = context.limits.fail_within
        crl = context.inputs.pki.crl if context.inputs and context.inputs.pki else None
        if within is None or crl is None or crl.next_update - context.now > within:
            return
        what = (
            f"is valid until {crl.next_update:%Y-%m-%d}, for"
            f" {(crl.next_update - context.now).days} days"
        )
        fix = f"sign it anew with `{mesh_command('certs crl')}`, render and apply"
        where = Place("certs/ca-crl.pem")
        problem = Problem(where, what, fix, self.id, code="crl-expiring")
        yield from (Finding(ERROR, p) for p in relocate_problems(context.directory, [problem]))


class CrlRead(StageCheck):
    id = "crl-read"
    category = "certificates"
    severity = WARNING
    sentence = "every proxy goes by what is revoked"
    prevents = "a lost cluster that some clusters go on trusting"
    remedy = "Raise Istio where it reads no CRL, or change the root."
    needs = Needs.RENDER | Needs.CERTS | Needs.CONTROL_PLANE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return version_unknown(inputs.topology)


class CertificatePending(PendingCheck):
    id = "certificate-pending"
    category = "certificates"
    severity = WARNING
    sentence = "every intermediate that others sign is there"
    prevents = "a cluster that is not rendered"
    remedy = (
        f"Have the request signed, and take the certificate in: `{mesh_command('certs import')}`."
    )
    needs = Needs.RENDER | Needs.CERTS


class PrivateMode(Check):
    id = "private-mode"
    category = "certificates"
    severity = WARNING
    sentence = "nobody else can read private files"
    prevents = "a key that others have"
    remedy = "Take the right to read it from others: chmod 600; and ask who had it meanwhile."
    needs = Needs.INPUTS | Needs.CERTS

    def find_problems(self, context: CheckContext) -> Iterator[Finding]:
        comparison = context.comparison
        if comparison is None:
            return
        for change in comparison.changes:
            if change.action in ("create", "remove"):
                continue
            for path in (c.path for c in change.changes if c.action == "tighten"):
                where = Place(f"{comparison.out}/{change.name}/{path}")
                what = "holds a secret, but others may read it"
                fix = f"run `{mesh_command('render')}`"
                problem = Problem(where, what, fix, self.id, code="private-file-readable-by-others")
                yield Finding(WARNING, problem)
