SELECT hold_id
FROM meter.open_holds
WHERE namespace COLLATE "POSIX" = %(namespace)s AND account = %(account)s AND hold_id > %(after)s
ORDER BY hold_id
LIMIT %(limit)s
