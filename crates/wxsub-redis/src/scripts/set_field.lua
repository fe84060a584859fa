-- Sets one field of the record if it still has the expected value. An empty value means that the field is absent.
-- Returns whether the field was set, and its value.
-- KEYS: record. ARGV: field, expected value, new value
local version = redis.call('HGET', KEYS[1], 'version') or '1'
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if (version ~= '1' and string.match(version, '^%d+$')) or current ~= ARGV[2] then
    return { 0, current }
end
if ARGV[3] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    redis.call('HSET', KEYS[1], 'version', '1', ARGV[1], ARGV[3])
    redis.pcall('EXPIRE', KEYS[1], 2592000)
end
return { 1, ARGV[3] }
