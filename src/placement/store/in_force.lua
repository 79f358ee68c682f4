-- Returns 1 if nobody reads by an older table than that of the epoch ARGV[3] any more, else 0: each proxy has confirmed it, or has
-- been fenced for so long that its lease is over.
local left = tonumber(redis.call('GET', P .. 'fenced-until') or '0') - now
local longest = tonumber(redis.call('HGET', P .. 'settings', 'lease-ms') or '0') * 1.1
if left > longest + 1 then
    -- This server's clock was set back meanwhile.
    redis.call('SET', P .. 'fenced-until', digits(now + longest))
end
if left > 0 then
    return 0
end
for _, confirmed in ipairs(redis.call('HVALS', P .. 'starts')) do
    if tonumber(confirmed) < tonumber(ARGV[3]) then
        return 0
    end
end
return 1
