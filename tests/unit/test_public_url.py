"""The public URL goes into every certificate: what would be wrong there for years is refused at the start."""

from __future__ import annotations

import pytest

from clm.errors import InvalidSetting
from clm.settings import public_base_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://pki.example.com", "http://pki.example.com"),
        ("http://pki.example.com/", "http://pki.example.com"),
        ("http://[2001:db8::1]:8080/clm/", "http://[2001:db8::1]:8080/clm"),
        ("http://127.0.0.1:20000", "http://127.0.0.1:20000"),
    ],
)
def test_is_taken_without_its_last_slash(text: str, expected: str) -> None:
    """Paths are put behind it."""
    assert public_base_url(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://pki.example.com", "http://"),
        ("pki.example.com", "http://"),
        ("http://", "host"),
        ("http://user:secret@pki.example.com", "without user"),
        ("http://pki.example.com?x=1", "query"),
        ("http://pki.example.com#x", "fragment"),
        ("http://pki.example.com:port", "valid URL"),
        ("http://[2001:db8::1", "valid URL"),
        ("http://b\u00fccher.example", "ASCII"),
        ("http://pki.example.com/a b", "ASCII"),
        ("http://pki.example.com/" + "a" * 200, "200"),
    ],
)
def test_is_refused(text: str, said: str) -> None:
    """By name of the setting, and never with its value, in which somebody may have put a password."""
    with pytest.raises(InvalidSetting, match=r"^CLM_PUBLIC_URL") as caught:
        public_base_url(text)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
