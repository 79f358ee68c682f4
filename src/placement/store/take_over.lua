-- Gives slots of the proxy ARGV[3], which does not live any more and is fenced on the nodes that ARGV[4] names, to others: slot and
-- proxy by turns. Nodes that could not be fenced are no copies any more. A slot of which none could be stays as it is; one with
-- several copies is suspect, since the proxy may have written to some of them only. Returns how many were taken.
local start = string.match(ARGV[3], '/(.*)$')
local address = string.match(ARGV[3], '^(.*)/')
if words(redis.call('GET', P .. 'proxy:' .. address) or '')[1] == start then
    return 0
end
local fenced, taken = {}, {}
for _, node in ipairs(words(ARGV[4])) do
    fenced[node] = true
end
for place = 5, #ARGV - 1, 2 do
    local slot = ARGV[place]
    if words(redis.call('HGET', P .. 'slots', slot))[2] == ARGV[3] then
        local stay, go = {}, {}
        for _, node in ipairs(redis.call('LRANGE', P .. 'hashingslot:' .. slot, 0, -1)) do
            table.insert(fenced[node] and stay or go, node)
        end
        if #stay > 0 then
            taken[#taken + 1] = {slot, ARGV[place + 1], #stay, go}
        end
    end
end
if #taken > 0 then
    change('taken over', ARGV[3], #taken .. ' slots')
    for _, one in ipairs(taken) do
        local state = words(redis.call('HGET', P .. 'slots', one[1]))[3]
        for _, node in ipairs(one[4]) do
            redis.call('LREM', P .. 'hashingslot:' .. one[1], 0, node)
            local entry = words(redis.call('HGET', P .. 'nodes', node))
            if entry[4] == 'in' then
                entry[4], entry[5] = 'out', digits(epoch)
                redis.call('HSET', P .. 'nodes', node, table.concat(entry, ' '))
            end
        end
        if state == 'ok' and one[3] > 1 then
            state = 'suspect'
        end
        redis.call('HSET', P .. 'slots', one[1], digits(epoch) .. ' ' .. one[2] .. ' ' .. state)
    end
end
return #taken
