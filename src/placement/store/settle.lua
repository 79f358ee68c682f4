-- Stores the settings, name and value by turns, that nobody has stored.
local is_new = 0
for place = 3, #ARGV - 1, 2 do
    is_new = is_new + redis.call('HSETNX', P .. 'settings', ARGV[place], ARGV[place + 1])
end
if is_new > 0 then
    change('settings', 'handler', '')
end
return is_new
