-- Ends a push. ARGV: whether it is complete ('1' or '0'). Returns 1, or 0 if there is no queue.
if redis.call('EXISTS', meta) == 0 then return 0 end
redis.call('HSET', meta, 'complete', ARGV[1])
redis.call('HDEL', meta, 'pushing')
return 1
