-- Returns the epoch and the nodes among which slots can be given out: none as long as somebody is to be looked at, or once it is
-- done.
local nodes = {}
local pending = redis.call('LLEN', P .. 'newnodes') + redis.call('LLEN', P .. 'joining')
if pending == 0 and redis.call('EXISTS', P .. 'slots') == 0 then
    nodes = redis.call('HGETALL', P .. 'nodes')
end
return {digits(epoch), nodes, redis.call('HGET', P .. 'settings', 'slots') or '0',
    redis.call('HGET', P .. 'settings', 'copies') or '1'}
