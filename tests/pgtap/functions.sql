-- Every function in PL/pgSQL, as plpgsql_check sees it: no error, no unused variable, no way in for foreign SQL.
BEGIN;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE EXTENSION plpgsql_check SCHEMA tap;
SET LOCAL search_path = tap, public, pg_catalog;
SELECT no_plan();

-- A trigger function is looked at with each table that calls it.
CREATE TEMP VIEW called AS
SELECT p.oid AS function, coalesce(t.tgrelid, 0) AS relation
FROM pg_proc p
JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
LEFT JOIN (SELECT DISTINCT tgfoid, tgrelid FROM pg_trigger WHERE NOT tgisinternal) t ON t.tgfoid = p.oid
WHERE p.pronamespace::regnamespace::text ~ '^(public|clm_)'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e');

SELECT cmp_ok((SELECT count(DISTINCT function)::int FROM called), '>=', 4, 'there are functions to look at');
SELECT is_empty(
    $$SELECT function FROM called JOIN pg_proc p ON p.oid = function
      WHERE p.prorettype = 'trigger'::regtype AND relation = 0$$,
    'every trigger function is called by a trigger');
SELECT is_empty(
    $$SELECT function::regprocedure, relation::regclass, level, lineno, message, detail, query
      FROM called, plpgsql_check_function_tb(function, relation, fatal_errors => false, security_warnings => true)$$,
    'no function has a fault');

SELECT * FROM finish();
ROLLBACK;
