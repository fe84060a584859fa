-- Changes one field of the record if it is still what it was; an empty text stands for none.
-- KEYS: record. ARGV: field, before, after. Gives whether it was done, and what the field holds.
local version = redis.call('HGET', KEYS[1], 'version')
local present = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if (version and version ~= '1') or present ~= ARGV[2] then
    return { 0, present }
end
if ARGV[3] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    redis.call('HSET', KEYS[1], 'version', '1', ARGV[1], ARGV[3])
    redis.call('EXPIRE', KEYS[1], 2592000)
end
return { 1, ARGV[3] }
