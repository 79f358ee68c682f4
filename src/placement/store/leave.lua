-- Takes the node ARGV[4] out of the copies of slots whose writes the proxy ARGV[3] orders: not out of the last place, and not for
-- who is not the one any more. ARGV[5] says why; ARGV[6] tells how many slots follow that lose the node; the slots behind those
-- become suspect instead.
local lose, suspect, count = {}, {}, tonumber(ARGV[6])
for place = 7, #ARGV do
    local slot = ARGV[place]
    local entry = words(redis.call('HGET', P .. 'slots', slot))
    local list = P .. 'hashingslot:' .. slot
    if entry[2] == ARGV[3] and redis.call('LPOS', list, ARGV[4]) then
        if place - 6 > count then
            if entry[3] == 'ok' then
                suspect[#suspect + 1] = slot
            end
        elseif redis.call('LLEN', list) > 1 then
            lose[#lose + 1] = slot
        end
    end
end
if #lose > 0 then
    change('copies lost: ' .. ARGV[5], ARGV[4], table.concat(lose, ' '))
    for _, slot in ipairs(lose) do
        redis.call('LREM', P .. 'hashingslot:' .. slot, 0, ARGV[4])
        local entry = words(redis.call('HGET', P .. 'slots', slot))
        redis.call('HSET', P .. 'slots', slot, digits(epoch) .. ' ' .. entry[2] .. ' ' .. entry[3])
    end
    local node = words(redis.call('HGET', P .. 'nodes', ARGV[4]))
    if node[4] == 'in' then
        node[4], node[5] = 'out', digits(epoch)
        redis.call('HSET', P .. 'nodes', ARGV[4], table.concat(node, ' '))
    end
end
if #suspect > 0 then
    change('suspect: ' .. ARGV[5], ARGV[4], table.concat(suspect, ' '))
    for _, slot in ipairs(suspect) do
        redis.call('HSET', P .. 'slots', slot, words(redis.call('HGET', P .. 'slots', slot))[1] .. ' ' .. ARGV[3] .. ' suspect')
    end
end
return digits(epoch)
