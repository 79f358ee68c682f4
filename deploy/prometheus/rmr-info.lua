-- For redis_exporter --script: the numbers of INFO rmr, each with its name. The exporter itself passes on only those fields
-- of INFO that it knows. A field of the module is a flat number; what is no number, such as a version, is left out.
local numbers = {}
for name, value in string.gmatch(redis.call('INFO', 'rmr'), '(rmr_[%w_]+):([^\r\n]*)') do
    if tonumber(value) then
        numbers[#numbers + 1] = name
        numbers[#numbers + 1] = value
    end
end
return numbers
