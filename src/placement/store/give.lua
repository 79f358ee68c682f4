-- Gives the slots out, as planned at the epoch ARGV[3]: the nodes of each slot follow in order.
if tonumber(ARGV[3]) ~= epoch or redis.call('EXISTS', P .. 'slots') == 1 then
    return 0
end
change('given out', 'handler', '0-' .. (#ARGV - 4))
for place = 4, #ARGV do
    local slot = place - 4
    for _, node in ipairs(words(ARGV[place])) do
        redis.call('RPUSH', P .. 'hashingslot:' .. slot, node)
    end
    redis.call('HSET', P .. 'slots', slot, digits(epoch) .. ' - ok')
end
return 1
