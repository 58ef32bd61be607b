COPY meter.hold_extensions (namespace, hold_id, leg, entry_id, account, extended_at, added) FROM STDIN
