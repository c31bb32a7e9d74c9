id, at, company, epoch, version, content::text
