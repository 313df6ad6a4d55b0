-- The code that all scripts share. All keys of a queue have the same hash tag, so they are on one server of a cluster.
local prompts, records, seen, done, meta, workers, last, failures = unpack(KEYS)
local group = 'workers'

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function number(field)
  return tonumber(redis.call('HGET', meta, field) or 0)
end

-- Whether the queue is gone, if only to make room for another of its name: a worker is told its id when it joins.
local function is_gone(id)
  return redis.call('EXISTS', meta) == 0 or id and (redis.call('HGET', meta, 'id') or '') ~= id
end

-- What a script returns if the queue is gone. link.rs knows it by its first word.
local gone = redis.error_reply('GONE there is no such queue')

-- The value of a field in a list of the form name, value, name, value.
local function field(pairs, name)
  for i = 1, #pairs, 2 do
    if pairs[i] == name then return pairs[i + 1] end
  end
end

-- Removes an entry, and puts its prompt back at the end of the queue for the next worker.
local function hand_on(id)
  local entry = redis.call('XRANGE', prompts, id, id)[1]
  redis.call('XACK', prompts, group, id)
  redis.call('XDEL', prompts, id)
  if entry then
    redis.call('XADD', prompts, '*', 'line', field(entry[2], 'line'), 'prompt', field(entry[2], 'prompt'), 'again', '1')
  end
end

-- Hands on a worker's prompts, at most 200 so that others do not wait long for the server; removes the worker with the
-- last of them. Returns how many were handed on.
local function hand_on_all(worker)
  local pending = redis.call('XPENDING', prompts, group, '-', '+', 200, worker)
  for _, entry in ipairs(pending) do hand_on(entry[1]) end
  if #pending < 200 then
    redis.call('XGROUP', 'DELCONSUMER', prompts, group, worker)
    redis.call('ZREM', workers, worker)
    redis.call('HDEL', last, worker)
  end
  return #pending
end

