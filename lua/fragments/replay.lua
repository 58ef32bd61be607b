-- Answers a repeated call with its first answer. The fingerprint is ARGV[4], '' for a call without a key.
-- GIVES: seen (where the answer is remembered; nil for a call without a key)
-- ANSWERS: REPLAYED posted id head; MISMATCH posted, when the key came before with other parameters
-- USES: guard
local seen
if ARGV[4] ~= '' then
  seen = KEYS[#KEYS]
  local first = call('GET', seen)
  if first then
    local mark, id, head = string.match(first, '^(%S+) (%S+) (.+)$')
    if mark ~= ARGV[4] then return {'MISMATCH', posted} end
    return {'REPLAYED', posted, id, head}
  end
end
