"""Which namespaces may use a Policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.resources.reading import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSelector:
    """Namespaces that may refer to the Policy: those with all the labels, if any, and one of the names, if any.

    Names may hold `*` wildcards.
    """

    match_labels: Mapping[str, str]
    match_names: tuple[str, ...]


def read_namespaces(parent: Reader) -> NamespaceSelector | None:
    """Read `namespaces`.

    Absent and without either member it selects every namespace; a member that is there selects by something.
    """
    reader = parent.child("namespaces")
    reader.refuse_empty("matchLabels", "matchNames")
    selector = NamespaceSelector(match_labels=reader.text_map("matchLabels"), match_names=reader.texts("matchNames"))
    return selector if selector.match_labels or selector.match_names else None
