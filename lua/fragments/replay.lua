-- Answers a repeated call with its first answer. The fingerprint is ARGV[4], '' for a call without a key.
-- ANSWERS: REPLAYED posted id head; MISMATCH posted, when the key came before with other parameters
-- USES: guard
if ARGV[4] ~= '' then
  local first = call('GET', KEYS[#KEYS])
  if first then
    local mark, id, head = string.match(first, '^(%S+) (%S+) (.+)$')
    if mark ~= ARGV[4] then return {'MISMATCH', posted} end
    return {'REPLAYED', posted, id, head}
  end
end
