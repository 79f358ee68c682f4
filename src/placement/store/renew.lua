-- Says that a proxy lives: ARGV[3] is its address, ARGV[4] how long that holds, in milliseconds, ARGV[5] which start of it this
-- is, ARGV[6] the epoch that it goes by. Whose time is over is no proxy any more.
redis.call('SET', P .. 'proxy:' .. ARGV[3], ARGV[5] .. ' ' .. ARGV[6], 'PX', ARGV[4])
redis.call('ZADD', P .. 'proxies', 'NX', now, ARGV[3])
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    if redis.call('EXISTS', P .. 'proxy:' .. proxy) == 0 then
        redis.call('ZREM', P .. 'proxies', proxy)
    end
end
return digits(epoch)
