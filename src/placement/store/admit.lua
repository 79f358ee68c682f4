-- Writes a node down that was looked at: ARGV[3] is its address, ARGV[4] the id of its process.
if redis.call('LREM', P .. 'joining', 0, ARGV[3]) == 0 then
    return 0
end
change('admitted', ARGV[3], '')
local about = redis.call('HGET', P .. 'asked', ARGV[3]) or '1 -'
redis.call('HDEL', P .. 'asked', ARGV[3])
redis.call('HSET', P .. 'nodes', ARGV[3], ARGV[4] .. ' ' .. about .. ' in ' .. digits(epoch))
return 1
