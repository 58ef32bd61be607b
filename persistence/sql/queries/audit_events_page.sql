-- What operators did to a namespace, newest first: reconciles that were to repair, duplicates that were undone,
-- entries in quarantine that something was done about, and what was asked for over the operators' routes.
SELECT happened_at, event_id, action, details::text
FROM (
    (
        SELECT started_at AS happened_at, ('reconcile:' || id) COLLATE "C" AS event_id, 'reconcile' AS action,
               json_build_object(
                   'report_id', id, 'trigger', trigger, 'trust', trust, 'accounts_checked', accounts_checked,
                   'findings', findings, 'repaired', repaired
               ) AS details
        FROM meter.reconciliations
        WHERE namespace = %(namespace)s AND trust IS NOT NULL AND started_at <= %(before)s::timestamptz
          AND (started_at, ('reconcile:' || id) COLLATE "C") < (%(before)s::timestamptz, %(before_id)s)
        ORDER BY started_at DESC, event_id DESC
        LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT undone_at, ('duplicate:' || ((epoch::bigint << 40) | (seq << 4))) COLLATE "C" AS event_id,
               'undo_duplicate',
               json_build_object(
                   'idempotency_key', key,
                   'entry_id', (epoch::bigint << 40) | (seq << 4),
                   'first_entry_id', (first_epoch::bigint << 40) | (first_seq << 4),
                   'undone_by', (undone_epoch::bigint << 40) | (undone_seq << 4)
               )
        FROM meter.duplicates
        WHERE namespace = %(namespace)s AND state = 'undone' AND undone_at <= %(before)s::timestamptz
          AND (undone_at, ('duplicate:' || ((epoch::bigint << 40) | (seq << 4))) COLLATE "C")
              < (%(before)s::timestamptz, %(before_id)s)
        ORDER BY undone_at DESC, event_id DESC
        LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT resolved_at, ('quarantine:' || shard || '/' || epoch || '-' || seq) COLLATE "C" AS event_id,
               'resolve_quarantine',
               json_build_object(
                   'entry', shard || '/' || epoch || '-' || seq, 'booked', booked, 'fault', reason,
                   'resolution', resolution
               )
        FROM meter.quarantine
        WHERE namespace = %(namespace)s AND resolved_at IS NOT NULL AND resolved_at <= %(before)s::timestamptz
          AND (resolved_at, ('quarantine:' || shard || '/' || epoch || '-' || seq) COLLATE "C")
              < (%(before)s::timestamptz, %(before_id)s)
        ORDER BY resolved_at DESC, event_id DESC
        LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT at, ('action:' || id) COLLATE "C" AS event_id, action,
               (jsonb_build_object('actor_id', actor_id, 'target', target, 'reason', reason) || details)::json
        FROM meter.audit_events
        WHERE namespace = %(namespace)s AND at <= %(before)s::timestamptz
          AND (at, ('action:' || id) COLLATE "C") < (%(before)s::timestamptz, %(before_id)s)
        ORDER BY at DESC, event_id DESC
        LIMIT %(limit)s
    )
) AS events
ORDER BY happened_at DESC, event_id DESC
LIMIT %(limit)s
