-- The message for the first setting that is wrong.
SELECT CASE
    WHEN pg_is_in_recovery() THEN
        'this server is a standby, which cannot be written to; connect to the primary'
    WHEN current_setting('transaction_read_only') = 'on' THEN
        'transactions are read-only here; set default_transaction_read_only = off, or connect to the primary'
    WHEN current_setting('server_encoding') <> 'UTF8' THEN
        'the encoding of this database is ' || current_setting('server_encoding')
            || '; it must be UTF8 (CREATE DATABASE … ENCODING ''UTF8'' TEMPLATE template0)'
    WHEN current_setting('fsync') <> 'on' THEN
        'the server runs with fsync = off, so a crash can lose what was stored; set fsync = on'
    WHEN current_setting('transaction_isolation') <> 'read committed' THEN
        'the default transaction isolation must be "read committed"'
END
