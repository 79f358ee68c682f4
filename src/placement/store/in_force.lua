-- Returns 1 if each proxy that lives has confirmed the epoch ARGV[3] or a later one, else 0.
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    local confirmed = words(redis.call('GET', P .. 'proxy:' .. proxy) or '')[2]
    if confirmed and tonumber(confirmed) < tonumber(ARGV[3]) then
        return 0
    end
end
return 1
