-- id, incarnation, how many ought to hold a slot, 'announce' or 'go'
local id, incarnation, wanted, step = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
if not is_there(id, incarnation) then
    return {'gone'}
end
if step == 'announce' then
    local member = words(redis.call('HGET', P .. 'members', id))
    if member[3] == 'here' then
        member[3] = 'leaving'
        change('leaving', id, '')
        redis.call('HSET', P .. 'members', id, table.concat(member, ' '))
    end
    return {'leaving'}
end
local short = {'left'}
for _, slot in ipairs(redis.call('SMEMBERS', P .. 'held:' .. id)) do
    local count = others(holders(slot), id)
    if count < wanted then
        short[#short + 1] = slot
        short[#short + 1] = count
    end
end
drop(id, 'left')
return short
