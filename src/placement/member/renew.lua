-- id, incarnation, timeout in ms. Whoever renews its key also removes those whose keys have run out.
local id, incarnation, limit = ARGV[3], ARGV[4], tonumber(ARGV[5])
if not is_there(id, incarnation) then
    return {'gone', digits(epoch)}
end
redis.call('SET', P .. 'member:' .. id, incarnation, 'PX', limit)
if epoch < seen then
    change('raised', id, '')
end

-- If nobody was here for a while, the server was away, and the keys of the living have run out too: they get time to come back.
local last, grace = unpack(redis.call('HMGET', P .. 'watch', 'last', 'grace'))
if not last or now - last > limit / 2 then
    grace = now + limit
end
redis.call('HSET', P .. 'watch', 'last', digits(now), 'grace', digits(tonumber(grace)))

local soonest = limit
for _, other in ipairs(redis.call('HKEYS', P .. 'members')) do
    local left = redis.call('PTTL', P .. 'member:' .. other)
    if left < 0 and now >= tonumber(grace) then
        drop(other, 'gone')
    elseif left < 0 then
        soonest = math.min(soonest, grace - now)
    else
        soonest = math.min(soonest, left)
    end
end
return {'here', digits(epoch), digits(soonest)}
