-- Returns the proxies that live and are not about to end, each as address/start, and those that do not live any more, each with the
-- slots whose writes it orders: their connections are to be ended before anybody goes on without them. Then the slots whose writes
-- nobody orders.
local live, starts, is_known, dead, order, free = {}, {}, {}, {}, {}, {}
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    local said = words(redis.call('GET', P .. 'proxy:' .. proxy) or '')
    if said[1] then
        starts[proxy .. '/' .. said[1]] = true
        is_known[proxy] = true
        if not said[3] then
            live[#live + 1] = proxy .. '/' .. said[1]
        end
    end
end
local lease = tonumber(redis.call('HGET', P .. 'settings', 'lease-ms') or '0')
local is_back = math.abs(now - tonumber(redis.call('GET', P .. 'back') or '0')) < lease
local function found(name)
    -- Who was started again does not live any more, whatever this node has missed.
    if starts[name] or (is_back and not is_known[string.match(name, '^(.*)/')]) then
        return nil
    end
    if not dead[name] then
        dead[name] = {}
        order[#order + 1] = name
    end
    return dead[name]
end
for _, name in ipairs(redis.call('HKEYS', P .. 'starts')) do
    found(name)
end
local slots = redis.call('HGETALL', P .. 'slots')
for place = 1, #slots, 2 do
    local name = words(slots[place + 1])[2]
    local its = name == '-' and free or name and found(name)
    if its then
        table.insert(its, tonumber(slots[place]))
    end
end
local listed = {}
for _, name in ipairs(order) do
    listed[#listed + 1] = {name, dead[name]}
end
return {live, listed, free}
