-- The first one counts, and is never changed.
INSERT INTO meter.period_days (
    namespace, account, kind, day, epoch, seq, recorded_at, expires_at, amount, over_limit, balance, reserved
)
SELECT namespace, account, kind, day, epoch, seq, recorded_at, expires_at, amount, over_limit, balance, reserved
FROM staged_period_days
ON CONFLICT (namespace, account, kind, day) DO NOTHING
