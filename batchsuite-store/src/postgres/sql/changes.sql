SELECT company, change FROM {schema}.grants
WHERE environment = $1 AND change > $2 AND change <= $3 AND company <> ''
