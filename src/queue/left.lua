-- How much is left: prompts that are not finished, and whether a push is going on. Returns nil if there is no queue.
if redis.call('EXISTS', meta) == 0 then return false end
return { redis.call('XLEN', prompts), number('pushing') > now() and 1 or 0 }
