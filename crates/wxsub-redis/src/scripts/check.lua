-- Tries each command of the other scripts, and leaves nothing behind. Returns the errors, each after the name of its command.
-- KEYS: a hash, a string. In a cluster, they have different slots, so a cluster refuses this script. ARGV: channel
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
try('DEL', KEYS[2])
try('PUBLISH', ARGV[1], '0')
return errors
