, replaced AS (
    INSERT INTO {schema}.tokens (environment, company, access_token, refresh_token)
    SELECT $1, $2, $16, $17 FROM written
    ON CONFLICT (environment, company) DO UPDATE SET
        access_token = EXCLUDED.access_token, refresh_token = EXCLUDED.refresh_token
)
