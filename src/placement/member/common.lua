-- Who holds a slot is one text: `id token id token`, the primary first, then in the order in which they became ready. A token is
-- the epoch of the change by which somebody became a holder, or became the primary.
local function holders(slot)
    return words(redis.call('HGET', P .. 'slots', slot) or '')
end

local function place_of(list, id)
    for place = 1, #list, 2 do
        if list[place] == id then
            return place
        end
    end
end

local function put(slot, list)
    if #list == 0 then
        redis.call('HDEL', P .. 'slots', slot)
    else
        redis.call('HSET', P .. 'slots', slot, table.concat(list, ' '))
    end
end

-- How many others hold a slot who are alive and mean to stay.
local function others(list, id)
    local count = 0
    for place = 1, #list, 2 do
        local other = list[place]
        if other ~= id and redis.call('EXISTS', P .. 'member:' .. other) == 1 then
            local member = words(redis.call('HGET', P .. 'members', other) or '')
            if member[3] == 'here' then
                count = count + 1
            end
        end
    end
    return count
end

-- Takes a holder away, as part of the change that was just counted. The one behind a primary becomes the primary.
local function take_away(slot, id)
    local list = holders(slot)
    local place = place_of(list, id)
    if place then
        table.remove(list, place)
        table.remove(list, place)
        if place == 1 and #list > 0 then
            list[2] = digits(epoch)
        end
        put(slot, list)
    end
    redis.call('SREM', P .. 'held:' .. id, slot)
end

-- Removes a member and all that it holds: one change.
local function drop(id, what)
    local slots = redis.call('SMEMBERS', P .. 'held:' .. id)
    change(what, id, table.concat(slots, ' '))
    for _, slot in ipairs(slots) do
        take_away(slot, id)
    end
    redis.call('DEL', P .. 'held:' .. id, P .. 'member:' .. id)
    redis.call('HDEL', P .. 'members', id)
end

-- Whether a member is there, and is the one who asks and not one before or after it.
local function is_there(id, incarnation)
    return words(redis.call('HGET', P .. 'members', id) or '')[1] == incarnation
end
