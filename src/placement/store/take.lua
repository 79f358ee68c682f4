-- Returns the node that is to be looked at, the time, and how many copies slots have. A node that was taken before and not done
-- with comes first.
local node = redis.call('LINDEX', P .. 'joining', -1)
if not node then
    node = redis.call('LMOVE', P .. 'newnodes', P .. 'joining', 'RIGHT', 'LEFT')
end
return {node or '', time[1], time[2], redis.call('HGET', P .. 'settings', 'copies') or '1'}
