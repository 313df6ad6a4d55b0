-- One request to the roster of a shared rate, by the server's clock. It decides as src/share/roster.rs does.
-- KEYS[1]: the roster. ARGV: step, slack, claim (serial or 0, at, shift, pauses), want (0 look, 1 pass, 2 pass and reserve
-- the next, 3 give back), pause or 0, serial of a late permit or 0, and the time for tests (0: the server's).
local a = {}
for i = 1, #ARGV do a[i] = tonumber(ARGV[i]) end
local step, slack, want, hold, departed, now = a[1], a[2], a[7], a[8], a[9], a[10]
local claim = a[3] > 0 and { serial = a[3], at = a[4], shift = a[5], holds = a[6] } or nil
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local names = { 'next', 'free', 'shift', 'serial', 'passed', 'step', 'step_seen', 'held_until', 'holds', 'seen' }
local r = {}
local function fresh(from)
  for _, name in ipairs(names) do r[name] = 0 end
  r.next, r.free, r.serial, r.passed, r.seen = from, from, now, now, now
end
local kept = redis.call('HMGET', KEYS[1], unpack(names))
if not kept[10] then
  fresh(claim and now + step or now)
else
  for i, name in ipairs(names) do r[name] = tonumber(kept[i]) end
  if now + 1000000 < r.seen then fresh(now + math.max(r.step, step)) end
end
r.seen = math.max(r.seen, now)

local function put_off(late) r.shift, r.next = r.shift + late, r.next + late end
local function due(c) return c.at + math.max(r.shift - c.shift, 0) end
local function is_good(c)
  return c.holds == r.holds and c.serial > r.passed and c.serial <= r.serial and c.shift <= r.shift
end
local function reserve()
  local at = math.max(r.next, now)
  r.serial, r.next = r.serial + 1, at + r.step
  return { serial = r.serial, at = at, shift = r.shift, holds = r.holds }
end

if step >= r.step or now > r.step_seen + 10000000 + 16 * r.step then r.step, r.step_seen = step, now end
local began = 0
if hold > 0 and now + hold > r.held_until then
  began, r.held_until, r.holds = 1, now + hold, r.holds + 1
  r.next = math.max(r.held_until, r.free)
end
if departed > 0 and departed == r.passed then
  local late = math.max(math.max(now - slack, 0) + r.step - r.free, 0)
  r.free = r.free + late
  put_off(late)
end

local passed = 0
if want == 3 then
  if claim and is_good(claim) and claim.serial == r.serial then r.next = math.max(due(claim), r.free) end
  claim = nil
elseif want > 0 then
  if not (claim and is_good(claim)) then claim = reserve() end
  if due(claim) <= now then
    local was_due, excused = due(claim), math.max(now - slack, 0)
    put_off(math.max(excused - was_due, 0))
    passed, r.passed, r.free = claim.serial, claim.serial, math.max(was_due, excused) + r.step
    claim = want == 2 and reserve() or nil
  end
end

local fields = {}
for _, name in ipairs(names) do
  fields[#fields + 1] = name
  fields[#fields + 1] = string.format('%.0f', r[name])
end
redis.call('HSET', KEYS[1], unpack(fields))
local lasts = math.max(r.next, r.held_until) - now + 10000000 + 16 * r.step
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(lasts / 1000)))
local c = claim or { serial = 0, at = 0, shift = 0, holds = 0 }
return { passed, c.serial, c.at, c.shift, c.holds, claim and math.max(due(claim) - now, 0) or 0,
  math.max(r.held_until - now, 0), r.holds, began, r.step }
