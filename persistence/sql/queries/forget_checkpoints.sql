DELETE FROM meter.checkpoints WHERE namespace = %(namespace)s AND account = ANY(%(accounts)s::text[])
