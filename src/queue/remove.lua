-- Deletes the queue.
redis.call('UNLINK', unpack(KEYS))
return 1
