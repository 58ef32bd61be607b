-- Begins the decision: what the verb decides goes into one of these two, and `write` carries it out.
-- GIVES: answer (the reply of a verb that changes nothing), head (the journal entry of one that does), MAX_AMOUNT
-- USES: expiry
local MAX_AMOUNT = 9007199254740991
local answer, head
if more then answer = {'AGAIN', posted} end
