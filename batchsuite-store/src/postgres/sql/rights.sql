-- The rights that the statements need and the role does not have, prerequisites first. Objects that a later release has
-- added are ignored. Every role may call the functions of `pg_catalog` unless that was revoked.
WITH held (sort, missing, is_held) AS (
    SELECT 1, privilege || ' on table ' || c.oid::regclass, has_table_privilege(c.oid, privilege)
    FROM pg_catalog.pg_class c
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE c.relnamespace = to_regnamespace('{schema}')
      AND (c.relname IN ('grants', 'tokens', 'consents', 'events', 'event_log', 'deliveries', 'keys')
           OR c.relname = 'migrations' AND privilege = 'SELECT')
    UNION ALL
    SELECT 2, privilege || ' on sequence ' || c.oid::regclass, has_sequence_privilege(c.oid, privilege)
    FROM pg_catalog.pg_class c
    CROSS JOIN unnest(ARRAY['SELECT', 'USAGE']) AS privilege
    -- The sequence of an identity column needs no right of its own.
    WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relname = 'event_number'
    UNION ALL
    SELECT 3, 'EXECUTE on function ' || p.oid::regprocedure, has_function_privilege(p.oid, 'EXECUTE')
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = to_regnamespace('{schema}')
      AND p.proname IN ('clock_offset', 'announce_event', 'next_event', 'append_event', 'take_turns', 'put_consent')
    UNION ALL
    SELECT 4, 'EXECUTE on function ' || name, has_function_privilege(name, 'EXECUTE')
    FROM unnest(ARRAY[
        'pg_catalog.current_setting(text)', 'pg_catalog.set_config(text,text,boolean)', 'pg_catalog.clock_timestamp()',
        'pg_catalog.pg_sequence_last_value(regclass)', 'pg_catalog.pg_stat_get_dead_tuples(oid)', 'pg_catalog.hashtextextended(text,bigint)',
        'pg_catalog.pg_advisory_xact_lock(bigint)', 'pg_catalog.pg_advisory_xact_lock_shared(integer,integer)'
    ]) AS name
    UNION ALL
    SELECT 5, 'SELECT on ' || name, has_table_privilege(name, 'SELECT')
    FROM unnest(ARRAY['pg_catalog.pg_locks', 'pg_catalog.pg_database']) AS name
)
SELECT missing || ' for role ' || quote_ident(current_user) FROM held WHERE NOT is_held ORDER BY sort, missing
