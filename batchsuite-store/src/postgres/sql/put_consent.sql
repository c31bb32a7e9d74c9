SELECT {schema}.put_consent($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15),
       {schema}.append_event($1, $16, $17::jsonb)
