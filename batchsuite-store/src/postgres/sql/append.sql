SELECT {schema}.append_event($1, $2, $3::jsonb)
