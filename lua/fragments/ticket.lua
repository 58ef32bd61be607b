-- Lets only those install who have read the ledger just after finding something absent. Their ticket is ARGV[4].
-- ANSWERS: LATE posted, when the ticket is too old
-- USES: guard young
if not young(ARGV[4]) then return {'LATE', posted} end
