g.company, reading.as_of, g.number, g.epoch, g.version, g.state::text, g.change, g.wake_at, g.used_at,
c.ids, c.removals, c.ends
