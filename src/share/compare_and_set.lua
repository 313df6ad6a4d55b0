-- Sets a value if it is still the one that the caller found. KEYS[1]: the key. ARGV: the value found ('' for none), the
-- new value, and for how many ms it is kept. Returns nil if it is set; if not, what is there, and the server's time in
-- seconds and microseconds.
local there = redis.call('GET', KEYS[1]) or ''
if there == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return nil
end
local time = redis.call('TIME')
return { there, time[1], time[2] }
