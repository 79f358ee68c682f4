-- Puts a node behind those that want in: ARGV[3] is its address, ARGV[4] its weight, ARGV[5] its zone. Returns why not, or nothing.
local state = words(redis.call('HGET', P .. 'nodes', ARGV[3]))[4]
if state and state ~= 'out' then
    return 'it is ' .. state .. ' already'
end
for _, list in ipairs({'newnodes', 'joining'}) do
    if redis.call('LPOS', P .. list, ARGV[3]) then
        return 'it waits already'
    end
end
redis.call('HSET', P .. 'asked', ARGV[3], ARGV[4] .. ' ' .. ARGV[5])
redis.call('LPUSH', P .. 'newnodes', ARGV[3])
change('asked for', ARGV[3], '')
return ''
