-- Sends a node away: ARGV[3] is its address, ARGV[4] the reason.
if redis.call('LREM', P .. 'joining', 0, ARGV[3]) == 0 then
    return 0
end
redis.call('HDEL', P .. 'asked', ARGV[3])
change('refused: ' .. ARGV[4], ARGV[3], '')
return 1
