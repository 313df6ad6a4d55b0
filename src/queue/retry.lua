-- Puts failed prompts back into the queue, at most 200. Returns how many failed prompts are left.
local some = redis.call('HRANDFIELD', failures, 200, 'WITHVALUES')
for i = 1, #some, 2 do
  redis.call('HDEL', failures, some[i])
  redis.call('SETBIT', done, some[i], 0)
  redis.call('XADD', prompts, '*', 'line', some[i], 'prompt', some[i + 1])
  redis.call('HINCRBY', meta, 'failed', -1)
end
return redis.call('HLEN', failures)
