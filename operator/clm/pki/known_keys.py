"""Keys whose private half has been published: examples of standards and of tools, which people copy.

The hundreds of thousands of others that are known, most of them of CVE-2008-0166 (Debian's OpenSSL), come as files.
"""

from __future__ import annotations

PUBLISHED = {
    "d5246bc377541fb76508de53d527eb973a81b755144ab531a6a0b7b4af0e7088": "RFC 9500 2.1, testRSA2048",
    "718d4d86179831caf9ff705a08a587e33797bd534b8cbb112c641b1a9964a052": "RFC 9500 2.1, testRSA4096",
    "336ab2ef332415f3ec691a96a4dfd2f4c75493619282d39445eafb4478f51087": "RFC 9500 2.3, testECCP256",
    "f37f4a83bbce8e3e8118ca38541b3904d8c4b8a53012b2c28080ce398008a0c9": "RFC 9500 2.3, testECCP384",
    "95ebd9e88bd04c3238d9593c875af83bae889e6b298a0051c4e5d8104e3cd34a": "RFC 9500 2.3, testECCP521",
    "9af6159203e8509e0550defa50b312bd5a45c5e9ad956d09b43756d8fdd7e665": "RFC 9421 B.1.1",
    "fa2bc28a552a8316d284796d1b00dcf49f6f2010fc92cf1972c43a9d00ff37da": "RFC 9421 B.1.3",
    "b16c2d1bead1262639764fdb0ee4d3774599336bd493404cda4b1136c59f2062": "RFC 9421 B.1.4",
    "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9": "RFC 8032 7.1, test 1",
    "39f713d0a644253f04529421b9f51b9b08979d08295959c4f3990ee617f5139f": "RFC 8032 7.1, test 2",
    "dac073e0123bdea59dd9b3bda9cf6037f63aca82627d7abcd5c4ac29dd74003e": "RFC 8032 7.1, test 3",
    "91384c411e5af29648f17f922b402655b11ecaec1b33fc45796241963f95f202": "RFC 8032 7.1, test 1024",
    "5f9b247e2a654719f198e4f241d6b0df9a1a937a13ef5ef899f64d9285fce224": "RFC 8032 7.1, test SHA(abc)",
    "e744c0791320c3285460eddb523f14c88d857ada46b97a5690d88cf978b9191f": "RFC 8410 10.3",
    "10985c901b9bc6c098258f3ae43e4f3f129066efd8335271ec7e07c89bda39c9": "RFC 6979 A.2.5",
    "cab8860f3b4d077859313d2a4ef4fe729516591511eb9ed87e6f9682cb83965e": "RFC 6979 A.2.6",
    "0925f7c753355dd3cd3c4904001d6fc758fb2583a067404ed68b2f2c8279a557": "RFC 6979 A.2.7",
    "c4a8d76ecf5f712a6f98052d967a155f92e22a4151e176700b2d8077987967ab": "RFC 7515 A.3",
    "fa0823c601e01670320f579ad4c5c453d77b6ca8d7bb6f2640abb11223a33580": "RFC 7517 A.2",
    "08d4c44ed3de00523ff625400c954b2d446deed5b422cf399d3c74f45c9738a3": "RFC 7515 A.4",
    "cfd9828d5c4be180a7f4eb8b33725769db37cf9d3e7e71e3522158c39b34537c": "RFC 7517 A.2",
    "26d6872d476b20e7eaa7cc894dcbc03f2347e88fb8cb46066642213cacf257d5": "RFC 7515 A.2",
    "2da8a492573f9cd453d9a68d7a24c62b4c2c8bd0c3497283ff438b606f65e0d3": "the example of jwt.io",
    "9142de5a4473a92861951a946aa031ac75df6ae9918271e3cb58d48697863666": "the example of jwt.io",
}
"""Where a key was published, by the SHA-256 in hexadecimal of `weak_keys.number_of`."""


class PublishedKeys:
    """The keys of this module, as a list of known keys."""

    def find(self, *, spki_sha256: bytes, number_sha256: bytes) -> str | None:  # noqa: ARG002 - whatever the encoding
        """Say where the private half of a key was published; None where it was not, as far as is known here."""
        where = PUBLISHED.get(number_sha256.hex())
        return None if where is None else f"it is published: {where}"
