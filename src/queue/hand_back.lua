-- Hands back prompts that a worker has not begun. ARGV: its name, and the entries; without entries, all that it holds, at
-- most 200, and then the worker leaves. Returns how many were handed back; -1 if the queue is gone.
if redis.call('EXISTS', meta) == 0 then return -1 end
local worker = table.remove(ARGV, 1)
if #ARGV == 0 then return hand_on_all(worker) end
local count = 0
for _, id in ipairs(ARGV) do
  if #redis.call('XPENDING', prompts, group, id, id, 1, worker) == 1 then
    hand_on(id)
    count = count + 1
  end
end
return count
