-- Records the heartbeat of a worker, and hands on the prompts of workers whose heartbeat is overdue. ARGV: the queue's id,
-- the worker's name, for how many ms it counts as alive. Returns how many prompts were handed on.
if is_gone(ARGV[1]) then return gone end
redis.call('ZADD', workers, now() + ARGV[3], ARGV[2])
local handed_on = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', prompts, group)) do
  local name = field(consumer, 'name')
  local until_when = redis.call('ZSCORE', workers, name)
  -- A worker without an entry was removed from the list, and has taken a prompt since.
  if not until_when or tonumber(until_when) < now() then handed_on = handed_on + hand_on_all(name) end
end
redis.call('ZREMRANGEBYSCORE', workers, '-inf', '(' .. now() - 3600000)
return handed_on
