{row}, t.access_token IS NOT NULL OR t.refresh_token IS NOT NULL AS is_sealed,
COALESCE(substring(t.access_token FOR length($4)) <> $4, false)
    OR COALESCE(substring(t.refresh_token FOR length($4)) <> $4, false) AS with_older_key
