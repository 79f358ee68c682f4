-- Returns the epoch; the nodes that were lost and are free of copies and moves, with the ids of their processes by turns; and, where
-- less nodes are in than slots are to have copies, those that were lost and have copies, in the same way.
local named, copies = {}, {}
local slots = tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0') or 0
for slot = 0, slots - 1 do
    for _, node in ipairs(redis.call('LRANGE', P .. 'hashingslot:' .. slot, 0, -1)) do
        copies[node] = true
    end
end
for _, move in ipairs(redis.call('HVALS', P .. 'moves')) do
    for _, word in ipairs(words(move)) do
        named[word] = true
    end
end
local free, holding, present = {}, {}, 0
local nodes = redis.call('HGETALL', P .. 'nodes')
for place = 1, #nodes, 2 do
    local node, entry = nodes[place], words(nodes[place + 1])
    if entry[4] == 'in' then
        present = present + 1
    elseif entry[4] == 'out' and (copies[node] or not named[node]) then
        local found = copies[node] and holding or free
        found[#found + 1] = node
        found[#found + 1] = entry[1]
    end
end
if present >= (tonumber(redis.call('HGET', P .. 'settings', 'copies') or '1') or 1) then
    holding = {}
end
return {digits(epoch), free, holding}
