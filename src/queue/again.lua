-- Checks whether a prompt that was handed on is still unfinished, and removes its entry if not. ARGV: the entry, the
-- line. Returns 1 if it is unfinished, else 0.
if redis.call('GETBIT', done, ARGV[2]) == 0 then return 1 end
redis.call('XACK', prompts, group, ARGV[1])
redis.call('XDEL', prompts, ARGV[1])
return 0
