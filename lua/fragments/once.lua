-- Answers a period that was opened or closed before with its first answer. The account remembers each such day until
-- the ledger has it, and for a minute more; the ledger does for ever. A day later than any is new; of an earlier
-- one, which is not remembered here, the ledger must be asked: who has, brings a ticket as loaders do.
-- GIVES: mark (the account's field that remembers this day)
-- ANSWERS: UNKNOWN posted, for an account that does not exist; REPLAYED posted id head; UNSURE posted ticket
-- USES: guard young accounts decide terms
local mark = kind .. ARGV[7]
if not answer then
  local marked = call('HGET', account.key, mark)
  if account.absent then
    answer = {'UNKNOWN', posted}
  elseif marked then
    local first_id, first_head = string.match(marked, '^(%S+) %S+ (.+)$')
    answer = {'REPLAYED', posted, first_id, first_head}
  elseif ARGV[7] <= latest and not young(ARGV[8]) then
    answer = {'UNSURE', posted, text(clock) .. ':' .. now_text}
  end
end
