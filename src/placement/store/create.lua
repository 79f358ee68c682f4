-- Stores settings, name and value by turns, and has nodes looked at: of ARGV[4] arguments behind it, and of those behind these. Only
-- where there are no nodes, and nothing has changed since the epoch ARGV[3].
if tonumber(ARGV[3]) ~= epoch then
    return 0
end
local last = 4 + tonumber(ARGV[4])
for place = 5, last, 2 do
    redis.call('HSET', P .. 'settings', ARGV[place], ARGV[place + 1])
end
for place = last + 1, #ARGV do
    redis.call('LPUSH', P .. 'newnodes', ARGV[place])
end
change('created', 'operator', '')
return 1
