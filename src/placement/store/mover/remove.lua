-- Says that the node ARGV[3] is to have no copies any more, at once: who orders the writes of a slot that it has drops its copy. The
-- only copy of a slot is never dropped. Returns 1, or a text that says why not.
local node = words(redis.call('HGET', P .. 'nodes', ARGV[3]))
if node[4] == 'removed' then
    return {1, ''}
end
if not node[4] then
    return {0, 'it is no node'}
end
local only = 0
for slot = 0, (tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0') or 0) - 1 do
    local list = P .. 'hashingslot:' .. slot
    if redis.call('LLEN', list) == 1 and redis.call('LINDEX', list, 0) == ARGV[3] then
        only = only + 1
    end
end
if only > 0 then
    return {0, 'it has the only copy of ' .. only .. ' slots; REMOVE without FORCE has them copied first'}
end
change('removed', ARGV[3], '')
node[4], node[5] = 'removed', digits(epoch)
redis.call('HSET', P .. 'nodes', ARGV[3], table.concat(node, ' '))
return {1, ''}
