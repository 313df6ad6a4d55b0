-- A sign of life, and a look at the others. ARGV: the worker's name, for how many ms it counts as alive. The prompts of
-- whoever has given no sign for as long as he said are handed on. Returns how many; -1 if the queue is gone.
if redis.call('EXISTS', meta) == 0 then return -1 end
redis.call('ZADD', workers, now() + ARGV[2], ARGV[1])
local handed_on = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', prompts, group)) do
  local name = field(consumer, 'name')
  local until_when = redis.call('ZSCORE', workers, name)
  -- One who is not on the list was away, and has been given something since he was taken off it.
  if not until_when or tonumber(until_when) < now() then handed_on = handed_on + hand_on_all(name) end
end
redis.call('ZREMRANGEBYSCORE', workers, '-inf', '(' .. now() - 3600000)
return handed_on
