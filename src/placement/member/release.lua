-- id, incarnation, slot, what is logged, how many others have to hold the slot
local id, incarnation, slot, what, wanted = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
if not is_there(id, incarnation) then
    return {'gone', digits(epoch)}
end
local list = holders(slot)
if place_of(list, id) then
    local count = others(list, id)
    if count < wanted then
        return {'refused', digits(epoch), table.concat(list, ' '), count}
    end
    change(what, id, slot)
    take_away(slot, id)
end
return {'released', digits(epoch), table.concat(holders(slot), ' ')}
