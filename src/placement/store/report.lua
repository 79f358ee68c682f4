-- Returns all that there is to be told: the epoch, the settings, of each slot its copies, the nodes, the entry of each slot, the
-- nodes that wait, and of each proxy its address, when it came, the epoch that it has said, and for how long it is known.
local slots = tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0') or 0
local lists = {}
for slot = 0, slots - 1 do
    lists[slot + 1] = redis.call('LRANGE', P .. 'hashingslot:' .. slot, 0, -1)
end
local waiting = redis.call('LRANGE', P .. 'newnodes', 0, -1)
for _, node in ipairs(redis.call('LRANGE', P .. 'joining', 0, -1)) do
    waiting[#waiting + 1] = node
end
local proxies = {}
local entries = redis.call('ZRANGE', P .. 'proxies', 0, -1, 'WITHSCORES')
for place = 1, #entries, 2 do
    local key = P .. 'proxy:' .. entries[place]
    local left = redis.call('PTTL', key)
    if left >= 0 then
        local said = words(redis.call('GET', key))
        proxies[#proxies + 1] = {entries[place], digits(tonumber(entries[place + 1])), said[2] or '0', left}
    end
end
return {digits(epoch), redis.call('HGETALL', P .. 'settings'), lists, redis.call('HGETALL', P .. 'nodes'),
    redis.call('HGETALL', P .. 'slots'), waiting, proxies}
