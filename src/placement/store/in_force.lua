-- Returns 1 if nobody reads by an older table than that of the epoch ARGV[3] any more, else 0: each proxy has confirmed it, or has
-- been fenced for so long that its lease is over.
if now < tonumber(redis.call('GET', P .. 'fenced-until') or '0') then
    return 0
end
for _, confirmed in ipairs(redis.call('HVALS', P .. 'starts')) do
    if tonumber(confirmed) < tonumber(ARGV[3]) then
        return 0
    end
end
return 1
