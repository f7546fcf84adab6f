"""What a token can do, found out by doing it with throw-away session keys.

A mechanism list tells too little: modules list AES-GCM and ignore its associated data, or lack what they list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.exceptions import PKCS11Error

from clm.errors import HsmError, Unsupported, WrapRejected
from clm.hsm import kek
from clm.hsm.faults import describe, is_lost
from clm.hsm.pair import check_pair, generate_pair
from clm.hsm.public_key import read_public_key
from clm.hsm.token import DEADLINE_S
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from clm.hsm.session import SessionContext
    from clm.hsm.token import Token

MECHANISMS = (
    Mechanism.EC_KEY_PAIR_GEN,
    Mechanism.ECDSA,
    Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
    Mechanism.EDDSA,
    Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    Mechanism.RSA_PKCS,
    Mechanism.RSA_PKCS_PSS,
    Mechanism.RSA_PKCS_OAEP,
    Mechanism.AES_KEY_GEN,
    Mechanism.AES_GCM,
    Mechanism.AES_KEY_WRAP,
)
TRIED = ("ECDSA-256", "ECDSA-384", "ECDSA-521", "Ed25519", "RSA-2048")
"""Signing algorithms that are tried; larger RSA keys take seconds to make, so the mechanism's maximum decides."""

_LARGER_RSA = (3072, 4096)
_SESSION_KEY: dict[Attribute, Any] = {Attribute.TOKEN: False, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
_SESSION_PRIVATE = _SESSION_KEY | {
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
_SESSION_PUBLIC: dict[Attribute, Any] = {
    Attribute.TOKEN: False,
    Attribute.VERIFY: True,
    Attribute.ENCRYPT: False,
    Attribute.WRAP: False,
}
_SESSION_SECRET = _SESSION_KEY | {
    Attribute.ENCRYPT: True,
    Attribute.DECRYPT: True,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
}
_MESSAGE = b"CLM capability probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the token has shown. `failures` says what it did not do, and how it refused."""

    label: str
    serial: str
    manufacturer: str
    model: str
    module: str
    mechanisms: tuple[str, ...]
    signing: tuple[str, ...]
    aes_gcm: bool
    failures: tuple[str, ...]

    def require(self, *, signing: KeySpec | None = None) -> None:
        """Raise Unsupported unless the token wraps keys and, if given, signs with this algorithm."""
        wanted = None if signing is None else str(signing)
        if not self.aes_gcm or (wanted is not None and wanted not in self.signing):
            lacks = "AES-GCM" if not self.aes_gcm else wanted
            raise Unsupported(f"token {self.label!r} lacks {lacks}: {'; '.join(self.failures) or 'no such mechanism'}")


async def probe(token: Token, *, deadline_s: float = DEADLINE_S) -> Capabilities:
    """Try every algorithm that CLM may use. Raises HsmUnavailable, PinRejected, TokenMismatch."""
    mechanisms, rsa_bits = await token.run(_mechanisms, deadline_s=deadline_s)
    failures: list[str] = []
    signing: list[str] = []
    # One visit to the token for each, so that a probe does not hold up what is waiting.
    for name in TRIED:
        refusal = await token.run(partial(_try_signing, name=name), deadline_s=deadline_s)
        failures.append(f"{name}: {refusal}") if refusal else signing.append(name)
    if "RSA-2048" in signing:
        signing += [f"RSA-{size}" for size in _LARGER_RSA if size <= rsa_bits]
    refusal = await token.run(_try_wrapping, deadline_s=deadline_s)
    if refusal:
        failures.append(f"AES-GCM: {refusal}")
    label, serial, manufacturer, model = await token.run(_identity, deadline_s=deadline_s)
    return Capabilities(
        label=label,
        serial=serial,
        manufacturer=manufacturer,
        model=model,
        module=token.module_description,
        mechanisms=mechanisms,
        signing=tuple(signing),
        aes_gcm=refusal is None,
        failures=tuple(failures),
    )


def _identity(context: SessionContext) -> tuple[str, str, str, str]:
    token = context.connection.token
    return token.label, context.connection.serial, token.manufacturer_id, token.model


def _mechanisms(context: SessionContext) -> tuple[tuple[str, ...], int]:
    """Names of the mechanisms that count here, and the largest RSA modulus in bits."""
    slot = context.connection.token.slot
    listed = slot.get_mechanisms()
    names = tuple(mechanism.name for mechanism in MECHANISMS if mechanism in listed)
    bits = 0
    if Mechanism.RSA_PKCS_KEY_PAIR_GEN in listed:
        bits = slot.get_mechanism_info(Mechanism.RSA_PKCS_KEY_PAIR_GEN).max_key_length or 0
    return names, bits


def _try_signing(context: SessionContext, name: str) -> str | None:
    """Make a session key pair, sign and verify; the refusal, if any."""
    spec = KeySpec.parse(name)
    try:
        public, private = generate_pair(
            context.session, spec, public_template=_SESSION_PUBLIC, private_template=_SESSION_PRIVATE
        )
        try:
            _, spki = read_public_key(public)
            check_pair(private, spec, spki)
        finally:
            public.destroy()
            private.destroy()
    except PKCS11Error as error:
        return refusal_of(context, error)
    except HsmError as error:
        return describe(error)
    return None


def _try_wrapping(context: SessionContext) -> str | None:
    """Round trip by AES-GCM, and the test that associated data count; the refusal, if any."""
    try:
        key = context.session.generate_key(KeyType.AES, 256, store=False, template=_SESSION_SECRET)
        try:
            blob = kek.encrypt_blocking(key, _MESSAGE, aad=b"row 1")
            if kek.decrypt_blocking(context, key, blob, aad=b"row 1") != _MESSAGE:
                return "it decrypts to something else than it encrypted"
            try:
                kek.decrypt_blocking(context, key, blob, aad=b"row 2")
            except WrapRejected:
                return None
            return "it ignores the associated data"
        finally:
            key.destroy()
    except PKCS11Error as error:
        return refusal_of(context, error)
    except HsmError as error:
        return describe(error)


def refusal_of(context: SessionContext, error: PKCS11Error) -> str:
    """How the token refused; raises instead when it did not refuse but was lost."""
    if is_lost(error):
        context.check_alive()
    return describe(error)
