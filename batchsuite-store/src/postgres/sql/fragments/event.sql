id, at, company, epoch, version, kind, actor, cause, status, code, message, attempt
