-- Acquires or extends the lease, unless another holder has it. Returns the name of that holder, or nothing.
-- A lease without an end, or with more left than the longest that is ever taken, counts as free.
-- KEYS: lease. ARGV: holder, milliseconds, milliseconds of the longest lease
local holder = redis.pcall('GET', KEYS[1])
if type(holder) == 'table' then
    if not string.find(holder.err, 'WRONGTYPE') then
        return holder
    end
    -- No server wrote this key.
    holder = false
end
if holder and holder ~= ARGV[1] then
    -- Without the right to this command, every lease counts.
    local left = redis.pcall('PTTL', KEYS[1])
    if type(left) ~= 'number' or (left >= 0 and left <= tonumber(ARGV[3])) then
        return holder
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
