-- Says that the node ARGV[3] is to leave, if at least as many stay as each slot is to have copies. Returns 1, or a text that says
-- why not.
local node = words(redis.call('HGET', P .. 'nodes', ARGV[3]))
if node[4] == 'leaving' then
    return {1, ''}
end
if node[4] ~= 'in' then
    return {0, 'it is not in'}
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
