-- Deletes the queue. Returns 1, or 0 if there was none.
local there = redis.call('EXISTS', meta)
redis.call('UNLINK', unpack(KEYS))
return there
