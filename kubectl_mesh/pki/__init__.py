"""pki: certificates, from those in `certs/` to those of the mesh, and every change of them in ten
years.

Profile of RFC 5280 and of what istiod verifies when it loads `cacerts` (istio:
security/pkg/pki/util/keycertbundle.go): root CA:TRUE; intermediate CA:TRUE with pathlen:0; both
keyCertSign and cRLSign; subject key identifier, and the issuer's in the intermediate; no URI SAN,
since a CA's SPIFFE ID must not have a path. Keys on disk are never validated number by number (that
costs 0.3 s for RSA-4096): their public half is compared with the certificate's.
"""
