-- Decides which legs fit. A leg that does takes its part at once, but in these tables only.
-- GIVES: account, short (nil when all fit; else the list that `deny` turns into an answer)
-- USES: accounts legs expiry decide
local account, short
for i = 1, legs do
  account = touched[i] -- what else an expiry touched comes after the legs
  local amount = tonumber(ARGV[base + 2 * i])
  if amount > account.balance - account.reserved then
    short = short or {}
    short[#short + 1] = {leg = i, account = account, needed = amount}
  else
    account.reserved = account.reserved + amount
  end
end
