-- Writes down which slots are to move, as planned at the epoch ARGV[3]: slot, node that loses it, node that gets it, with - for
-- nobody. Nothing is written down while slots move, or are not to. The setting moving tells all proxies that there are moves.
if tonumber(ARGV[3]) ~= epoch or redis.call('EXISTS', P .. 'moves') == 1
    or redis.call('HGET', P .. 'settings', 'moves') == 'paused' then
    return 0
end
change('planned', 'handler', ((#ARGV - 3) / 3) .. ' moves')
for place = 4, #ARGV - 2, 3 do
    redis.call('HSET', P .. 'moves', ARGV[place],
        ARGV[place + 1] .. ' ' .. ARGV[place + 2] .. ' planned ' .. digits(epoch))
end
redis.call('HSET', P .. 'settings', 'moving', 1)
return 1
