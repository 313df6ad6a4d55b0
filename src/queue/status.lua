-- Returns the state of the queue as the JSON of `Status` in status.rs.
if is_gone() then return gone end
local time = now()
local first = redis.call('XRANGE', prompts, '-', '+', 'COUNT', 1)[1]
local in_flight = redis.call('XPENDING', prompts, group)[1]
local present = {}
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', prompts, group)) do
  local name = field(consumer, 'name')
  local is_alive = tonumber(redis.call('ZSCORE', workers, name) or 0) >= time
  local pending = field(consumer, 'pending')
  if is_alive or pending > 0 then
    table.insert(present, { name = name, in_flight = pending, alive = is_alive })
  end
end
return cjson.encode({
  waiting = redis.call('XLEN', prompts) - in_flight, in_flight = in_flight,
  answered = number('answered'), failed = number('failed'), dropped = number('dropped'), pushed = number('pushed'),
  complete = number('complete') == 1, pushing = number('pushing') > time, plain = number('plain') == 1,
  oldest_s = first and math.max(0, time - tonumber(string.match(first[1], '%d+'))) / 1000,
  workers = #present > 0 and present or nil,
})
