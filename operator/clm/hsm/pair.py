"""Key pairs of every algorithm: how they are generated, and the test that the two halves belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType
from pkcs11.exceptions import PKCS11Error

from clm.errors import KeyMismatch
from clm.hsm.faults import is_lost
from clm.hsm.public_key import CURVES, ED25519_PARAMETERS
from clm.hsm.signing import prepare, sign_prepared
from clm.pki.keys import spki_der

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.hsm.session import Key
    from clm.hsm.signing import HashName
    from clm.pki.keys import PublicKey
    from clm.resources.keys import KeySpec

_MESSAGE = b"CLM pairwise consistency test"


def generate_pair(
    session: Any,  # noqa: ANN401 - python-pkcs11 does not declare all that a session has
    spec: KeySpec,
    *,
    public_template: dict[Attribute, Any],
    private_template: dict[Attribute, Any],
) -> tuple[Key, Key]:
    """Generate a pair: public, then private. CKA_TOKEN in the templates says whether it is stored."""
    keywords = {
        "store": private_template[Attribute.TOKEN],
        "public_template": public_template,
        "private_template": private_template,
    }
    if spec.algorithm == "RSA":
        public, private = session.generate_keypair(KeyType.RSA, spec.size, **keywords)
        return public, private
    edwards = spec.algorithm == "Ed25519"
    parameters = ED25519_PARAMETERS if edwards else CURVES[spec.size][1]
    domain = session.create_domain_parameters(
        KeyType.EC_EDWARDS if edwards else KeyType.EC, {Attribute.EC_PARAMS: parameters}, local=True
    )
    public, private = domain.generate_keypair(**keywords)
    return public, private


def check_pair(private: Key, spec: KeySpec, spki: bytes) -> None:
    """Sign with the private key and verify outside the token. Raises KeyMismatch when `spki` is another key's."""
    hash_name: HashName | None = None if spec.algorithm == "Ed25519" else "sha256"
    signature = sign_prepared(private, spec, prepare(spec, hash_name, _MESSAGE))
    public = load_der_public_key(spki)
    try:
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, _MESSAGE)
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, _MESSAGE, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, _MESSAGE, ec.ECDSA(hashes.SHA256()))
        else:
            raise KeyMismatch(f"the public key of a {spec} key is a {type(public).__name__}")
    except InvalidSignature:
        raise KeyMismatch("what the private key signs does not verify under the public key") from None


def half_of(public_key: PublicKey, spec: KeySpec) -> Callable[[Key], bool]:
    """Make the test whether a private key object is the other half of a recorded public key."""

    def is_recorded(private: Key) -> bool:
        try:
            check_pair(private, spec, spki_der(public_key))
        except (KeyMismatch, AttributeError):
            return False  # python-pkcs11 gives an object that may not sign no method for it
        except PKCS11Error as error:
            if is_lost(error):
                raise
            return False
        return True

    return is_recorded
