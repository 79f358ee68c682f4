-- id, incarnation, slot
local id, incarnation, slot = ARGV[3], ARGV[4], ARGV[5]
if not is_there(id, incarnation) then
    return {'gone', digits(epoch)}
end
local list = holders(slot)
if not place_of(list, id) then
    change('ready', id, slot)
    list[#list + 1] = id
    list[#list + 1] = digits(epoch)
    put(slot, list)
    redis.call('SADD', P .. 'held:' .. id, slot)
end
return {'ready', digits(epoch), table.concat(list, ' ')}
