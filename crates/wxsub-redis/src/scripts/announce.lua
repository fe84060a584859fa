-- Moves an app to the end of the change log. The position is the Redis time in microseconds, and always grows. The member *
-- marks the beginning of the log. Without the right to one of these commands nothing is announced.
local function announce(log, app)
    local time = redis.call('TIME')
    local position = time[1] * 1000000 + time[2]
    local newest = redis.pcall('ZRANGE', log, -1, -1, 'WITHSCORES')
    if newest.err and string.find(newest.err, 'WRONGTYPE') then
        redis.pcall('DEL', log)
        newest = {}
    elseif newest.err then
        return
    end
    if newest[2] then
        position = math.max(position, newest[2] + 1)
    else
        redis.pcall('ZADD', log, string.format('%.0f', position), '*')
        position = position + 1
    end
    redis.pcall('ZADD', log, string.format('%.0f', position), app)
    redis.pcall('EXPIRE', log, 2592000)
end

