-- Lines that may be posted already, to be compared with the ledger's; gone with the transaction.
CREATE TEMPORARY TABLE told_ledger (LIKE meter.ledger) ON COMMIT DROP
