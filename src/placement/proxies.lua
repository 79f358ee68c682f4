-- Returns the addresses of the proxies that live and are not about to end, in the order in which they came.
local live = {}
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    local said = words(redis.call('GET', P .. 'proxy:' .. proxy) or '')
    if said[1] and not said[3] then
        live[#live + 1] = proxy
    end
end
return live
