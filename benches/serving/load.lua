-- For wrk: what to send, if it is not a plain GET, and the result in one line that is easily read.
-- Arguments: the body to post and its content type, if any.

function init(args)
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
