"""Subject alternative names (RFC 5280 4.2.1.6)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from clm.errors import InvalidInput
from clm.pki import der
from clm.pki.text import is_host, is_mailbox, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.resources.certificate import CertificateSpec

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+\Z")
# RFC 3986 2: reserved, unreserved and percent-encoded characters, after a scheme.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+\Z")
_DOT_SEGMENTS = (".", "..")


def general_names(spec: CertificateSpec) -> list[x509.GeneralName]:
    """Build the names, each once, in the order DNS, IP, URI, e-mail, otherName.

    Raises InvalidInput, naming the field, for a name that X.509 cannot carry.
    """
    return list(dict.fromkeys(_general_names(spec)))


def sans_as_records(spec: CertificateSpec) -> list[dict[str, str]]:
    """Write the names as the databases hold them: in the certificate's order, each once."""
    pairs = [
        *(("dns", name) for name in spec.dns_names),
        *(("ip", str(ipaddress.ip_address(text))) for text in spec.ip_addresses),
        *(("uri", uri) for uri in spec.uris),
        *(("email", address) for address in spec.email_addresses),
        *((f"otherName:{other.oid}", other.utf8_value) for other in spec.other_names),
    ]
    return [{"type": kind, "value": value} for kind, value in dict.fromkeys(pairs)]


def as_record(name: x509.GeneralName) -> dict[str, str]:
    """Write one name of a certificate as `sans_as_records` does."""
    match name:
        case x509.DNSName():
            return {"type": "dns", "value": name.value}
        case x509.IPAddress():
            return {"type": "ip", "value": str(name.value)}
        case x509.UniformResourceIdentifier():
            return {"type": "uri", "value": name.value}
        case x509.RFC822Name():
            return {"type": "email", "value": name.value}
        case x509.OtherName():
            value = der.content(name.value).decode("utf-8", "replace")
            return {"type": f"otherName:{name.type_id.dotted_string}", "value": value}
        case _:
            return {"type": "other", "value": str(name.value)}


def _general_names(spec: CertificateSpec) -> Iterator[x509.GeneralName]:
    for index, name in enumerate(spec.dns_names):
        yield x509.DNSName(_dns(name, f"spec.dnsNames[{index}]"))
    for index, text in enumerate(spec.ip_addresses):
        yield x509.IPAddress(_ip(text, f"spec.ipAddresses[{index}]"))
    for index, text in enumerate(spec.uris):
        yield x509.UniformResourceIdentifier(_uri(text, f"spec.uris[{index}]"))
    for index, text in enumerate(spec.email_addresses):
        yield x509.RFC822Name(_email(text, f"spec.emailAddresses[{index}]"))
    for index, other in enumerate(spec.other_names):
        field = f"spec.otherNames[{index}]"
        yield x509.OtherName(_oid(other.oid, f"{field}.oid"), _utf8_string(other.utf8_value, f"{field}.utf8Value"))


def _dns(name: str, field: str) -> str:
    # A wildcard is a whole first label, and something follows it (RFC 9525 6.3).
    if not is_host(name.removeprefix("*.")):
        raise InvalidInput(
            field, f"{quoted(name)} is not a DNS name; write internationalized names in their ASCII form (xn--)"
        )
    return name


def _ip(text: str, field: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(field, f"{quoted(text)} is not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise InvalidInput(field, f"{quoted(text)} has a zone, which a certificate cannot carry; leave it out")
    return address


def _uri(text: str, field: str) -> str:
    try:
        parts = urlsplit(text) if _URI.match(text) else None
    except ValueError:
        parts = None
    if parts is None:
        raise InvalidInput(field, f"{quoted(text)} is not an absolute URI in ASCII (RFC 3986)")
    # "/ns/shop/../admin" begins with what a Policy allows, and means something else to whoever normalizes it.
    if any(segment in _DOT_SEGMENTS for segment in parts.path.lower().replace("%2e", ".").split("/")):
        raise InvalidInput(field, f"{quoted(text)} has dot segments; write the path that is meant (RFC 3986 6.2.2.3)")
    return text


def _email(text: str, field: str) -> str:
    if not is_mailbox(text):
        raise InvalidInput(field, f"{quoted(text)} is not an e-mail address in ASCII without quotes (RFC 5321 mailbox)")
    return text


def _oid(text: str, field: str) -> x509.ObjectIdentifier:
    try:
        if _OID.match(text):
            return x509.ObjectIdentifier(text)
    except ValueError:
        pass
    raise InvalidInput(field, f"{quoted(text)} is not an object identifier in dotted form")


def _utf8_string(text: str, field: str) -> bytes:
    if not text or not text.isprintable():
        raise InvalidInput(field, "is empty or has characters that cannot be printed")
    return der.tlv(der.UTF8_STRING, text.encode())
