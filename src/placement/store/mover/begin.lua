-- Says that slots are copied from now on, each of which ARGV[3] orders the writes of. Returns those of which that is so.
local begun = {}
for place = 4, #ARGV do
    local slot = ARGV[place]
    local move = words(redis.call('HGET', P .. 'moves', slot))
    local entry = words(redis.call('HGET', P .. 'slots', slot))
    if entry[2] == ARGV[3] and (move[3] == 'planned' or move[3] == 'copying') then
        redis.call('HSET', P .. 'moves', slot, move[1] .. ' ' .. move[2] .. ' copying ' .. move[4])
        begun[#begun + 1] = slot
    end
end
return begun
