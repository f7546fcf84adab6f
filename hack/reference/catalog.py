"""What the catalog of a migrated database tells, in a form that does not depend on the version of PostgreSQL.

Monthly partitions are left out: which ones there are depends on the day.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hack.reference import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "USAGE", "EXECUTE")
_ONE_OF = re.compile(r"(\w+) = ANY \(ARRAY\[([^\]]*)\]\)")
_ENUMERATION = re.compile(r"CHECK \((\w+) IN \(([^()]*)\)\)")
_SHORT_TYPES = {"timestamp with time zone": "timestamptz", "integer": "int"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `default` is its expression, or nothing."""

    name: str
    type: str
    nullable: bool
    default: str
    comment: str


@dataclass(frozen=True, slots=True)
class Part:
    """An index, constraint, trigger or policy: its name and what it says."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference within one database. `optional`: may be null; `unique`: at most one row refers to each."""

    columns: tuple[str, ...]
    target: str
    optional: bool
    unique: bool


@dataclass(slots=True)
class Grants:
    """Who may do what with one thing. Columns are None where the right is to the whole."""

    rights: dict[tuple[str, str], list[str] | None] = field(default_factory=dict)

    def add(self, role: str, privilege: str, column: str | None) -> None:
        """Note one right."""
        if column is None:
            self.rights[role, privilege] = None
        elif (columns := self.rights.setdefault((role, privilege), [])) is not None:
            columns.append(column)

    def by_role(self) -> dict[str, list[tuple[str, list[str] | None]]]:
        """Rights of each role, in the order of _PRIVILEGES."""
        sorted_rights: dict[str, list[tuple[str, list[str] | None]]] = defaultdict(list)
        for role, privilege in sorted(self.rights, key=lambda right: (right[0], _PRIVILEGES.index(right[1]))):
            sorted_rights[role].append((privilege, self.rights[role, privilege]))
        return dict(sorted_rights)


@dataclass(slots=True)
class Relation:
    """A table or view."""

    schema: str
    name: str
    kind: str
    comment: str
    options: list[str]
    row_security: str
    partitioned_by: str
    columns: list[Column] = field(default_factory=list)
    constraints: list[Part] = field(default_factory=list)
    indexes: list[Part] = field(default_factory=list)
    triggers: list[Part] = field(default_factory=list)
    policies: list[Part] = field(default_factory=list)
    references: list[ForeignKey] = field(default_factory=list)
    primary_key: tuple[str, ...] = ()
    reads: list[str] = field(default_factory=list)
    grants: Grants = field(default_factory=Grants)

    @property
    def title(self) -> str:
        """Name, with its schema where that is not public."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    def enumerations(self) -> dict[str, list[str]]:
        """Columns that take only some values, and which."""
        found = (_ENUMERATION.fullmatch(constraint.text) for constraint in self.constraints)
        return {match[1]: [value.strip(" '") for value in match[2].split(",")] for match in found if match}


@dataclass(frozen=True, slots=True)
class Routine:
    """A function. `how`: its language and what it runs as."""

    schema: str
    name: str
    arguments: str
    returns: str
    how: str
    comment: str
    grants: Grants = field(default_factory=Grants)


@dataclass(slots=True)
class Schema:
    """One schema of a database."""

    name: str
    comment: str
    relations: list[Relation] = field(default_factory=list)
    routines: list[Routine] = field(default_factory=list)
    grants: Grants = field(default_factory=Grants)


@dataclass(frozen=True, slots=True)
class Role:
    """A database user, with what is set for it."""

    name: str
    can_login: bool
    settings: list[str]
    comment: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """One database."""

    name: str
    schemas: list[Schema]
    roles: list[Role]
    migrations: list[str]

    @property
    def tables(self) -> list[Relation]:
        """Every table of every schema."""
        return [relation for schema in self.schemas for relation in schema.relations if relation.kind == "table"]


def read_catalog(connection: Connection, name: str) -> Catalog:
    """Read everything of ours, as a superuser. `name` is the database's name in the documentation."""
    connection.execute("SET search_path = pg_catalog, public")
    schemas = {row[0]: Schema(*row) for row in _rows(connection, queries.SCHEMAS)}
    relations: dict[int, Relation] = {}
    for oid, schema, *values in _rows(connection, queries.RELATIONS):
        relations[oid] = Relation(schema, *values)
        schemas[schema].relations.append(relations[oid])
    _read_parts(connection, relations)
    _read_routines(connection, schemas)
    for schema, role, privilege in _rows(connection, queries.SCHEMA_GRANTS):
        schemas[schema].grants.add(role, privilege, None)
    return Catalog(
        name=name,
        schemas=list(schemas.values()),
        roles=[Role(*row) for row in _rows(connection, queries.ROLES)],
        migrations=[row[0] for row in _rows(connection, queries.MIGRATIONS)],
    )


