-- Says that the start ARGV[4] of the proxy ARGV[3] is no proxy any more, and reads nothing any more.
redis.call('HDEL', P .. 'starts', ARGV[3] .. '/' .. ARGV[4])
if words(redis.call('GET', P .. 'proxy:' .. ARGV[3]) or '')[1] == ARGV[4] then
    redis.call('DEL', P .. 'proxy:' .. ARGV[3])
    redis.call('ZREM', P .. 'proxies', ARGV[3])
end
return 1
