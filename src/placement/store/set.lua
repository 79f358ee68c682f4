-- Stores settings, name and value by turns from ARGV[4] on, if nothing has changed since the epoch ARGV[3].
if tonumber(ARGV[3]) ~= epoch then
    return 0
end
local set = {}
for place = 4, #ARGV, 2 do
    redis.call('HSET', P .. 'settings', ARGV[place], ARGV[place + 1])
    set[#set + 1] = ARGV[place] .. ' ' .. ARGV[place + 1]
end
change('set: ' .. table.concat(set, ', '), 'operator', '')
return 1
