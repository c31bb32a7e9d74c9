id, at, company, epoch, version, kind, actor, cause, evidence::text
