-- Lets only callers of the open epoch in, and tells the time of the shard.
-- GIVES: call, floor, text(number), posted (text: last sequence in the ledger),
--        now and now_text (Unix ms, never less than any the shard has written down, which is last_ms),
--        clock (the server's own, which may jump and go back)
-- ANSWERS: STALE epoch, when the shard is not open in the caller's epoch (a closed one has no epoch)
-- A global is looked up by name at each use, and what a table of them has once more.
local call, tonumber, KEYS, ARGV = redis.call, tonumber, KEYS, ARGV
local format, floor = string.format, math.floor
-- The one way for a number to leave: tostring and '..' round beyond 14 digits. '%d' is exact where a long has
-- 64 bits, which `open` makes sure of, and takes a third of the time of '%.0f'.
local function text(number) return format('%d', number) end
local meta = call('HMGET', KEYS[1], 'epoch', 'posted', 'last_ms')
if meta[1] ~= ARGV[1] then return {'STALE', meta[1] or ''} end
local posted, last_ms, clock = meta[2], tonumber(meta[3]), nil
if ARGV[2] ~= '' then
  clock = tonumber(ARGV[2])
else
  local time = call('TIME')
  clock = time[1] * 1000 + floor(time[2] / 1000)
end
local now = clock < last_ms and last_ms or clock
local now_text = text(now)
