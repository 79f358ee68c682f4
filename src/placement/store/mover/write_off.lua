-- Says that the node ARGV[3], which cannot be used, is emptied before it is used again: ARGV[4] says why it cannot be. Returns 0 if it
-- has copies.
local slots = tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0') or 0
for slot = 0, slots - 1 do
    if redis.call('LPOS', P .. 'hashingslot:' .. slot, ARGV[3]) then
        return 0
    end
end
local node = words(redis.call('HGET', P .. 'nodes', ARGV[3]))
if node[4] == 'in' then
    change('lost: ' .. ARGV[4], ARGV[3], '')
    node[4], node[5] = 'out', digits(epoch)
    redis.call('HSET', P .. 'nodes', ARGV[3], table.concat(node, ' '))
end
return 1
