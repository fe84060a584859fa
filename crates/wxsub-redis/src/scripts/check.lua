-- Tries each command of the other scripts, and leaves nothing behind. Returns the errors, each after the name of its command.
-- KEYS: a hash, a string, a sorted set. In a cluster, they have different slots, so a cluster refuses this script. ARGV: channel
local errors = {}
local function try(command, ...)
    local result = redis.pcall(command, ...)
    if type(result) == 'table' and result.err then
        table.insert(errors, { command, result.err })
    end
end
try('TIME')
try('HSET', KEYS[1], 'check', '1')
try('EXPIRE', KEYS[1], 60)
try('HGET', KEYS[1], 'check')
try('HGETALL', KEYS[1])
try('HDEL', KEYS[1], 'check')
try('SET', KEYS[2], 'check', 'PX', 1000)
try('GET', KEYS[2])
try('PTTL', KEYS[2])
try('ZADD', KEYS[3], 1, 'check')
redis.pcall('EXPIRE', KEYS[3], 60)
try('ZRANGE', KEYS[3], 0, 0)
try('ZRANGEBYSCORE', KEYS[3], 1, 1)
try('DEL', KEYS[2], KEYS[3])
try('PUBLISH', ARGV[1], '0')
return errors
