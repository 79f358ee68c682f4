-- Puts the node ARGV[6] in the place of ARGV[5] among the copies of the slot ARGV[4], - for nobody, on the word of ARGV[3], which
-- orders its writes. ARGV[7] is the process at which the new copy was made. Returns the epoch, or 0 if the slot is not as it was.
local slot, from, to = ARGV[4], ARGV[5], ARGV[6]
local entry = words(redis.call('HGET', P .. 'slots', slot))
local move = words(redis.call('HGET', P .. 'moves', slot))
local list = P .. 'hashingslot:' .. slot
local place = from ~= '-' and redis.call('LPOS', list, from)
if entry[2] ~= ARGV[3] or entry[3] ~= 'ok' or move[1] ~= from or move[2] ~= to or move[3] ~= 'copying' then
    return '0'
end
if from ~= '-' and not place then
    return '0'
end
if to ~= '-' then
    local node = words(redis.call('HGET', P .. 'nodes', to))
    if node[1] ~= ARGV[7] or node[4] ~= 'in' or redis.call('LPOS', list, to) then
        return '0'
    end
elseif redis.call('LLEN', list) < 2 then
    return '0'
end
change('moved: ' .. from .. ' to ' .. to, ARGV[3], slot)
if to == '-' then
    redis.call('LREM', list, 0, from)
elseif from == '-' then
    redis.call('RPUSH', list, to)
else
    redis.call('LSET', list, place, to)
end
redis.call('HSET', P .. 'slots', slot, digits(epoch) .. ' ' .. entry[2] .. ' ' .. entry[3])
if from == '-' then
    redis.call('HDEL', P .. 'moves', slot)
    if redis.call('EXISTS', P .. 'moves') == 0 then
        redis.call('HDEL', P .. 'settings', 'moving')
    end
else
    redis.call('HSET', P .. 'moves', slot, from .. ' ' .. to .. ' flipped ' .. digits(epoch))
end
return digits(epoch)
