-- Gives all slots to the node ARGV[3], whose process is ARGV[4], with the keys that it has. Returns 1, or a text that says why not.
local slots = tonumber(redis.call('HGET', P .. 'settings', 'slots') or '0')
if slots == 0 then
    return {0, 'there are no settings yet: start a proxy first'}
end
if redis.call('EXISTS', P .. 'slots') == 1 then
    return {0, 'the slots are given out already'}
end
change('adopted', ARGV[3], '0-' .. (slots - 1))
redis.call('HSET', P .. 'nodes', ARGV[3], ARGV[4] .. ' 1 - in ' .. digits(epoch))
for slot = 0, slots - 1 do
    redis.call('RPUSH', P .. 'hashingslot:' .. slot, ARGV[3])
    redis.call('HSET', P .. 'slots', slot, digits(epoch) .. ' - ok')
end
return {1, ''}
