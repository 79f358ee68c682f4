-- Returns the proxies that order the writes of slots and do not live any more, each as address/start with its slots, and those that
-- live.
local live, starts, dead, order = {}, {}, {}, {}
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    local start = words(redis.call('GET', P .. 'proxy:' .. proxy) or '')[1]
    if start then
        live[#live + 1] = proxy .. '/' .. start
        starts[proxy .. '/' .. start] = true
    end
end
local slots = redis.call('HGETALL', P .. 'slots')
for place = 1, #slots, 2 do
    local name = words(slots[place + 1])[2]
    if name and name ~= '-' and not starts[name] then
        if not dead[name] then
            dead[name] = {}
            order[#order + 1] = name
        end
        table.insert(dead[name], tonumber(slots[place]))
    end
end
local found = {}
for _, name in ipairs(order) do
    found[#found + 1] = {name, dead[name]}
end
return {live, found}
