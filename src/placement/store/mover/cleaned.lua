-- Takes moves off whose node ARGV[3] has nothing left of the slots that follow.
local count = 0
for place = 4, #ARGV do
    local move = words(redis.call('HGET', P .. 'moves', ARGV[place]))
    if (move[3] == 'flipped' and move[1] == ARGV[3]) or (move[3] == 'cancelled' and move[2] == ARGV[3]) then
        count = count + redis.call('HDEL', P .. 'moves', ARGV[place])
    end
end
if count > 0 then
    change('cleaned', ARGV[3], count .. ' slots')
    if redis.call('EXISTS', P .. 'moves') == 0 then
        redis.call('HDEL', P .. 'settings', 'moving')
    end
end
return count
