-- Lets nodes in again that were lost and have kept copies: ARGV[3] is the epoch since which nothing may have changed, then come their
-- addresses. Returns how many there are.
if tonumber(ARGV[3]) ~= epoch then
    return 0
end
for place = 4, #ARGV do
    change('admitted again with its copies', ARGV[place], '')
    local entry = words(redis.call('HGET', P .. 'nodes', ARGV[place]))
    entry[4], entry[5] = 'in', digits(epoch)
    redis.call('HSET', P .. 'nodes', ARGV[place], table.concat(entry, ' '))
end
return #ARGV - 3
