-- Returns the layout of a record. A key of another type is a broken record, and is deleted.
local function read_layout(record)
    local version = redis.pcall('HGET', record, 'version')
    if type(version) == 'table' then
        if string.find(version.err, 'WRONGTYPE') then
            redis.call('DEL', record)
        end
        -- Raises every other error.
        version = redis.call('HGET', record, 'version')
    end
    return version or '1'
end

