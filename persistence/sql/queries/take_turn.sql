-- A row comes back when the turn is the holder's.
INSERT INTO meter.reconcile_turn AS turn (holder, until)
VALUES (%(holder)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (one) DO UPDATE
SET holder = excluded.holder, until = excluded.until
WHERE turn.holder = excluded.holder OR turn.until < now()
RETURNING holder
