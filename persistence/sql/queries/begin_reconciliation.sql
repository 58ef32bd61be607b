INSERT INTO meter.reconciliations (namespace, trigger, trust)
VALUES (%(namespace)s, %(trigger)s, %(trust)s)
RETURNING id
