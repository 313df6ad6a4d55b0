-- Adds a worker. ARGV: its name, for how many ms it counts as alive, the request that it sends, whether to send it even
-- if the others send another ('1'). Returns the request of the others if it differs, '' if the worker may begin, and the
-- id of the queue.
if is_gone() then return gone end
local request = redis.call('HGET', meta, 'request')
local asked = number('answered') + number('failed') > 0
  or redis.call('ZCOUNT', workers, '(' .. now(), '+inf') > 0
if not request or not asked then
  redis.call('HSET', meta, 'request', ARGV[3])
elseif request ~= ARGV[3] and redis.call('HGET', meta, 'plain') and ARGV[4] ~= '1' then
  return { request, '' }
end
redis.call('ZADD', workers, now() + ARGV[2], ARGV[1])
return { '', redis.call('HGET', meta, 'id') or '' }
