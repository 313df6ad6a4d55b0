-- Ends a push. ARGV: whether it is complete ('1' or '0').
if is_gone() then return gone end
redis.call('HSET', meta, 'complete', ARGV[1])
redis.call('HDEL', meta, 'pushing')
return 1
