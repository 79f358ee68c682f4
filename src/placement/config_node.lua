-- What every script at the configuration node begins with.
-- KEYS[1] is the key of the epoch. ARGV[1] is the prefix of all keys, ARGV[2] the highest epoch that the caller has seen.
local P, seen = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = tonumber(redis.call('GET', KEYS[1]) or '0')

-- Lua writes large numbers with an exponent.
local function digits(number)
    return string.format('%.0f', number)
end

local function words(text)
    local list = {}
    for word in string.gmatch(text or '', '%S+') do
        list[#list + 1] = word
    end
    return list
end

-- Counts a change, writes it into the log, and gives a hint to those who listen. An epoch that somebody has seen is never
-- given out again, also after a replica was promoted that lacks the last changes.
local function change(what, who, slots)
    epoch = math.max(epoch, seen) + 1
    redis.call('SET', KEYS[1], digits(epoch))
    redis.call('XADD', P .. 'log', 'MAXLEN', '~', 10000, digits(epoch) .. '-0',
        'what', what, 'who', who, 'slots', slots, 'at', digits(now))
    redis.call('PUBLISH', P .. 'changes', digits(epoch) .. ' ' .. what)
end

-- Compares settings, which are name and value by turns from this argument on, with those that are stored, and stores them if
-- there are none. Returns name, stored value and given value of each that differs.
local function agree(first)
    local differ = {}
    local is_new = redis.call('EXISTS', P .. 'settings') == 0
    for place = first, #ARGV - 1, 2 do
        local name, value = ARGV[place], ARGV[place + 1]
        if is_new then
            redis.call('HSET', P .. 'settings', name, value)
        else
            local stored = redis.call('HGET', P .. 'settings', name) or 'nothing'
            if stored ~= value then
                differ[#differ + 1] = name
                differ[#differ + 1] = stored
                differ[#differ + 1] = value
            end
        end
    end
    return differ
end
