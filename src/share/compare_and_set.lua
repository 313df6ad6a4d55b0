-- Sets a value if it is still the one that the caller found. KEYS[1]: the key. ARGV: the value found ('' for none), the
-- new value, and for how many ms it is kept. Returns 1 if it is set, else 0.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
