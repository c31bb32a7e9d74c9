-- All companies are counted by the primary key, and those of certain statuses by their partial index.
SELECT (SELECT count(*) FROM {schema}.grants WHERE environment = $1 AND company <> ''),
       ARRAY(SELECT listed_as FROM {schema}.grants
             WHERE environment = $1 AND company <> '' AND listed_as <> 'authenticated' GROUP BY listed_as ORDER BY listed_as),
       ARRAY(SELECT count(*) FROM {schema}.grants
             WHERE environment = $1 AND company <> '' AND listed_as <> 'authenticated' GROUP BY listed_as ORDER BY listed_as),
       (SELECT count(*) FROM {schema}.grants WHERE environment = $1 AND company <> '' AND wake_at <= {now}),
       (SELECT wake_at FROM {schema}.grants
        WHERE environment = $1 AND company <> '' AND wake_at <= {now} ORDER BY wake_at LIMIT 1),
       (SELECT count(*) FROM {schema}.consents WHERE environment = $1 AND used_at IS NULL AND expires_at > {now}),
       {clock}
