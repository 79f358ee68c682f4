-- Plans that the copy of the slot ARGV[3] that the node ARGV[4] has goes to the node ARGV[5]. Returns nothing, or a text that says
-- why not.
local slot, from, to = ARGV[3], ARGV[4], ARGV[5]
local list = redis.call('LRANGE', P .. 'hashingslot:' .. slot, 0, -1)
if #list == 0 then
    return 'it is at no node'
end
if redis.call('HGET', P .. 'settings', 'balance') ~= 'by-hand' then
    return 'the setting balance is even, so slots would move back: SET balance by-hand first'
end
local has = {}
for _, node in ipairs(list) do
    has[node] = true
end
if not has[from] then
    return from .. ' has no copy of it'
end
if has[to] then
    return to .. ' has a copy of it already'
end
if redis.call('HEXISTS', P .. 'moves', slot) == 1 then
    return 'it moves already'
end
local state = words(redis.call('HGET', P .. 'slots', slot))[3]
if state ~= 'ok' then
    return 'it is ' .. (state or 'nobody\'s')
end
local target = words(redis.call('HGET', P .. 'nodes', to))
local reasons = {leaving = ' is to leave', removed = ' is removed', out = ' was lost'}
if target[4] ~= 'in' then
    return to .. (reasons[target[4]] or ' is no node')
end
if target[2] == '0' then
    return to .. ' has the weight 0'
end
local function shared(zone)
    local count = 0
    for _, node in ipairs(list) do
        if node ~= from and zone ~= '-' and words(redis.call('HGET', P .. 'nodes', node))[3] == zone then
            count = count + 1
        end
    end
    return count
end
if shared(target[3]) > shared(words(redis.call('HGET', P .. 'nodes', from))[3]) then
    return 'another copy of it is in the zone ' .. target[3] .. ' already'
end
change('planned', 'operator', slot)
redis.call('HSET', P .. 'moves', slot, from .. ' ' .. to .. ' planned ' .. digits(epoch))
redis.call('HSET', P .. 'settings', 'moving', 1)
return ''
