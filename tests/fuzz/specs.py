"""Specs of Certificates out of the CRD's schema: what the API server lets through, and now and then what it would not.

Made from the schema, so that a field that is added is fuzzed from its first day.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_CRD = Path(__file__).resolve().parents[2] / "crds" / "certificates.yaml"
_INT64 = 2**63

# Where the schema only says "a string", and what most parsers have tripped over.
_WORDS = [
    "", " ", "\0", "a\0b", "*.example.com", "xn--a", "xn--zca.example", "ß.example", "a" * 64, "1.3.6.1.4.1.311.20.2.3",
    "2.999.1", "0.0", "::1", "192.0.2.1", "fe80::1%eth0", "10.0.0.0/8", "0.0.0.0/0", "::/0", "CN=a,O=b+OU=c", "CN=\\00",
    "http://[::1", "http://a:99999/", "a@b", "a@[192.0.2.1]", "2562047h", "999999999999999999999h", "0.0000001ns",
    "*/5 * * * *", "0 0 31 2 *", "Europe/Berlin", "../../etc/passwd", "\u202e\u2066", "\U0001f512", "e\u0301",
]  # fmt: skip
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-_INT64, _INT64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


_REQUIRED: dict[str, Any] = {"policyRef": {"name": "p"}, "secretName": "s"}
BASES: tuple[dict[str, Any], ...] = (
    {**_REQUIRED, "dnsNames": ["a.example.com"], "usages": ["digital signature", "server auth"]},
    {**_REQUIRED, "commonName": "a", "emailAddresses": ["a@example.com"], "privateKey": {"algorithm": "RSA"}},
    {**_REQUIRED, "literalSubject": "CN=a,O=b", "uris": ["spiffe://a/b"], "privateKey": {"algorithm": "Ed25519"}},
    {**_REQUIRED, "commonName": "CA", "isCA": True, "duration": "87600h", "usages": ["cert sign", "crl sign"]},
)
"""Specs that are accepted: most of what is made is one of them with up to four fields changed."""


@cache
def specs(*, requests: tuple[str, ...] = ()) -> SearchStrategy[dict[str, Any]]:
    """Specs; some ask with one of these requests."""
    versions = yaml.safe_load(_CRD.read_text(encoding="utf-8"))["spec"]["versions"]
    schema = versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    parts = {name: _values(part) for name, part in schema["properties"].items()}
    bases = [*BASES, *({**_REQUIRED, "request": request} for request in requests)]
    fields = st.lists(st.sampled_from(sorted(parts)), max_size=4, unique=True)
    changes = fields.flatmap(lambda names: st.fixed_dictionaries({name: parts[name] for name in names}))
    return st.tuples(st.sampled_from(bases), changes).map(lambda pair: pair[0] | pair[1])


def _values(schema: dict[str, Any]) -> SearchStrategy[Any]:
    """Values as the schema has them; one of sixteen is anything at all."""
    fitting = _fitting(schema)
    return st.integers(0, 15).flatmap(lambda die: _ANYTHING if die == 15 else fitting)


def _fitting(schema: dict[str, Any]) -> SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            return _objects(schema)
        case "array":
            return st.lists(_values(schema["items"]), max_size=min(schema.get("maxItems", 3), 3))
        case "integer":
            low, high = schema.get("minimum", -_INT64), schema.get("maximum", _INT64 - 1)
            return st.integers(low, high) | st.sampled_from([low, high])
        case "boolean":
            return st.booleans()
        case _:
            return _strings(schema)


def _objects(schema: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
    if "additionalProperties" in schema:
        values = _values(schema["additionalProperties"])
        return st.dictionaries(st.sampled_from([*_WORDS, "app.kubernetes.io/name"]), values, max_size=3)
    required = set(schema.get("required", ()))
    parts = {name: _values(part) for name, part in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: part for name, part in parts.items() if name in required},
        optional={name: part for name, part in parts.items() if name not in required},
    )


def _strings(schema: dict[str, Any]) -> SearchStrategy[str]:
    longest = min(schema.get("maxLength", 40), 300)
    free = st.text(min_size=schema.get("minLength", 0), max_size=min(longest, 40)) | st.sampled_from(_WORDS)
    if "pattern" not in schema:
        return free
    # Of ten, one is not as the pattern has it, but as the API server would have refused it.
    regular = st.from_regex(schema["pattern"], fullmatch=True)
    return st.integers(0, 9).flatmap(lambda die: free if die == 9 else regular)
