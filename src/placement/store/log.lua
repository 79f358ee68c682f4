-- Returns the last ARGV[3] entries of the log, the last one first.
return redis.call('XREVRANGE', P .. 'log', '+', '-', 'COUNT', ARGV[3])
