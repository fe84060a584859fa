-- Sets one field of the record if it still has the expected value. An empty value means that the field is absent.
-- Returns whether the field was set, and its value.
-- KEYS: record, change log. ARGV: app, field, expected value, new value
local version = read_layout(KEYS[1])
local current = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if (version ~= '1' and string.match(version, '^%d+$')) or current ~= ARGV[3] then
    return { 0, current }
end
if ARGV[4] == '' then
    redis.call('HDEL', KEYS[1], ARGV[2])
else
    redis.call('HSET', KEYS[1], 'version', '1', ARGV[2], ARGV[4])
    redis.pcall('EXPIRE', KEYS[1], 2592000)
end
announce(KEYS[2], ARGV[1])
return { 1, ARGV[4] }
