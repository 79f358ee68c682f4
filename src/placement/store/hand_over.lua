-- Gives slots whose writes the proxy ARGV[3] orders, and of which nothing is under way, to others: slot and proxy by turns, - for
-- nobody. Who gets slots lives, has a table, and is not about to end. A slot that is to move stays, unless ARGV[4] is idle: then
-- ARGV[3] moves nothing any more. The copies stay what they are, and with them the epoch of the slot: no write waits until all proxies
-- know of this. Returns the epoch, and the slots that have gone with their proxies.
local takes, given = {}, {}
for _, proxy in ipairs(redis.call('ZRANGE', P .. 'proxies', 0, -1)) do
    local said = words(redis.call('GET', P .. 'proxy:' .. proxy) or '')
    if said[1] and tonumber(said[2]) > 0 and not said[3] then
        takes[proxy .. '/' .. said[1]] = true
    end
end
for place = 5, #ARGV - 1, 2 do
    local slot, to = ARGV[place], ARGV[place + 1]
    local stays = ARGV[4] ~= 'idle' and redis.call('HEXISTS', P .. 'moves', slot) == 1
    if words(redis.call('HGET', P .. 'slots', slot))[2] == ARGV[3] and not stays and (to == '-' or takes[to]) then
        given[#given + 1] = place
    end
end
local gone = {}
if #given > 0 then
    change('handed over', ARGV[3], #given .. ' slots')
    for _, place in ipairs(given) do
        local entry = words(redis.call('HGET', P .. 'slots', ARGV[place]))
        gone[#gone + 1] = {tonumber(ARGV[place]), ARGV[place + 1]}
        redis.call('HSET', P .. 'slots', ARGV[place], entry[1] .. ' ' .. ARGV[place + 1] .. ' ' .. entry[3])
    end
end
return {digits(epoch), gone}
