-- Each write of a row: it is judged and written, and the rest follows if it was.
WITH {swap}{token_change}{events}
SELECT number, change, at, {durable} AS durable FROM written
