-- The push is over. ARGV: whether all of it is there ('1' or '0').
if redis.call('EXISTS', meta) == 0 then return 0 end
redis.call('HSET', meta, 'complete', ARGV[1])
redis.call('HDEL', meta, 'pushing')
return 1
