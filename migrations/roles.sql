-- The database users of CLM, for an administrator: a superuser, or a user with CREATEROLE who owns the database.
--
--     psql -d clm_secure_db -f migrations/roles.sql
--     psql -d clm_core_db -f migrations/roles.sql
--
-- Once in each database, before the first `clm migrate`; safe to repeat, also on databases with data in them. It makes
-- the roles with their limits, lets clm_migrator become clm_owner, and gives the database and what is in it to
-- clm_owner. It sets no password, and without one nobody logs in (psql: \password clm_migrator). Which role may do what
-- in a database is said by its migrations.

BEGIN;

SET LOCAL search_path = pg_catalog, public;

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('clm_owner', 'NOLOGIN', '0', '5s', '60s', 'off',
             'Owns every object of CLM. Nobody logs in as it.'),
            ('clm_migrator', 'LOGIN NOINHERIT', '0', '5s', '60s', 'off',
             'Applies migrations, as clm_owner.'),
            ('clm_operator_secure', 'LOGIN', '30s', '20s', '30s', 'off',
             'The operator in clm_secure_db.'),
            ('clm_operator_core', 'LOGIN', '30s', '20s', '30s', 'off',
             'The operator in clm_core_db.'),
            ('clm_auditor', 'LOGIN', '5min', '5s', '60s', 'on',
             'Reads the records of both databases, and no secret.'),
            ('clm_archiver', 'LOGIN', '1h', '5s', '10min', 'off',
             'Exports the audit logs.'),
            ('clm_responder', 'LOGIN', '5s', '2s', '10s', 'on',
             'Tells the status of certificates (CRL, OCSP).'),
            ('clm_webhook', 'LOGIN', '5s', '2s', '10s', 'on',
             'Reads what admission is decided by.'),
            ('clm_api', 'LOGIN', '15s', '5s', '15s', 'off',
             'Serves people and their tools, one organization a transaction.')
        ) AS role (name, attributes, statement_timeout, lock_timeout, idle_timeout, read_only, meaning)
    LOOP
        -- Roles are of the whole server: another database's run may make the same one at this moment.
        BEGIN
            EXECUTE format('CREATE ROLE %I', wanted.name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        EXECUTE format('ALTER ROLE %I NOCREATEDB NOCREATEROLE %s', wanted.name, wanted.attributes);
        EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog, public, pg_temp', wanted.name);
        EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', wanted.name, wanted.statement_timeout);
        EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', wanted.name, wanted.lock_timeout);
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', wanted.name, wanted.idle_timeout);
        EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = %L', wanted.name, wanted.read_only);
        EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.name, wanted.meaning);
    END LOOP;
END
$$;

-- Policies bind neither a superuser nor who bypasses them, and no grant below would mean anything.
DO $$
DECLARE
    above text := (SELECT string_agg(rolname, ', ') FROM pg_roles WHERE (rolsuper OR rolbypassrls) AND rolname IN (
        'clm_owner', 'clm_migrator', 'clm_operator_secure', 'clm_operator_core', 'clm_auditor', 'clm_archiver',
        'clm_responder', 'clm_webhook', 'clm_api'));
BEGIN
    IF above IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            'above all rights: %s; an administrator has to ALTER ROLE ... NOSUPERUSER NOBYPASSRLS', above);
    END IF;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role('clm_migrator', 'clm_owner', 'MEMBER') THEN
        GRANT clm_owner TO clm_migrator;
    END IF;
    -- An owner of the database who is no superuser hands its objects over, and stays able to migrate. From PostgreSQL 16
    -- on, who made a role is a member who may administer it, and not act as it: hence granted to members as well.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT clm_owner TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE insufficient_privilege USING MESSAGE = format(
        '%s may not become clm_owner; let an administrator run psql -d %s -f migrations/roles.sql',
        current_user, current_database());
END
$$;

DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER SCHEMA %I OWNER TO clm_owner', nspname)
        FROM pg_namespace
        WHERE (nspname = 'public' OR nspname LIKE 'clm\_%') AND nspowner <> 'clm_owner'::regrole
    LOOP
        EXECUTE statement;
    END LOOP;
    FOR statement IN
        SELECT format('ALTER TABLE %I.%I OWNER TO clm_owner', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE (n.nspname = 'public' OR n.nspname LIKE 'clm\_%')
        AND c.relkind IN ('r', 'p', 'v') AND c.relowner <> 'clm_owner'::regrole
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER ROUTINE %I.%I(%s) OWNER TO clm_owner', n.nspname, p.proname,
                      pg_get_function_identity_arguments(p.oid))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE (n.nspname = 'public' OR n.nspname LIKE 'clm\_%')
        AND p.proowner <> 'clm_owner'::regrole
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

-- Managed services have administrators who may not give a database away; these grant what the owner would have.
DO $$
DECLARE
    may_give boolean := (SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user);
BEGIN
    IF may_give THEN
        EXECUTE format('ALTER DATABASE %I OWNER TO clm_owner', current_database());
    ELSE
        EXECUTE format('GRANT ALL ON DATABASE %I TO clm_owner WITH GRANT OPTION', current_database());
    END IF;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO clm_migrator', current_database());
END
$$;

COMMIT;
