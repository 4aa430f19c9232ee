"""What the tools say that bring the tree into the clusters: kubectl, Argo CD, Flux, SOPS, Sealed
Secrets, External Secrets.
"""

from kubectl_mesh.explain import common_causes
from kubectl_mesh.explain.known_messages import Cause, KnownMessage
from kubectl_mesh.text import mesh_command, work_path

_STAGES = Cause(
    "the stages were applied out of order",
    "apply 1-trust, 2-control-plane, wait until it is ready, then 3-mesh",
    hints=("delivery-target",),
    command="kubectl --context=CONTEXT get customresourcedefinition -o name",
)
_TREE = Cause(
    "a file of the tree is not as it was rendered",
    "render, and look at the difference",
    ("tree-readable", "tree-edited", "tree-stale", "tree-current"),
    hints=("tree-foreign",),
    is_proof=True,
    command=f"git status {work_path('out/')}",
)

MESSAGES = (
    KnownMessage(
        "no-kind",
        "kubectl, Argo CD, Flux",
        r"no matches for kind|could not find the requested resource|could not find \S+ for"
        r" requested resource|ensure CRDs are installed first",
        "the cluster does not know this kind of object yet",
        (
            _STAGES,
            Cause(
                "the operator that brings the kind is not installed, or is too old",
                "install the Sail operator, the Gateway API's CRDs, or Istio's base chart",
                ("istio-version", "gateway-kind"),
                command="kubectl --context=CONTEXT api-resources",
            ),
        ),
    ),
    KnownMessage(
        "image-gone",
        "kubectl",
        r"(?:Back-off pulling|Failed to pull) image"
        r" \"?(?:registry\.istio\.io|gcr\.io/istio-release)/",
        "Istio switches off the image registry that this pod names; images are at docker.io/istio",
        (
            Cause(
                "the control plane takes its images from a registry that Istio switches off",
                "follow docs/istio-move.md: render, apply stage 2, and restart the workloads whose"
                " pods name the old registry",
                ("images-gone",),
                command=(
                    "kubectl --context=CONTEXT get pods -A -o"
                    " jsonpath={.items[*].spec.containers[*].image}"
                ),
            ),
            Cause(
                "the pod was injected before the registry changed",
                "restart its workload: `kubectl rollout restart deployment NAME`; istiod injects"
                " the new registry into new pods",
                command=(
                    "kubectl --context=CONTEXT -n NAMESPACE get pod POD -o"
                    " jsonpath={.spec.containers[*].image}"
                ),
            ),
        ),
    ),
    KnownMessage(
        "charts-gone",
        "Argo CD, Flux, helm",
        r"istio-release\.storage\.googleapis\.com|gcr\.io/istio-release/charts|is not a valid chart"
        r" repository",
        "the chart repository does not answer; Istio switches off"
        " istio-release.storage.googleapis.com and gcr.io/istio-release/charts",
        (
            Cause(
                "charts are taken from a repository that Istio switches off",
                "follow docs/istio-move.md: remove `istio.charts` or write"
                " https://blob.istio.io/istio-release/charts, render and apply",
                ("charts-gone",),
                command=(
                    "kubectl get applications.argoproj.io,helmrepositories.source.toolkit.fluxcd.io"
                    " -A -o yaml"
                ),
            ),
            Cause(
                "a proxy or a firewall does not let the tool reach the repository",
                "try it from the cluster: `curl -fsSI URL/index.yaml`",
                command="curl -fsSI URL/index.yaml",
            ),
        ),
    ),
    KnownMessage(
        "no-namespace",
        "kubectl",
        r"namespaces \\?\"[^\"\\]+\\?\" not found",
        "Istio's namespace is not there yet",
        (
            _STAGES,
            Cause(
                "the namespace is another in this cluster",
                "state `contexts.CTX.namespace`",
                ("namespace-equal", "tree-namespace"),
                command="kubectl --context=CONTEXT get pods -A -l app=istiod",
            ),
        ),
    ),
    KnownMessage(
        "not-yaml",
        "kubectl, Argo CD, Flux",
        r"error converting YAML to JSON|error parsing .{0,300}\.yaml|MalformedYAMLError|yaml:"
        r" line \d+"
        r"|no such file or directory.{0,300}kustomization|accumulating resources",
        "a file of the tree cannot be read, or is listed and not there",
        (
            _TREE,
            Cause(
                "a remote secret was deleted and is still listed",
                "render",
                ("remote-missing",),
                is_proof=True,
                command=f"kubectl kustomize {work_path('out/NAME/3-mesh')}",
            ),
        ),
    ),
    KnownMessage(
        "webhook",
        "kubectl, Argo CD, Flux",
        r"failed calling webhook",
        "the API server does not reach istiod, or does not trust it",
        (
            Cause(
                "istiod is reached at another address than is stated",
                "state `controlPlaneAddress`",
                ("address-pending",),
                hints=("control-plane-address",),
                command="kubectl --context=CONTEXT get mutatingwebhookconfigurations -o yaml",
            ),
            common_causes.LATE_ROOT,
            Cause(
                "istiod does not run",
                "look into its log, and explain what it says",
                command="kubectl --context=CONTEXT -n istio-system get pods -l app=istiod",
            ),
        ),
    ),
    KnownMessage(
        "ca-bundle-drift",
        "Argo CD",
        r"caBundle|failurePolicy.{0,300}(?:Ignore|Fail)|ValidatingWebhookConfiguration.{0,300}OutOfSync|OutOfSync.{0,300}WebhookConfiguration",
        "istiod writes into its webhooks what the chart left out, so the application is out of sync"
        " for ever",
        (
            Cause(
                "the application compares what istiod owns",
                "use the Application that `delivery: {tool: argocd}` renders, or ignore caBundle"
                " and failurePolicy",
                hints=("delivery-target", "tree-edited"),
                command=(
                    "kubectl -n argocd get applications.argoproj.io NAME -o"
                    " jsonpath={.spec.ignoreDifferences}"
                ),
            ),
        ),
    ),
    KnownMessage(
        "stringdata",
        "Argo CD",
        r"\bstringData\b",
        "a key that leaves stringData stays in the cluster",
        (
            Cause(
                "a Secret was written by hand",
                "render: the tree has `data` alone",
                hints=("tree-edited", "tree-foreign"),
                command=f"grep -rl stringData {work_path('out/')}",
            ),
        ),
    ),
    KnownMessage(
        "prune",
        "Argo CD, Flux",
        r"SharedResourceWarning|ExcludedResourceWarning|is part of applications",
        "two applications have the same object",
        (
            Cause(
                "a cluster's directory is applied twice",
                f"have one application for each directory of {work_path('out/')}",
                hints=("tree-foreign", "tree-stale"),
                command=(
                    "kubectl get"
                    " applications.argoproj.io,kustomizations.kustomize.toolkit.fluxcd.io -A"
                ),
            ),
        ),
    ),
    KnownMessage(
        "sync-failed",
        "Argo CD",
        r"one or more synchronization tasks (?:are not valid|completed"
        r" unsuccessfully)|ComparisonError|failed to generate manifest",
        "Argo CD could not make, or not apply, what is in the repository",
        (
            _TREE,
            _STAGES,
            Cause(
                "the repository, the branch or the folder is not what the topology says",
                "compare `delivery` in topology.yaml",
                command="kubectl get applications.argoproj.io -A -o yaml",
            ),
        ),
    ),
    KnownMessage(
        "flux-waits",
        "Flux",
        r"dependency '[^']+' is not ready|health check (?:failed|timed out)|timeout waiting"
        r" for: \[",
        "an earlier stage is not ready yet",
        (
            Cause(
                "an earlier stage failed",
                "`flux get kustomizations -A`, and explain what the first one says",
                command="flux get kustomizations -A",
            ),
            _TREE,
        ),
    ),
    KnownMessage(
        "not-decrypted",
        "Flux, kubectl",
        r"\.sops: field not declared|unknown field \"sops\"|illegal base64 data at input byte"
        r" \d|ENC\[AES256_GCM",
        "an encrypted Secret was applied as it is",
        (
            Cause(
                "the Kustomization has no `decryption`, or the tool cannot decrypt",
                "use what `delivery: {tool: flux}` renders: it has `decryption: {provider: sops}`",
                hints=("tree-edited", "delivery-target"),
                command=(
                    "kubectl -n flux-system get kustomizations.kustomize.toolkit.fluxcd.io -o yaml"
                ),
            ),
            Cause(
                "a Secret that is no Secret to the tool was encrypted",
                f"encrypt with `{mesh_command('render')}` alone",
                hints=("tree-foreign", "sealed-current"),
                command=f"grep -rl ENC {work_path('out/')}",
            ),
        ),
    ),
    KnownMessage(
        "no-identity",
        "SOPS, Flux",
        r"no identity matched any of the recipients|0 successful groups required|Failed to get the"
        r" data key"
        r"|failed to decrypt data key|cannot get sops data key",
        "the key at hand opens none of the recipients that the file was sealed for",
        (
            Cause(
                "the cluster's recipient is not that of its identity",
                "state the recipient of the identity that the cluster has, and render",
                hints=("sealed-current", "recipient-shared", "sealed-proven"),
                command=mesh_command("verify --identity FILE"),
            ),
            Cause(
                "the identity was never brought into the cluster",
                "`kubectl -n flux-system get secret sops-age`",
                command="kubectl -n flux-system get secret sops-age",
            ),
        ),
    ),
    KnownMessage(
        "mac-mismatch",
        "SOPS, Flux",
        r"MAC mismatch|failed to verify data integrity|message authentication failed",
        "an encrypted file was changed after it was sealed",
        (
            Cause(
                "somebody edited the file, or a merge mixed two versions",
                "render where the keys are: it seals the file anew",
                ("tree-edited", "tree-readable"),
                hints=("sealed-current",),
                command=mesh_command("verify --identity FILE"),
            ),
        ),
    ),
    KnownMessage(
        "no-sealing-key",
        "Sealed Secrets",
        r"no key could decrypt secret",
        "the controller has no key for which the secret was sealed",
        (
            Cause(
                "the certificate here is not that of the controller",
                "fetch it again and render",
                ("sealing-certificate",),
                hints=("sealing-expiring", "sealing-pending"),
                command="kubeseal --context CONTEXT --fetch-cert",
            ),
            Cause(
                "the secret was sealed for another cluster, name or namespace",
                "render: each is sealed for its own",
                hints=("sealed-current", "tree-edited"),
                command="kubectl --context=CONTEXT -n istio-system get sealedsecrets -o yaml",
            ),
        ),
    ),
    KnownMessage(
        "store-empty",
        "External Secrets",
        r"SecretSyncedError|could not get secret data from provider|Secret does not exist|error"
        r" processing spec\.data",
        "the store does not hold what the tree asks for",
        (
            Cause(
                "the secrets were not put into the store",
                f"`{mesh_command('certs export')}` prints what belongs where",
                hints=("token-pending", "certificate-pending"),
                command="kubectl --context=CONTEXT -n istio-system get externalsecrets",
            ),
        ),
    ),
    KnownMessage(
        "too-long",
        "kubectl, Argo CD",
        r"metadata\.annotations: Too long|must have at most 262144 bytes",
        "client-side apply cannot keep an object of this size in an annotation",
        (
            Cause(
                "a CRD is applied client-side",
                "apply with --server-side; in Argo CD ServerSideApply=true, as rendered",
                hints=("tree-edited",),
                command=(
                    "kubectl --context=CONTEXT get customresourcedefinition NAME"
                    " --show-managed-fields -o yaml"
                ),
            ),
            Cause(
                "a control plane that names hundreds of networks is applied client-side",
                "apply its file with `kubectl apply --server-side -f FILE`",
                command=f"wc -c {work_path('out/NAME/2-control-plane/')}*",
            ),
        ),
    ),
    KnownMessage(
        "issuer-missing",
        "cert-manager",
        r"Referenced \\?\"(?:Cluster)?Issuer\\?\" not found|issuer .{0,300} not found",
        "the issuer that the tree names is not in the cluster",
        (
            Cause(
                "`certificates.issuerRef` names another issuer than the cluster has",
                "compare `kubectl get clusterissuers`",
                command="kubectl --context=CONTEXT get clusterissuers,issuers -A",
            ),
        ),
    ),
)
