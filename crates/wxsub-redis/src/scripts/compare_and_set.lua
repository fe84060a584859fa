-- Stores a token if the record still holds the generation that it replaces, and the new generation is higher.
-- Returns whether it was stored, the Redis time in milliseconds, and on a conflict all fields of the record.
-- KEYS: record, change log. ARGV: replaced generation, new generation, maximum generation, app, channel, age of the token in
-- milliseconds, Redis time at which it had this age, or nothing if unknown, whether the in-doubt marker stays, then names and
-- values of other fields.
-- A generation that is no number, or is above the maximum, counts as none.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version = read_layout(KEYS[1])
local text = redis.call('HGET', KEYS[1], 'generation') or ''
local stored = string.match(text, '^%d+$') and tonumber(text) or 0
if stored > tonumber(ARGV[3]) then
    stored = 0
end
local is_newer_layout = version ~= '1' and string.match(version, '^%d+$')
if is_newer_layout or stored ~= tonumber(ARGV[1]) or tonumber(ARGV[2]) <= stored then
    return { 0, now, redis.call('HGETALL', KEYS[1]) }
end
-- A request that was under way for long makes the token no younger.
local age = tonumber(ARGV[6]) + math.max(0, now - (tonumber(ARGV[7]) or now))
redis.call('HDEL', KEYS[1], 'token', 'token_encrypted', 'key_id', 'upstream')
if ARGV[8] == '0' then
    redis.call('HDEL', KEYS[1], 'in_doubt_since_ms')
end
redis.call('HSET', KEYS[1], 'version', '1', 'generation', ARGV[2], 'stored_at_ms', string.format('%.0f', now),
    'age_ms', string.format('%.0f', age), unpack(ARGV, 9))
-- The token is stored. Without the right to one of these commands it is stored all the same.
redis.pcall('EXPIRE', KEYS[1], 2592000)
redis.pcall('PUBLISH', ARGV[5], ARGV[2])
announce(KEYS[2], ARGV[4])
return { 1, now, {} }
