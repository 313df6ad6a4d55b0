-- One request to a shared rate, by the server's clock. It decides as src/share/rate.rs does.
-- KEYS[1]: the rate. ARGV: interval, slack, reserved (serial or 0, at, delay, pauses), ask (0 look, 1 permit, 2 permit and
-- reserve the next, 3 give back), pause or 0, serial of a late permit or 0, and the time for tests (0: the server's).
local a = {}
for i = 1, #ARGV do a[i] = tonumber(ARGV[i]) end
local interval, slack, ask, pause, late_one, now = a[1], a[2], a[7], a[8], a[9], a[10]
local reserved = a[3] > 0 and { serial = a[3], at = a[4], delay = a[5], pauses = a[6] } or nil
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local names = { 'next', 'free', 'delay', 'serial', 'taken', 'interval', 'interval_seen', 'paused_until', 'pauses', 'seen' }
local r = {}
local function fresh(from)
  for _, name in ipairs(names) do r[name] = 0 end
  r.next, r.free, r.serial, r.taken, r.seen = from, from, now, now, now
end
local kept = redis.call('HMGET', KEYS[1], unpack(names))
if not kept[10] then
  fresh(reserved and now + interval or now)
else
  for i, name in ipairs(names) do r[name] = tonumber(kept[i]) end
  if now + 1000000 < r.seen then fresh(now + math.max(r.interval, interval)) end
end
r.seen = math.max(r.seen, now)

local function delay_later(late) r.delay, r.next = r.delay + late, r.next + late end
local function due(c) return c.at + math.max(r.delay - c.delay, 0) end
local function is_valid(c)
  return c.pauses == r.pauses and c.serial > r.taken and c.serial <= r.serial and c.delay <= r.delay
end
local function reserve()
  local at = math.max(r.next, now)
  r.serial, r.next = r.serial + 1, at + r.interval
  return { serial = r.serial, at = at, delay = r.delay, pauses = r.pauses }
end

if interval >= r.interval or now > r.interval_seen + 10000000 + 16 * r.interval then
  r.interval, r.interval_seen = interval, now
end
local began = 0
if pause > 0 and now + pause > r.paused_until then
  began, r.paused_until, r.pauses = 1, now + pause, r.pauses + 1
  r.next = math.max(r.paused_until, r.free)
end
if late_one > 0 and late_one == r.taken then
  local late = math.max(math.max(now - slack, 0) + r.interval - r.free, 0)
  r.free = r.free + late
  delay_later(late)
end

local taken = 0
if ask == 3 then
  if reserved and is_valid(reserved) and reserved.serial == r.serial then r.next = math.max(due(reserved), r.free) end
  reserved = nil
elseif ask > 0 then
  if not (reserved and is_valid(reserved)) then reserved = reserve() end
  if due(reserved) <= now then
    local was_due, excused = due(reserved), math.max(now - slack, 0)
    delay_later(math.max(excused - was_due, 0))
    taken, r.taken, r.free = reserved.serial, reserved.serial, math.max(was_due, excused) + r.interval
    reserved = ask == 2 and reserve() or nil
  end
end

local fields = {}
for _, name in ipairs(names) do
  fields[#fields + 1] = name
  fields[#fields + 1] = string.format('%.0f', r[name])
end
redis.call('HSET', KEYS[1], unpack(fields))
local lasts = math.max(r.next, r.paused_until) - now + 10000000 + 16 * r.interval
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(lasts / 1000)))
local c = reserved or { serial = 0, at = 0, delay = 0, pauses = 0 }
return { taken, c.serial, c.at, c.delay, c.pauses, reserved and math.max(due(reserved) - now, 0) or 0,
  math.max(r.paused_until - now, 0), r.pauses, began, r.interval }
