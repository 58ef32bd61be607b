SELECT min(namespace) FROM meter.accounts WHERE namespace > %(after)s
