-- Whether a prompt that was handed on is still to do; if not, it is taken out. ARGV: its entry, its line.
if redis.call('GETBIT', done, ARGV[2]) == 0 then return 1 end
redis.call('XACK', prompts, group, ARGV[1])
redis.call('XDEL', prompts, ARGV[1])
return 0
