-- What a posting does not tell stays as it is: a row tells only of some of its columns.
INSERT INTO meter.periods AS known (
    namespace, account, due_at, closed_at, over_limit, opened, ended, running, allocation, carry_over_limit, anchor,
    every, time_zone
)
SELECT told.namespace, told.account,
       CASE WHEN told.has_due THEN told.due_at ELSE before.due_at END,
       coalesce(told.closed_at, before.closed_at),
       CASE WHEN told.has_closing THEN told.over_limit ELSE before.over_limit END,
       greatest(told.opened, before.opened),
       greatest(told.ended, before.ended),
       CASE WHEN told.has_running THEN told.running ELSE before.running END,
       CASE WHEN told.has_terms THEN told.allocation ELSE before.allocation END,
       CASE WHEN told.has_terms THEN told.carry_over_limit ELSE before.carry_over_limit END,
       CASE WHEN told.has_terms THEN told.anchor ELSE before.anchor END,
       CASE WHEN told.has_terms THEN told.every ELSE before.every END,
       CASE WHEN told.has_terms THEN told.time_zone ELSE before.time_zone END
FROM staged_periods AS told
LEFT JOIN LATERAL (
    SELECT *
    FROM meter.periods
    WHERE namespace = told.namespace AND account = told.account
    OFFSET 0
) AS before ON true
ON CONFLICT (namespace, account) DO UPDATE
SET due_at = excluded.due_at,
    closed_at = excluded.closed_at,
    over_limit = excluded.over_limit,
    opened = excluded.opened,
    ended = excluded.ended,
    running = excluded.running,
    allocation = excluded.allocation,
    carry_over_limit = excluded.carry_over_limit,
    anchor = excluded.anchor,
    every = excluded.every,
    time_zone = excluded.time_zone
