-- Gives slots of the proxy ARGV[3], which does not live any more and is fenced on the nodes that ARGV[4] names, to others: slot and
-- proxy by turns. Nodes that could not be fenced are no copies any more. A slot of which none could be stays as it is; one with
-- several copies is suspect, since the proxy may have written to some of them only. Nobody waits for the proxy any more if too few
-- nodes are left for it to read on by what they say. Returns how many slots were taken, and whether it is waited for.
local start = string.match(ARGV[3], '/(.*)$')
local address = string.match(ARGV[3], '^(.*)/')
if words(redis.call('GET', P .. 'proxy:' .. address) or '')[1] == start then
    return {0, 0}
end
local fenced, taken = {}, {}
for _, node in ipairs(words(ARGV[4])) do
    fenced[node] = true
end

-- The proxy counts the nodes of the table that it has confirmed. Those that came later may have been among them before.
local waited_for = 0
local confirmed = tonumber(redis.call('HGET', P .. 'starts', ARGV[3]) or '0')
if confirmed > 0 then
    local known, open = 0, 0
    local nodes = redis.call('HGETALL', P .. 'nodes')
    for place = 1, #nodes, 2 do
        local entry = words(nodes[place + 1])
        local is_later = tonumber(entry[5]) > confirmed
        if (entry[4] == 'out') == is_later then
            known = known + 1
        end
        if not fenced[nodes[place]] and (entry[4] ~= 'out' or is_later) then
            open = open + 1
        end
    end
    if open * 2 <= known then
        local lease = tonumber(redis.call('HGET', P .. 'settings', 'lease-ms') or '0')
        redis.call('SET', P .. 'fenced-until', digits(now + lease * 1.1))
    else
        waited_for = 1
    end
end
if waited_for == 0 then
    redis.call('HDEL', P .. 'starts', ARGV[3])
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
        local slot, gone = one[1], one[4]
        local entry = words(redis.call('HGET', P .. 'slots', slot))
        for _, node in ipairs(gone) do
            redis.call('LREM', P .. 'hashingslot:' .. slot, 0, node)
            local about = words(redis.call('HGET', P .. 'nodes', node))
            if about[4] == 'in' then
                about[4], about[5] = 'out', digits(epoch)
                redis.call('HSET', P .. 'nodes', node, table.concat(about, ' '))
            end
        end
        local state = entry[3]
        if state == 'ok' and one[3] > 1 then
            state = 'suspect'
        end
        local since = #gone > 0 and digits(epoch) or entry[1]
        redis.call('HSET', P .. 'slots', slot, since .. ' ' .. one[2] .. ' ' .. state)
    end
end
return {#taken, waited_for}
