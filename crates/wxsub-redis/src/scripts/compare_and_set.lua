-- Stores a token if the record still holds the generation that it replaces, and the new generation is higher.
-- Returns whether it was stored, the Redis time in milliseconds, and on a conflict all fields of the record.
-- KEYS: record. ARGV: replaced generation, new generation, 'token' or 'token_encrypted', its value, requested_at_ms, age_ms,
-- lifetime_ms, channel, maximum generation. A generation above the maximum counts as none.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version = redis.call('HGET', KEYS[1], 'version')
local stored = tonumber(redis.call('HGET', KEYS[1], 'generation') or 0)
if stored > tonumber(ARGV[9]) then
    stored = 0
end
if (version and version ~= '1') or stored ~= tonumber(ARGV[1]) or tonumber(ARGV[2]) <= stored then
    return { 0, now, redis.call('HGETALL', KEYS[1]) }
end
redis.call('HDEL', KEYS[1], 'token', 'token_encrypted', 'in_doubt_since_ms')
redis.call('HSET', KEYS[1], 'version', '1', 'generation', ARGV[2], ARGV[3], ARGV[4],
    'requested_at_ms', ARGV[5], 'age_ms', ARGV[6], 'lifetime_ms', ARGV[7], 'stored_at_ms', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], 2592000)
redis.call('PUBLISH', ARGV[8], ARGV[2])
return { 1, now, {} }