def _read_parts(connection: Connection, relations: dict[int, Relation]) -> None:
    for oid, name, kind, nullable, default, comment in _rows(connection, queries.COLUMNS):
        relations[oid].columns.append(Column(name, _type(kind), nullable, plain(default), comment))
    for oid, name, definition in _rows(connection, queries.CONSTRAINTS):
        relations[oid].constraints.append(Part(name, plain(definition)))
    for oid, name, definition in _rows(connection, queries.INDEXES):
        relations[oid].indexes.append(Part(name, plain(definition)))
    for oid, name, definition, always in _rows(connection, queries.TRIGGERS):
        text = re.sub(rf"^CREATE TRIGGER {name} | ON \S+(?= FOR)", "", definition)
        relations[oid].triggers.append(Part(name, plain(text) + (", always" if always else "")))
    for oid, name, *values in _rows(connection, queries.POLICIES):
        relations[oid].policies.append(Part(name, _policy(*values)))
    for oid, columns, target, optional, unique in _rows(connection, queries.FOREIGN_KEYS):
        relations[oid].references.append(ForeignKey(tuple(columns), target, optional, unique))
    for oid, columns in _rows(connection, queries.PRIMARY_KEYS):
        relations[oid].primary_key = tuple(columns)
    for oid, read in _rows(connection, queries.READS):
        relations[oid].reads.append(read)
    for oid, role, privilege, column in _rows(connection, queries.GRANTS):
        relations[oid].grants.add(role, privilege, column)


def _read_routines(connection: Connection, schemas: dict[str, Schema]) -> None:
    routines: dict[int, Routine] = {}
    for oid, schema, *values in _rows(connection, queries.ROUTINES):
        routines[oid] = Routine(schema, *values)
        schemas[schema].routines.append(routines[oid])
    for oid, role, privilege in _rows(connection, queries.ROUTINE_GRANTS):
        routines[oid].grants.add(role, privilege, None)


def plain(expression: str) -> str:
    r"""Write an expression as people would.

    >>> plain("CHECK (state = ANY (ARRAY['a'::text, 'b'::text]))")
    "CHECK (state IN ('a', 'b'))"
    >>> plain("organization_id = (( SELECT NULLIF(current_setting('clm.organization'::text, true),"
    ...       " ''::text)::uuid AS \"nullif\"))")
    'organization_id = [tenant]'
    """
    text = " ".join(expression.split()).replace("::text", "").replace("::jsonb", "")
    tenant = r"\(+ ?SELECT NULLIF\(current_setting\('clm.organization', true\), ''\)::uuid AS \"nullif\"\)+"
    return _ONE_OF.sub(r"\1 IN (\2)", re.sub(tenant, "[tenant]", text))


def _type(name: str) -> str:
    return _SHORT_TYPES.get(name, name)


def _policy(command: str, roles: Sequence[str], using: str, check: str) -> str:
    to = "" if list(roles) == ["public"] else f" to {', '.join(roles)}"
    using, check = _unwrapped(plain(using)), _unwrapped(plain(check))
    checked = f", new rows: {check}" if check and check != using else ""
    return f"{command}{to}: {using}{checked}"


def _unwrapped(text: str) -> str:
    """Without parentheses around all of it, which one version writes and another does not.

    >>> _unwrapped("((a = b))"), _unwrapped("(a) = (b)")
    ('a = b', '(a) = (b)')
    """
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for at, character in enumerate(text):
            depth += (character == "(") - (character == ")")
            if depth == 0 and at < len(text) - 1:
                return text
        text = text[1:-1]
    return text


def _rows(connection: Connection, query: str) -> Iterable[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()
