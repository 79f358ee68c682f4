-- Says that a proxy lives: ARGV[3] is its address, ARGV[4] how long that holds, in milliseconds, ARGV[5] which start of it this
-- is, ARGV[6] the epoch that it goes by, ARGV[7] whether it has never said so before (new or known), ARGV[8] whether it is about to end
-- (leaving or stays). Whose time is over is no proxy any more. Returns 1; 0 to one that was taken for dead: nobody counts on it
-- any more.
local name = ARGV[3] .. '/' .. ARGV[5]
if ARGV[7] == 'known' and redis.call('HEXISTS', P .. 'starts', name) == 0 then
    return '0'
end
-- Where nobody has been heard for so long, it was this node that was away: all have as long again to say that they live.
local heard = tonumber(redis.call('GET', P .. 'heard') or '0')
if heard > 0 and now - heard > tonumber(ARGV[4]) then
    redis.call('SET', P .. 'back', digits(now))
end
redis.call('SET', P .. 'heard', digits(now))
redis.call('HSET', P .. 'starts', name, ARGV[6])
local said = ARGV[5] .. ' ' .. ARGV[6]
if ARGV[8] == 'leaving' then
    said = said .. ' leaving'
end
redis.call('SET', P .. 'proxy:' .. ARGV[3], said, 'PX', ARGV[4])
redis.call('ZADD', P .. 'proxies', 'NX', now, ARGV[3])
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    if redis.call('EXISTS', P .. 'proxy:' .. proxy) == 0 then
        redis.call('ZREM', P .. 'proxies', proxy)
    end
end
return 1
