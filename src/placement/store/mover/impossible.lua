-- Gives up moves that cannot be made any more: who was to lose the slot has no copy of it, or who was to get it is not in or has one
-- already, or only one copy is left. What was copied by then is to be cleaned up. Returns how many there were.
local given_up = {}
local moves = redis.call('HGETALL', P .. 'moves')
for at = 1, #moves, 2 do
    local slot, move = moves[at], words(moves[at + 1])
    local from, to, phase = move[1], move[2], move[3]
    if phase == 'planned' or phase == 'copying' then
        local list = P .. 'hashingslot:' .. slot
        local may_lose = from == '-' or redis.call('LPOS', list, from)
        local may_get = to ~= '-' and words(redis.call('HGET', P .. 'nodes', to))[4] == 'in'
            and not redis.call('LPOS', list, to)
        local may_shrink = to == '-' and redis.call('LLEN', list) > 1
        if not may_lose or not (may_get or may_shrink) then
            given_up[#given_up + 1] = {slot, move}
        end
    end
end
if #given_up > 0 then
    change('given up', 'handler', #given_up .. ' moves')
    for _, one in ipairs(given_up) do
        local slot, move = one[1], one[2]
        if move[3] == 'planned' or move[2] == '-' or redis.call('LPOS', P .. 'hashingslot:' .. slot, move[2]) then
            redis.call('HDEL', P .. 'moves', slot)
        else
            redis.call('HSET', P .. 'moves', slot, move[1] .. ' ' .. move[2] .. ' cancelled ' .. digits(epoch))
        end
    end
    if redis.call('EXISTS', P .. 'moves') == 0 then
        redis.call('HDEL', P .. 'settings', 'moving')
    end
end
return #given_up
