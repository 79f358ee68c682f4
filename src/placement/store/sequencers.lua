-- Returns the proxies that live and are not about to end, each as address/start, and the slots whose writes nobody orders.
local live, free = {}, {}
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    local said = words(redis.call('GET', P .. 'proxy:' .. proxy) or '')
    if said[1] and not said[3] then
        live[#live + 1] = proxy .. '/' .. said[1]
    end
end
local slots = redis.call('HGETALL', P .. 'slots')
for place = 1, #slots, 2 do
    if words(slots[place + 1])[2] == '-' then
        free[#free + 1] = tonumber(slots[place])
    end
end
return {live, free}
