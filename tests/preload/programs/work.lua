-- SPDX-License-Identifier: MIT
-- Lua at work: tables that grow by realloc, strings, closures, coroutines, a collector at full tilt.
--   work.lua SCALE

local scale = tonumber(arg[1])
local count, words, state = {}, {}, 1
for i = 1, 40000 * scale do
    state = (state * 1103515245 + 12345) % 2147483648
    local word = "w" .. state % 5000 .. string.rep("x", state % 30)
    count[word] = (count[word] or 0) + 1
    if i % 3 == 0 then
        words[#words + 1] = word
    end
end
local names = {}
for name in pairs(count) do
    names[#names + 1] = name
end
table.sort(names, function(a, b)
    if count[a] ~= count[b] then
        return count[a] > count[b]
    end
    return a < b
end)
for i = 1, 10 do
    print(names[i], count[names[i]])
end

local text = table.concat(words, " ")
local changed, matches = text:gsub("w(%d+)(x+)", function(n, x)
    return #x .. n
end)
print("text", #text, "changed", #changed, "matches", matches)

local sum = 0
for i = 1, 2000 * scale do
    local routine = coroutine.wrap(function()
        local t = {}
        for j = 1, 20 do
            t[j] = { j, tostring(i * j) }
            coroutine.yield(#t[j][2])
        end
    end)
    for _ = 1, 5 + i % 15 do
        sum = sum + routine()
    end
    if i % 500 == 0 then
        collectgarbage()
    end
end
print("sum", sum)

-- Errors unwind through everything; the collector then has it all to free.
local caught = 0
for i = 1, 3000 * scale do
    local ok, message = pcall(function()
        local t = { string.rep("y", i % 3000) }
        error({ t = t, i = i })
    end)
    if not ok and message.i == i then
        caught = caught + 1
    end
end
print("caught", caught)
collectgarbage("collect")
