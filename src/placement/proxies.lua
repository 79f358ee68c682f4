-- Returns the addresses of the proxies that live, in the order in which they came.
local live = {}
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    if redis.call('EXISTS', P .. 'proxy:' .. proxy) == 1 then
        live[#live + 1] = proxy
    end
end
return live
