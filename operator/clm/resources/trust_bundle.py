"""What a Policy says of its trust bundle: which ConfigMap holds the roots, and in which namespaces it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.resources.reading import Reader

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]

_OPERATORS: tuple[Operator, ...] = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement on a label, as in a Kubernetes label selector."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """Labels and requirements that must all be met; an empty one selects everything."""

    match_labels: Mapping[str, str]
    match_expressions: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """The ConfigMap that holds the roots in each selected namespace."""

    config_map: str
    selector: LabelSelector


def read_trust_bundle(parent: Reader) -> TrustBundle | None:
    """Read spec.trustBundle; None where it is absent. Without a selector, or by an empty one, it is every namespace."""
    if parent.value("trustBundle") is None:
        return None
    reader = parent.child("trustBundle")
    selector = reader.child("namespaceSelector")
    return TrustBundle(
        config_map=reader.required_text("configMap"),
        selector=LabelSelector(
            match_labels=selector.text_map("matchLabels"),
            match_expressions=tuple(map(_requirement, selector.children("matchExpressions"))),
        ),
    )


def _requirement(reader: Reader) -> Requirement:
    operator = reader.choice("operator", _OPERATORS, default="Exists")
    reader.text("operator", required=True)
    values = reader.texts("values")
    if bool(values) != (operator in ("In", "NotIn")):
        reader.problem("values", "must be there for In and NotIn, and for nothing else")
    return Requirement(key=reader.required_text("key"), operator=operator, values=values)
