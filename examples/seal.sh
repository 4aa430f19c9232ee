#!/usr/bin/env bash
# Makes the committed example anew: certificates, tokens and tree of examples/seed. The keys and tokens are thrown away at once, for no
# cluster has them; whoever renders later changes what is public, and keeps what is sealed.
set -eu
cd "$(dirname "$0")/.."
throw() { rm -rf examples/seed/credentials examples/seed/certs/seal-key examples/seed/certs/root-key.pem examples/seed/certs/*/ca-key.pem; }
trap throw EXIT
rm -rf examples/seed/certs out
for cluster in context-east-1 context-east-2 context-west-1; do
  (umask 077; mkdir -p examples/seed/credentials; echo "made-up-for-the-example.$cluster" > "examples/seed/credentials/$cluster.token")
done
kubectl-mesh render -C examples/seed --out out --strict
