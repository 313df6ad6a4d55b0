-- Returns the number of unfinished prompts and whether a push is in progress (1 or 0). ARGV: the queue's id.
if is_gone(ARGV[1]) then return gone end
return { redis.call('XLEN', prompts), number('pushing') > now() and 1 or 0 }
