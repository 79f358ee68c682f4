-- Returns the moves, slot and record by turns, and whether they are paused.
return {redis.call('HGETALL', P .. 'moves'), redis.call('HGET', P .. 'settings', 'moves') == 'paused' and 1 or 0}
