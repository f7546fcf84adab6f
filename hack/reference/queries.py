"""The queries of the catalog. Each is ordered by what does not change from one database to the next: names."""

# ruff: noqa: S608 - constants only

from __future__ import annotations

_OURS = "(n.nspname = 'public' OR n.nspname LIKE 'clm\\_%')"
_NOT_PARTITION = "NOT c.relispartition"
_NOT_OF_EXTENSION = "NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {}.oid AND d.deptype = 'e')"
_RELATIONS = f"""
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OURS} AND {_NOT_PARTITION} AND c.relkind IN ('r', 'p', 'v') AND {_NOT_OF_EXTENSION.format("c")}
"""
_ORDER = "ORDER BY n.nspname <> 'public', n.nspname"
_GRANTEE = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END"

SCHEMAS = f"""
    SELECT n.nspname, coalesce(obj_description(n.oid, 'pg_namespace'), '') FROM pg_namespace n WHERE {_OURS} {_ORDER}
"""

RELATIONS = f"""
    SELECT c.oid, n.nspname, c.relname, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END,
           coalesce(obj_description(c.oid, 'pg_class'), ''),
           coalesce((SELECT array_agg(o ORDER BY o) FROM unnest(c.reloptions) o), '{{}}'),
           CASE WHEN c.relforcerowsecurity THEN 'forced' WHEN c.relrowsecurity THEN 'enabled' ELSE '' END,
           coalesce(pg_get_partkeydef(c.oid), '')
    {_RELATIONS} {_ORDER}, c.relkind = 'v', c.relname
"""

COLUMNS = f"""
    SELECT c.oid, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
           coalesce(pg_get_expr(d.adbin, d.adrelid, true), ''), coalesce(col_description(c.oid, a.attnum), '')
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.oid, a.attnum
"""

# Not those of PostgreSQL 18 for NOT NULL, which the columns tell.
CONSTRAINTS = f"""
    SELECT c.oid, k.conname, pg_get_constraintdef(k.oid, true)
    FROM pg_constraint k JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = k.conrelid
    WHERE k.contype IN ('p', 'u', 'f', 'c', 'x')
    ORDER BY array_position('{{p,u,f,c,x}}'::text[], k.contype::text), k.conname
"""

INDEXES = f"""
    SELECT c.oid, x.relname,
           CASE WHEN i.indisunique THEN 'unique ' ELSE '' END
           || regexp_replace(pg_get_indexdef(i.indexrelid, 0, true), '^.* USING ', '')
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = i.indrelid
    ORDER BY NOT i.indisprimary, x.relname
"""

TRIGGERS = f"""
    SELECT c.oid, t.tgname, pg_get_triggerdef(t.oid, true), t.tgenabled = 'A'
    FROM pg_trigger t JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal ORDER BY t.tgname
"""

POLICIES = f"""
    SELECT c.oid, p.polname,
           CASE p.polcmd WHEN '*' THEN 'all' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
               ELSE 'DELETE' END,
           (SELECT array_agg(CASE r WHEN 0 THEN 'public' ELSE pg_get_userbyid(r) END::text ORDER BY r = 0,
                             pg_get_userbyid(r)) FROM unnest(p.polroles) r),
           coalesce(pg_get_expr(p.polqual, p.polrelid, true), ''),
           coalesce(pg_get_expr(p.polwithcheck, p.polrelid, true), '')
    FROM pg_policy p JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = p.polrelid
    ORDER BY p.polname
"""

_COLUMN_NAMES = """(SELECT array_agg(a.attname::text ORDER BY place)
    FROM unnest(k.conkey) WITH ORDINALITY AS u (number, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number)"""

FOREIGN_KEYS = f"""
    SELECT c.oid, {_COLUMN_NAMES}, k.confrelid::regclass::text,
           EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND NOT a.attnotnull),
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisunique AND i.indpred IS NULL
                   AND string_to_array(i.indkey::text, ' ')::int2[] <@ k.conkey)
    FROM pg_constraint k JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = k.conrelid
    WHERE k.contype = 'f' ORDER BY k.conname
"""

PRIMARY_KEYS = f"""
    SELECT c.oid, {_COLUMN_NAMES}
    FROM pg_constraint k JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = k.conrelid WHERE k.contype = 'p'
"""

READS = f"""
    SELECT DISTINCT c.oid, d.refobjid::regclass::text
    FROM pg_rewrite r JOIN (SELECT c.oid {_RELATIONS}) c ON c.oid = r.ev_class
    JOIN pg_depend d ON d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
    ORDER BY 2
"""

GRANTS = f"""
    SELECT c.oid, {_GRANTEE}, a.privilege_type, NULL::text
    FROM (SELECT c.oid, c.relacl, c.relowner {_RELATIONS}) c, aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
    UNION ALL
    SELECT oid, role, privilege_type, attname FROM (
        SELECT c.oid, {_GRANTEE} AS role, a.privilege_type, t.attname::text, t.attnum
        FROM (SELECT c.oid {_RELATIONS}) c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
        ORDER BY t.attnum) of_columns
"""

SCHEMA_GRANTS = f"""
    SELECT n.nspname, {_GRANTEE}, a.privilege_type
    FROM pg_namespace n, aclexplode(n.nspacl) a WHERE {_OURS} AND a.grantee <> n.nspowner
"""

ROUTINES = f"""
    SELECT p.oid, n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid),
           l.lanname || CASE WHEN p.prosecdef THEN ', with the rights of its owner' ELSE '' END
           || CASE WHEN p.proconfig IS NULL THEN '' ELSE '; ' || array_to_string(p.proconfig, '; ') END,
           coalesce(obj_description(p.oid, 'pg_proc'), '')
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE {_OURS} AND {_NOT_OF_EXTENSION.format("p")}
    {_ORDER}, p.proname
"""

ROUTINE_GRANTS = f"""
    SELECT p.oid, {_GRANTEE}, a.privilege_type
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
         aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE {_OURS} AND {_NOT_OF_EXTENSION.format("p")} AND a.grantee <> p.proowner
"""

# Ours are those with a comment; the server may have others.
ROLES = """
    SELECT r.rolname, r.rolcanlogin, coalesce((SELECT array_agg(s ORDER BY s) FROM unnest(r.rolconfig) s), '{}'),
           shobj_description(r.oid, 'pg_authid')
    FROM pg_roles r
    WHERE r.rolname LIKE 'clm\\_%' AND shobj_description(r.oid, 'pg_authid') IS NOT NULL
    ORDER BY r.rolname
"""

MIGRATIONS = "SELECT name FROM clm_meta.schema_migrations ORDER BY version"
