"""What a DNS name, a mailbox and an object identifier are in a certificate, and how they stand in messages."""

from __future__ import annotations

import json
import re

from cryptography import x509

from clm.resources.usages import OBJECT_IDENTIFIER

_UNNAMED = "Unknown OID"
_ERROR_MOST = 200
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_DNS_LIMIT = 253
# RFC 5321 4.1.2 Dot-string; a Quoted-string local part is legal there and a trap for everybody who splits at "@".
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_LOCAL_PART_LIMIT = 64


def is_host(name: str) -> bool:
    """Tell whether this is a DNS name in ASCII: RFC 1123 2.1 labels, with the underscore that SRV names use.

    The last label is not a number (RFC 1123 2.1: else it could be an IPv4 address), and a label with hyphens in its
    third and fourth place is an A-label that decodes (RFC 5890 2.3.1).
    """
    if len(name) > _DNS_LIMIT or not _HOST.match(name) or name.rpartition(".")[2].isdigit():
        return False
    return "--" not in name or all(map(_is_not_a_false_a_label, name.split(".")))


def is_mailbox(address: str) -> bool:
    """Tell whether this is a mailbox in ASCII (RFC 5280 4.2.1.6, RFC 5321 4.1.2), with an unquoted local part."""
    local, _, domain = address.rpartition("@")
    return len(local) <= _LOCAL_PART_LIMIT and _LOCAL_PART.match(local) is not None and is_host(domain)


def object_identifier(text: str) -> x509.ObjectIdentifier:
    """Read an object identifier in dotted form. Raises ValueError, with a text fit for people, on anything else."""
    try:
        if OBJECT_IDENTIFIER.match(text):
            return x509.ObjectIdentifier(text)
    except ValueError:
        pass
    raise ValueError("is not an object identifier in dotted form")


def _is_not_a_false_a_label(label: str) -> bool:
    if label[2:4] != "--":
        return True
    if label[:2].lower() != "xn":
        return False
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, OverflowError, ValueError):
        return False
    return decoded.isprintable() and not decoded.isascii()


def named(oid: x509.ObjectIdentifier) -> str:
    """Write an object identifier, with its name where it has a common one."""
    name = getattr(oid, "_name", _UNNAMED)
    return oid.dotted_string if name == _UNNAMED else f"{name} ({oid.dotted_string})"


def error_text(error: Exception) -> str:
    """Say what a library found wrong, in one line that is not long."""
    return " ".join(str(error).split())[:_ERROR_MOST] or type(error).__name__


def quoted(value: str) -> str:
    """Put what somebody wrote into a message: in quotes, and escaped where it cannot be printed."""
    return f'"{value}"' if value.isprintable() else json.dumps(value)
