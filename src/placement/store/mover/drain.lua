-- Says that the node ARGV[3] is to leave, if at least as many stay as each slot is to have copies. A node that was lost is none of
-- those, and leaves at once if it has no copies. Returns 1, or a text that says why not.
local node = words(redis.call('HGET', P .. 'nodes', ARGV[3]))
if node[4] == 'leaving' or node[4] == 'removed' then
    return {1, ''}
end
if node[4] == 'out' then
    local is_named = false
    for slot = 0, (tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0') or 0) - 1 do
        is_named = is_named or redis.call('LPOS', P .. 'hashingslot:' .. slot, ARGV[3]) ~= false
    end
    for _, move in ipairs(redis.call('HVALS', P .. 'moves')) do
        local record = words(move)
        is_named = is_named or record[1] == ARGV[3] or record[2] == ARGV[3]
    end
    if is_named then
        change('leaving', ARGV[3], '')
        node[4], node[5] = 'leaving', digits(epoch)
        redis.call('HSET', P .. 'nodes', ARGV[3], table.concat(node, ' '))
    else
        change('left', ARGV[3], '')
        redis.call('HDEL', P .. 'nodes', ARGV[3])
    end
    return {1, ''}
end
if node[4] ~= 'in' then
    return {0, 'it is no node'}
end
local stay = 0
for _, entry in ipairs(redis.call('HVALS', P .. 'nodes')) do
    if words(entry)[4] == 'in' then
        stay = stay + 1
    end
end
local copies = tonumber(redis.call('HGET', P .. 'settings', 'copies') or '1')
if stay - 1 < copies then
    return {0, (stay - 1) .. ' nodes would stay, and each slot is to have ' .. copies .. ' copies'}
end
change('leaving', ARGV[3], '')
node[4], node[5] = 'leaving', digits(epoch)
redis.call('HSET', P .. 'nodes', ARGV[3], table.concat(node, ' '))
return {1, ''}
