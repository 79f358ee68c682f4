-- Returns the node that is to be looked at, and the time: one that was taken before and not done with comes first. Once the slots
-- are given out nobody is taken from the list.
local node = redis.call('LINDEX', P .. 'joining', -1)
if not node and redis.call('EXISTS', P .. 'slots') == 0 then
    node = redis.call('LMOVE', P .. 'newnodes', P .. 'joining', 'RIGHT', 'LEFT')
end
return {node or '', time[1], time[2]}
