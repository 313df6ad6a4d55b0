-- Stores a record and removes its prompt, both or neither. The first record of a prompt wins. ARGV: the queue's id, the
-- worker's name, the entry, the line, whether it is an answer ('1'), the record. Returns 1 if it is stored, and 0 if the
-- prompt already had a record of another worker.
local queue, worker, id, line, answered, record = unpack(ARGV)
if is_gone(queue) then return gone end
local entry = redis.call('XRANGE', prompts, id, id)[1]
redis.call('XACK', prompts, group, id)
redis.call('XDEL', prompts, id)
if redis.call('GETBIT', done, line) == 1 then
  -- The record may be its own, if the connection broke before the reply arrived.
  if redis.call('HGET', last, worker) == id then return 1 end
  redis.call('HINCRBY', meta, 'dropped', 1)
  return 0
end
redis.call('SETBIT', done, line, 1)
redis.call('HSET', last, worker, id)
redis.call('XADD', records, '*', 'record', record)
if answered == '1' then
  redis.call('HINCRBY', meta, 'answered', 1)
else
  redis.call('HINCRBY', meta, 'failed', 1)
  if entry then redis.call('HSET', failures, line, field(entry[2], 'prompt')) end
end
return 1
