-- Posts a different slice with each request, and prints what wrk measured as JSON.
-- Arguments after "--": folder of bodies <n>.form, their number, their content type.

local bodies = {}
local turn = 0

function init(args)
   local folder, count = args[1], tonumber(args[2])
   wrk.headers["Content-Type"] = args[3]
   for number = 0, count - 1 do
      local file = assert(io.open(string.format("%s/%d.form", folder, number), "rb"))
      local body = file:read("*a")
      file:close()
      bodies[number] = wrk.format("POST", nil, nil, body)
   end
   turn = math.random(0, count - 1)
end

function request()
   turn = (turn + 1) % (#bodies + 1)
   return bodies[turn]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"answers": %d, "seconds": %.6f, "bad_status": %d, "broken": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
