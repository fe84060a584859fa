-- Returns the Redis time in milliseconds and all fields of the record. A key of another type is a broken record.
-- KEYS: record
local time = redis.call('TIME')
local fields = redis.pcall('HGETALL', KEYS[1])
if fields.err and string.find(fields.err, 'WRONGTYPE') then
    fields = { 'generation', 'not a hash' }
elseif fields.err then
    return fields
end
return { time[1] * 1000 + math.floor(time[2] / 1000), fields }
