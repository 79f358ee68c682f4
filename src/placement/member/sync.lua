-- The epoch up to which everything is known, or -1. Answers with epoch, kind, members and slots: with what has changed since,
-- as long as the log goes back that far.
local since = tonumber(ARGV[3])
if since == epoch then
    return {digits(epoch), 'same', {}, {}}
end
local oldest = redis.call('XRANGE', P .. 'log', '-', '+', 'COUNT', 1)[1]
if since < 0 or since > epoch or not oldest or tonumber(string.match(oldest[1], '%d+')) > since + 1 then
    return {digits(epoch), 'all', redis.call('HGETALL', P .. 'members'), redis.call('HGETALL', P .. 'slots')}
end
local members, slots, is_listed = false, {}, {}
for _, entry in ipairs(redis.call('XRANGE', P .. 'log', '(' .. digits(since) .. '-0', '+')) do
    local fields = entry[2]
    local what, concerned = fields[2], fields[6]
    if what == 'joined' or what == 'gone' or what == 'leaving' or what == 'left' then
        members = true
    end
    for _, slot in ipairs(words(concerned)) do
        if not is_listed[slot] then
            is_listed[slot] = true
            slots[#slots + 1] = slot
            slots[#slots + 1] = redis.call('HGET', P .. 'slots', slot) or ''
        end
    end
end
if members then
    return {digits(epoch), 'members', redis.call('HGETALL', P .. 'members'), slots}
end
return {digits(epoch), 'slots', {}, slots}
