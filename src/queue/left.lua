-- Returns the number of unfinished prompts and whether a push is in progress (1 or 0); nil if there is no queue.
if redis.call('EXISTS', meta) == 0 then return false end
return { redis.call('XLEN', prompts), number('pushing') > now() and 1 or 0 }
