"""The request of a responder replica for a delegated OCSP signing certificate (RFC 6960 4.2.2.2)."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from clm.errors import InvalidInput
from clm.pki.keys import PublicKey, key_spec_of, supported
from clm.resources.keys import KeySpec

KEY = KeySpec("ECDSA", 256)
"""What replicas make: an answer is signed in 30 us, and every client verifies it."""


def requested_key(csr: bytes) -> PublicKey:
    """Read the key out of a PKCS#10 request in DER, which proves that it is held; what else it says is ignored.

    Raises InvalidInput with the reason.
    """
    try:
        request = x509.load_der_x509_csr(csr)
        key = supported(request.public_key())
        spec, proven = key_spec_of(key), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidInput("csr", f"is no request that can be read: {str(error)[:200]}") from None
    if spec != KEY:
        raise InvalidInput("csr", f"is of a {spec} key; responders have {KEY}")
    if not proven:
        raise InvalidInput("csr", "is not signed by the key in it: there is no proof that it is held")
    return key
