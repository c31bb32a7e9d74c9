, erased AS (
    DELETE FROM {schema}.tokens t USING written WHERE t.environment = $1 AND t.company = $2
)
