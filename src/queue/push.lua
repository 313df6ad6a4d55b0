-- Adds the prompts that the queue does not have. ARGV: for how many ms the push counts as in progress, whether it may
-- create the queue ('1'), and then for each prompt its line, digest, JSON and whether it needs a model ('1'). Stops at the
-- first line that has another prompt. Returns how many were added, how many the queue had, and the line at which it
-- stopped, or 0.
if ARGV[2] ~= '1' and is_gone() then return gone end
if redis.call('HSETNX', meta, 'version', '1') == 1 then
  redis.call('HSET', meta, 'id', table.concat(redis.call('TIME'), '.'))
  redis.call('XGROUP', 'CREATE', prompts, group, '0', 'MKSTREAM')
end
redis.call('HSET', meta, 'complete', '0', 'pushing', now() + ARGV[1])
local added, known, changed = 0, 0, '0'
for i = 3, #ARGV, 4 do
  local line, digest, prompt, plain = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local at = line * 8
  local old = redis.call('GETRANGE', seen, at, at + 7)
  if old == digest then
    known = known + 1
  elseif old ~= '' and old ~= string.rep('\0', 8) then
    changed = line
    break
  else
    redis.call('SETRANGE', seen, at, digest)
    redis.call('XADD', prompts, '*', 'line', line, 'prompt', prompt)
    if plain == '1' then redis.call('HSET', meta, 'plain', '1') end
    added = added + 1
  end
end
redis.call('HINCRBY', meta, 'pushed', added)
return { added, known, changed }
