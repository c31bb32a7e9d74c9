-- Every write of a row: the row is compared and written, and the rest follows only if it was.
WITH {swap}{token_change}{events}
SELECT number, change, at, {durable} AS durable FROM written
