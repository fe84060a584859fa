-- Returns the position of the beginning of the change log, and the changes from a position on: apps and positions.
-- KEYS: change log. ARGV: first position, maximum number of changes
local beginning = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local changes = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
return { beginning[2] or '', changes }
