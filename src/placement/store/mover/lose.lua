-- Says that the node ARGV[5], which is to get the slot ARGV[4], cannot be used, on the word of ARGV[3], which orders the slot's
-- writes. ARGV[6] says why. Returns 1 if it was in.
local entry = words(redis.call('HGET', P .. 'slots', ARGV[4]))
local move = words(redis.call('HGET', P .. 'moves', ARGV[4]))
local node = words(redis.call('HGET', P .. 'nodes', ARGV[5]))
if entry[2] ~= ARGV[3] or move[2] ~= ARGV[5] or node[4] ~= 'in' then
    return 0
end
change('lost: ' .. ARGV[6], ARGV[5], '')
node[4], node[5] = 'out', digits(epoch)
redis.call('HSET', P .. 'nodes', ARGV[5], table.concat(node, ' '))
return 1
