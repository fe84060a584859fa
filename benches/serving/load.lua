-- For wrk: what to send, if it is not a plain GET, and the result in one line that is easily read.
-- Arguments: the body to post and its content type, if any. "{request}" in the body is another text in each request.

function init(args)
    if args[1] and args[1]:find("{request}", 1, true) then
        -- Each thread has its own table, at its own address.
        local thread, requests = tostring({}):sub(8) .. "-" .. os.time(), 0
        request = function()
            requests = requests + 1
            local body = args[1]:gsub("{request}", thread .. "-" .. requests)
            return wrk.format("POST", nil, nil, body)
        end
    end
    if args[1] then
        wrk.method = "POST"
        wrk.body = args[1]
        wrk.headers["Content-Type"] = args[2]
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
