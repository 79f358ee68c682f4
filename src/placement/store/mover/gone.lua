-- Takes nodes off that were to leave and have left: ARGV[3] is the epoch at which that was so.
if tonumber(ARGV[3]) ~= epoch or redis.call('EXISTS', P .. 'moves') == 1 then
    return 0
end
for place = 4, #ARGV do
    change('left', ARGV[place], '')
    redis.call('HDEL', P .. 'nodes', ARGV[place])
end
return #ARGV - 3
