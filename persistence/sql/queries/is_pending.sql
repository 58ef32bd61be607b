SELECT FROM meter.duplicates
WHERE namespace = %(namespace)s AND epoch = %(epoch)s AND seq = %(seq)s AND state = 'pending'
