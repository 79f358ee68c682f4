-- Says whether slots may move: ARGV[3] is paused, or go.
change('moves: ' .. ARGV[3], 'handler', '')
redis.call('HSET', P .. 'settings', 'moves', ARGV[3])
return 1
