-- Gives up moves that have not been flipped, ARGV[3] says why: of these slots, or of all if none follows. What was copied by then
-- is to be cleaned up. Returns how many there were.
local slots, given_up = {}, {}
for place = 4, #ARGV do
    slots[#slots + 1] = ARGV[place]
end
if #slots == 0 then
    slots = redis.call('HKEYS', P .. 'moves')
end
for _, slot in ipairs(slots) do
    local phase = words(redis.call('HGET', P .. 'moves', slot))[3]
    if phase == 'planned' or phase == 'copying' then
        given_up[#given_up + 1] = slot
    end
end
if #given_up > 0 then
    change('cancelled: ' .. ARGV[3], 'handler', table.concat(given_up, ' '))
    for _, slot in ipairs(given_up) do
        local move = words(redis.call('HGET', P .. 'moves', slot))
        if move[3] == 'planned' or move[2] == '-' then
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
