-- Of the rounds that found nothing, the last one of the namespace is enough.
DELETE FROM meter.reconciliations
WHERE namespace = %(namespace)s AND trigger = 'continuous' AND findings = 0 AND id < %(id)s
