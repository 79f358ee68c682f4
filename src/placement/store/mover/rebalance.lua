-- Plans moves by hand, as things were at the epoch ARGV[3]. ARGV[4] slots get another first copy: slot and node by turns from
-- ARGV[5] on. Behind those stand moves: slot, node that loses it, node that gets it, with - for nobody. Returns nothing, or a text
-- that says why not: stale, if something has changed since.
if tonumber(ARGV[3]) ~= epoch then
    return 'stale'
end
if redis.call('EXISTS', P .. 'moves') == 1 then
    return 'slots move already, which RMR.PLACE PLAN shows'
end
local moves = 5 + 2 * tonumber(ARGV[4])
local firsts = {}
for place = 5, moves - 1, 2 do
    local slot, node = ARGV[place], ARGV[place + 1]
    local list = P .. 'hashingslot:' .. slot
    if words(redis.call('HGET', P .. 'slots', slot))[3] == 'ok' and redis.call('LPOS', list, node) then
        redis.call('LREM', list, 0, node)
        redis.call('LPUSH', list, node)
        firsts[#firsts + 1] = slot
    end
end
if #firsts > 0 then
    change('first copies', 'operator', table.concat(firsts, ' '))
    for _, slot in ipairs(firsts) do
        local entry = words(redis.call('HGET', P .. 'slots', slot))
        redis.call('HSET', P .. 'slots', slot, digits(epoch) .. ' ' .. entry[2] .. ' ' .. entry[3])
    end
end
if #ARGV >= moves then
    change('planned', 'operator', ((#ARGV - moves + 1) / 3) .. ' moves')
    for place = moves, #ARGV - 2, 3 do
        redis.call('HSET', P .. 'moves', ARGV[place],
            ARGV[place + 1] .. ' ' .. ARGV[place + 2] .. ' planned ' .. digits(epoch))
    end
    redis.call('HSET', P .. 'settings', 'moving', 1)
end
return ''
