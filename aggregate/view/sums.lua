-- A partition's contribution to a feature row or to the totals: stored with its epoch and position in a private hash of the
-- same slot; the public row is the exact sum over all contributions.
-- KEYS: public hash, private hash. ARGV: partition, epoch, offset, tick, as_of, kind (f or t), then the values in the order
-- of names, then for f the totals' users_total, users_30d, accounts_30d ("" if unknown).
-- Sums beyond 2^53 are added in limbs of seven digits. Everything is checked before the first write.
local names = {
  f = {'events_1h', 'units_1h', 'events_24h', 'units_24h', 'events_7d', 'units_7d', 'events_30d', 'units_30d',
       'accounts_30d', 'users_30d'},
  t = {'events_1h', 'units_1h', 'logins_1h', 'events_24h', 'units_24h', 'logins_24h', 'events_7d', 'units_7d', 'logins_7d',
       'events_30d', 'units_30d', 'logins_30d', 'accounts_30d', 'users_30d', 'users_total', 'accounts_total', 'open_alerts'}
}
local list = names[ARGV[6]]

local function words(s)
  local w = {}
  for x in string.gmatch(s, '%S+') do w[#w + 1] = x end
  return w
end

local function add(total, s)
  if #total <= 14 and #s <= 14 then return string.format('%.0f', tonumber(total) + tonumber(s)) end
  local out, carry, i, j = {}, 0, #total, #s
  while i > 0 or j > 0 or carry > 0 do
    local a = i > 0 and tonumber(string.sub(total, math.max(1, i - 6), i)) or 0
    local b = j > 0 and tonumber(string.sub(s, math.max(1, j - 6), j)) or 0
    local v = a + b + carry
    carry = v >= 10000000 and 1 or 0
    table.insert(out, 1, string.format('%07d', v - carry * 10000000))
    i, j = i - 7, j - 7
  end
  local text = string.gsub(table.concat(out), '^0+', '')
  return text == '' and '0' or text
end

local function plain(micro)
  if #micro < 7 then micro = string.rep('0', 7 - #micro) .. micro end
  local text = string.sub(micro, 1, -7) .. '.' .. string.sub(micro, -6)
  text = string.gsub(text, '0+$', '')
  return (string.gsub(text, '%.$', ''))
end

local old = redis.call('HGET', KEYS[2], ARGV[1])
if old then
  local w = words(old)
  local e, o, t = tonumber(w[1]), tonumber(w[2]), tonumber(w[3])
  local e1, o1, t1 = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  if e > e1 or (e == e1 and (o > o1 or (o == o1 and t > t1))) then return 0 end
end
local mine = {ARGV[2], ARGV[3], ARGV[4], ARGV[5]}
for i = 1, #list do mine[4 + i] = ARGV[6 + i] end
local sums, as_of, as_of_text = {}, nil, nil
for i = 1, #list do sums[i] = '0' end
local all = redis.call('HGETALL', KEYS[2])
all[#all + 1] = ARGV[1]
all[#all + 1] = table.concat(mine, ' ')
for k = 1, #all, 2 do
  if all[k] ~= ARGV[1] or k == #all - 1 then
    local w = words(all[k + 1])
    for i = 1, #list do sums[i] = add(sums[i], w[4 + i]) end
    local at = tonumber(w[4])
    if not as_of or at < as_of then as_of, as_of_text = at, w[4] end
  end
end

local set, del = {'as_of', as_of_text}, {}
for i = 1, #list do
  set[#set + 1] = list[i]
  set[#set + 1] = string.sub(list[i], 1, 6) == 'units_' and plain(sums[i]) or sums[i]
end
if ARGV[6] == 'f' then
  local function share(name, n, d)
    d = tonumber(d)
    if not d or d <= 0 then
      del[#del + 1] = name
      return
    end
    local text = string.format('%.6f', math.min(1, tonumber(n) / d))
    text = string.gsub(string.gsub(text, '0+$', ''), '%.$', '')
    set[#set + 1] = name
    set[#set + 1] = text
  end
  share('adoption_rate', sums[10], ARGV[17])
  share('depth', sums[10], ARGV[18])
  share('reach', sums[9], ARGV[19])
end
redis.call('HSET', KEYS[2], ARGV[1], all[#all])
redis.call('HSET', KEYS[1], unpack(set))
if #del > 0 then redis.call('HDEL', KEYS[1], unpack(del)) end
return 1
