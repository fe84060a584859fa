-- Returns the Redis time in milliseconds and all fields of the record.
-- KEYS: record
local time = redis.call('TIME')
return { time[1] * 1000 + math.floor(time[2] / 1000), redis.call('HGETALL', KEYS[1]) }
