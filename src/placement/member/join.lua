-- id, nonce, timeout in ms, weight, zone, settings
local id, nonce, limit, weight, zone = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local before = words(redis.call('HGET', P .. 'members', id) or '')
if before[4] == nonce then
    -- The answer to the same request was lost.
    redis.call('SET', P .. 'member:' .. id, before[1], 'PX', limit)
    return {'joined', before[1]}
end
local differ = agree(8)
if #differ > 0 then
    return {'differ', unpack(differ)}
end
local left = redis.call('PTTL', P .. 'member:' .. id)
if left >= 0 then
    return {'taken', left}
end
if before[1] then
    drop(id, 'gone')
end
change('joined', id, '')
redis.call('SET', P .. 'member:' .. id, digits(epoch), 'PX', limit)
redis.call('HSET', P .. 'members', id, table.concat({digits(epoch), weight, 'here', nonce, zone}, ' '))
return {'joined', digits(epoch)}
