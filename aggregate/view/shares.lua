-- The shares of a feature row anew, when the totals have changed. KEYS: public hash. ARGV: the totals' users_total,
-- users_30d, accounts_30d.
local row = redis.call('HMGET', KEYS[1], 'users_30d', 'accounts_30d')
if not row[1] then return 0 end
local function share(name, n, d)
  d = tonumber(d)
  if not d or d <= 0 then
    redis.call('HDEL', KEYS[1], name)
    return
  end
  local text = string.format('%.6f', math.min(1, tonumber(n) / d))
  text = string.gsub(string.gsub(text, '0+$', ''), '%.$', '')
  redis.call('HSET', KEYS[1], name, text)
end
share('adoption_rate', row[1], ARGV[1])
share('depth', row[1], ARGV[2])
share('reach', row[2], ARGV[3])
return 1
