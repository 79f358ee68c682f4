-- Says that the copies of slots are equal again, on the word of the proxy ARGV[3] that orders their writes.
local equal = {}
for place = 4, #ARGV do
    local entry = words(redis.call('HGET', P .. 'slots', ARGV[place]))
    if entry[2] == ARGV[3] and entry[3] == 'suspect' then
        equal[#equal + 1] = ARGV[place]
    end
end
if #equal > 0 then
    change('equal again', ARGV[3], table.concat(equal, ' '))
    for _, slot in ipairs(equal) do
        redis.call('HSET', P .. 'slots', slot, words(redis.call('HGET', P .. 'slots', slot))[1] .. ' ' .. ARGV[3] .. ' ok')
    end
end
return #equal
