-- Returns the nodes that were lost, with the ids of their processes by turns: those of which no copies and no moves are left.
local named, found = {}, {}
local slots = tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0') or 0
for slot = 0, slots - 1 do
    for _, node in ipairs(redis.call('LRANGE', P .. 'hashingslot:' .. slot, 0, -1)) do
        named[node] = true
    end
end
for _, move in ipairs(redis.call('HVALS', P .. 'moves')) do
    for _, word in ipairs(words(move)) do
        named[word] = true
    end
end
local nodes = redis.call('HGETALL', P .. 'nodes')
for place = 1, #nodes, 2 do
    local entry = words(nodes[place + 1])
    if entry[4] == 'out' and not named[nodes[place]] then
        found[#found + 1] = nodes[place]
        found[#found + 1] = entry[1]
    end
end
return found
