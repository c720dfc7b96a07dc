-- For wrk: the same body over and over, each time as a call of its own (another hookInstance), so that none is a retry,
-- and with a record of its own (other ids, and another accession number in the report).
--   wrk -s calls.lua URL -- BODY.json NUMBER_OF_THIS_RUN

local PLACEHOLDER = "00000000-0000-4000-8000-000000000000"
local RECORD = "ACC0000000"
local before, after, run
local count = 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local headers = { ["Content-Type"] = "application/json", ["Host"] = wrk.headers["Host"] }
  local whole = wrk.format("POST", nil, headers, file:read("*a"))
  file:close()
  local first, last = assert(whole:find(PLACEHOLDER, 1, true))
  before, after, run = whole:sub(1, first - 1), whole:sub(last + 1), tonumber(args[2])
end

function request()
  count = count + 1
  local record = string.format("ACC%07d", (run * 100000 + count) % 10000000)
  return before .. string.format("%08x-0000-4000-8000-%012x", run, count) .. after:gsub(RECORD, record)
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{"answers": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}\n', summary.requests, failed,
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
