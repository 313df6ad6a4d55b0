-- Returns the state of the queue, in the order of `Row` in status.rs; nil if there is no queue.
if redis.call('EXISTS', meta) == 0 then return false end
local time = now()
local first = redis.call('XRANGE', prompts, '-', '+', 'COUNT', 1)[1]
local age = -1
if first then age = math.max(0, time - tonumber(string.match(first[1], '%d+'))) end
local in_flight = redis.call('XPENDING', prompts, group)[1]
local alive = {}
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', prompts, group)) do
  local name = field(consumer, 'name')
  local until_when = tonumber(redis.call('ZSCORE', workers, name) or 0)
  local pending = field(consumer, 'pending')
  if until_when >= time or pending > 0 then
    table.insert(alive, { name, pending, until_when >= time and 1 or 0 })
  end
end
return {
  redis.call('XLEN', prompts) - in_flight, in_flight, number('answered'), number('failed'), number('dropped'),
  number('pushed'), number('complete'), number('pushing') > time and 1 or 0, number('plain'), age, alive,
}
