-- Says who orders the writes of slots for which nobody does: slot and proxy by turns.
local taken = {}
for place = 3, #ARGV - 1, 2 do
    local entry = words(redis.call('HGET', P .. 'slots', ARGV[place]))
    if entry[2] == '-' then
        taken[#taken + 1] = place
    end
end
if #taken > 0 then
    change('sequencers', 'handler', #taken .. ' slots')
    for _, place in ipairs(taken) do
        local entry = words(redis.call('HGET', P .. 'slots', ARGV[place]))
        redis.call('HSET', P .. 'slots', ARGV[place], entry[1] .. ' ' .. ARGV[place + 1] .. ' ' .. entry[3])
    end
end
return #taken
