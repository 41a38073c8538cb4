-- The script of wrk for load.py: emails, each with its own uid and one of a thousand users.
-- Arguments: the file with the body, a prefix of the uids.

local before, between, after, prefix
local number = 0

function init(arguments)
   local file = assert(io.open(arguments[1]))
   local body = file:read("*a")
   file:close()
   before, between, after = body:match("^(.-)u000(.-)UID%-%-%-%-%-%-%-(.*)$")
   prefix = arguments[2]
   wrk.method = "POST"
   wrk.headers["Authorization"] = "letmein"
   wrk.headers["Content-Type"] = "application/json"
end

function request()
   number = number + 1
   local body = before .. string.format("u%d", number % 1000) .. between .. prefix .. string.format("%08d", number) .. after
   return wrk.format(nil, nil, nil, body)
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"count": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout
   ))
end
