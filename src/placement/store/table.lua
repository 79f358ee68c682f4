-- Returns the epoch, the settings, of each slot its copies, the nodes, and the entry of each slot.
local slots = tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0') or 0
local lists = {}
for slot = 0, slots - 1 do
    lists[slot + 1] = redis.call('LRANGE', P .. 'hashingslot:' .. slot, 0, -1)
end
return {digits(epoch), redis.call('HGETALL', P .. 'settings'), lists, redis.call('HGETALL', P .. 'nodes'),
    redis.call('HGETALL', P .. 'slots')}
