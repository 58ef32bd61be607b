-- Turns the leg that is short into the answer. `account` is that leg's account.
-- USES: guard expiry decide
if short and not answer then
  answer = {'DENIED', posted, text(short), account.balance_text, account.reserved_text,
    text(account.next_ms or 0), now_text}
end
