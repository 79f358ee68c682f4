-- Lets a node in again that was lost: ARGV[3] is its address, ARGV[4] the id that its process had, ARGV[5] the one that it has.
local entry = words(redis.call('HGET', P .. 'nodes', ARGV[3]))
if entry[4] ~= 'out' or entry[1] ~= ARGV[4] then
    return 0
end
change('admitted again', ARGV[3], '')
redis.call('HSET', P .. 'nodes', ARGV[3], ARGV[5] .. ' ' .. entry[2] .. ' ' .. entry[3] .. ' in ' .. digits(epoch))
return 1
