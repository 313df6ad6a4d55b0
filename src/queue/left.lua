-- Returns the number of unfinished prompts and whether a push is in progress (1 or 0); nil if the queue is gone. ARGV: the
-- queue's id.
if is_gone(ARGV[1]) then return false end
return { redis.call('XLEN', prompts), number('pushing') > now() and 1 or 0 }
