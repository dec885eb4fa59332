"""What runs inside Redis: scripts in Lua, which nothing else comes between.

A script is atomic towards other clients, but nothing undoes what it has written when it fails. So each one that writes
first looks at every key that it is going to touch: what could fail does so there (another type under one of our names,
a position that is another one). `#!lua` lets the server refuse a whole script beforehand, when its memory is full or
its disk does not take what it writes.

A commit compares each row that was read with the commit that wrote it last. Where all were read here, and nobody has
changed the table since (`hw_last`), there is nothing to compare.

Rows go in and out as columns, in one MessagePack text, which is made in C on both sides. False stands for what is not
there.
"""

from __future__ import annotations

LOAD = """#!lua flags=no-writes
-- rows by the endings of their names. ARGV: prefix, table, fields, endings. False: nobody opened the table.
-- Returns which commit was the last one that changed any row of the table ('': none); how many rows it has; of each
-- ending the commit that wrote the row (false: there is none); and the columns of the rows that are there.
if redis.call('HEXISTS', ARGV[1] .. 'hw_tables', ARGV[2]) == 0 then return false end
local set = ARGV[1] .. (redis.call('HGET', ARGV[1] .. 'hw_places', ARGV[2]) or ARGV[2])
local name, last = set .. ':', redis.call('HGET', ARGV[1] .. 'hw_last', ARGV[2]) or ''
local fields, endings = cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[4])
local commits, columns, there = {}, {}, 0
for c = 2, #fields do columns[c - 1] = {} end
for i, ending in ipairs(endings) do
    local row = redis.call('HMGET', name .. ending, unpack(fields))
    commits[i] = row[1]
    if row[1] then
        there = there + 1
        for c = 2, #fields do columns[c - 1][there] = row[c] end
    end
end
return {last, redis.call('ZCARD', set), cmsgpack.pack(commits), cmsgpack.pack(columns)}
"""

SCAN = """#!lua flags=no-writes
-- a page of rows in the order of their names. ARGV: prefix, table, its place, fields, where it begins, how many.
-- Each row has the ending of its name in place of its first field. False: nobody opened the table.
if redis.call('HEXISTS', ARGV[1] .. 'hw_tables', ARGV[2]) == 0 then return false end
local name, fields = ARGV[1] .. ARGV[3], cmsgpack.unpack(ARGV[4])
local found = redis.call('ZRANGE', name, ARGV[5], '+', 'BYLEX', 'LIMIT', 0, ARGV[6])
for i, ending in ipairs(found) do
    local row = redis.call('HMGET', name .. ':' .. ending, unpack(fields))
    row[1] = ending
    found[i] = row
end
return cmsgpack.pack(found)
"""

COMMIT = """#!lua
-- rows and positions at once, if all is as it was when they were made. ARGV: prefix, what to do.
-- Returns 'ok', or why nothing was written: 'turn', 'lost', 'stale', 'overtaken', or of a switch: 'behind' and where.
local prefix, given = ARGV[1], cmsgpack.unpack(ARGV[2])
local function place(table) return redis.call('HGET', prefix .. 'hw_places', table) or table end
local lasts = prefix .. 'hw_last'
local turn, positions = prefix .. 'hw_turn:' .. given.runner, prefix .. 'hw_positions:' .. given.runner
local holder = redis.call('GET', turn)
if holder and holder ~= given.commit and not given.only_look then return 'turn' end
for _, one in ipairs(given.tables) do
    if redis.call('HEXISTS', prefix .. 'hw_tables', one.table) == 0 then return 'lost' end
end
for i, partition in ipairs(given.partitions) do
    if redis.call('HGET', positions, partition) ~= given.start[i] then return 'stale' end
end
for _, one in ipairs(given.tables) do
    one.place = place(one.table)
    local name = prefix .. one.place .. ':'
    local calm = (redis.call('HGET', lasts, one.table) or '') == one.last  -- nobody has changed a row since
    for i, ending in ipairs(calm and {} or one.seen) do
        if redis.call('HGET', name .. ending, '_hw') ~= one.commits[i] then return 'overtaken' end
    end
    local before = one.before  -- the commits of rows to be saved; true: it was not read
    for i, ending in ipairs(one.saved) do
        if before[i] == true or not calm then
            local commit = redis.call('HGET', name .. ending, '_hw')
            if commit ~= before[i] and before[i] ~= true then return 'overtaken' end
            before[i] = commit
        end
    end
    redis.call('ZCARD', prefix .. one.place)
end
local switch = given.switch
if switch then
    local exchanged = #switch.pairs > 0 and {[switch.runner] = switch.other, [switch.other] = switch.runner} or {}
    for _, shown in ipairs(switch.shown) do
        local before, after = redis.call('HGET', prefix .. 'hw_tables', shown.before or ''), shown.runner
        if redis.call('GET', prefix .. shown.name) ~= shown.pointer then return 'overtaken' end
        if redis.call('HGET', prefix .. 'hw_tables', shown.table) == false then return 'lost' end
        if before then
            local now = redis.call('HGETALL', prefix .. 'hw_positions:' .. cjson.decode(before).runner)
            for i = 1, #now, 2 do
                local positions = prefix .. 'hw_positions:' .. (exchanged[after] or after)
                local counts = switch.topics[string.gsub(now[i], '/[0-9]+$', '')]
                local come = redis.call('HGET', positions, now[i]) or '0'
                if counts and tonumber(come) < tonumber(now[i + 1]) then
                    return cjson.encode({'behind', shown.name, now[i], now[i + 1], come})
                end
            end
        end
    end
end
if given.only_look then return 'ok' end
for _, one in ipairs(given.tables) do
    local endings, fields, columns, count = prefix .. one.place, one.fields, one.columns, #one.fields
    local name, set, new = endings .. ':', {'', '_hw', given.commit}, {}
    if one.whole then  -- no row lacks a field
        for c, field in ipairs(fields) do set[2 * c + 2], set[2 * c + 3] = field, '' end
    end
    for i, ending in ipairs(one.saved) do
        local n, gone = 3, nil
        set[1] = name .. ending
        if one.whole then
            for c = 1, count do set[2 * c + 3] = columns[c][i] end
            n = 2 * count + 3
        else
            for c = 1, count do
                local text = columns[c][i]
                if text then
                    set[n + 1], set[n + 2], n = fields[c], text, n + 2
                else
                    gone = gone or {}
                    gone[#gone + 1] = fields[c]
                end
            end
        end
        redis.call('HSET', unpack(set, 1, n))
        if not one.before[i] then
            new[#new + 1] = 0
            new[#new + 1] = ending
        elseif gone then
            redis.call('HDEL', set[1], unpack(gone))
        end
    end
    for i = 1, #new, 1000 do redis.call('ZADD', endings, unpack(new, i, math.min(i + 999, #new))) end
    for _, ending in ipairs(one.gone) do
        redis.call('UNLINK', endings .. ':' .. ending)
        redis.call('ZREM', endings, ending)
    end
    if #one.saved + #one.gone > 0 then redis.call('HSET', lasts, one.table, given.commit) end
end
for i, partition in ipairs(given.partitions) do redis.call('HSET', positions, partition, given.to[i]) end
if holder then redis.call('DEL', turn) end
if switch then
    for _, pair in ipairs(switch.pairs) do
        local one, other = place(pair[1]), place(pair[2])
        redis.call('HSET', prefix .. 'hw_places', pair[1], other, pair[2], one)
        redis.call('HSET', lasts, pair[1], given.commit, pair[2], given.commit)
        redis.call('SET', prefix .. string.gsub(pair[2], '_v%d+$', ''), one)
    end
    if #switch.pairs > 0 then
        local keys, meanwhile = {}, prefix .. 'hw_meanwhile'
        for i, runner in ipairs({switch.runner, switch.other}) do keys[i] = prefix .. 'hw_positions:' .. runner end
        for _, move in ipairs({{keys[1], meanwhile}, {keys[2], keys[1]}, {meanwhile, keys[2]}}) do
            if redis.call('EXISTS', move[1]) == 1 then redis.call('RENAME', move[1], move[2]) end
        end
        local codes = prefix .. 'hw_code'
        local one, other = unpack(redis.call('HMGET', codes, switch.runner, switch.other))
        redis.call('HSET', codes, switch.runner, other or '', switch.other, one or '')
    end
    for _, shown in ipairs(switch.shown) do redis.call('SET', prefix .. shown.name, place(shown.table)) end
end
return 'ok'
"""

SHOWN = """#!lua flags=no-writes
-- what a name shows. ARGV: prefix, name. Returns the pointer, the table, its entry in the list and its code; or False.
local pointer = redis.call('GET', ARGV[1] .. ARGV[2])
if not pointer then return false end
local listed = redis.call('HGETALL', ARGV[1] .. 'hw_tables')
for i = 1, #listed, 2 do
    local table = listed[i]
    if string.gsub(table, '_v%d+$', '') == ARGV[2]
        and (redis.call('HGET', ARGV[1] .. 'hw_places', table) or table) == pointer then
        local code = redis.call('HGET', ARGV[1] .. 'hw_code', cjson.decode(listed[i + 1]).runner) or ''
        return {pointer, table, listed[i + 1], code}
    end
end
return {pointer}
"""

OPEN = """#!lua
-- writes tables into the list of tables, and shows those whose names show nothing. ARGV: prefix, what to do.
-- Returns what is remembered of the code; or False: the list has changed, or a table's old rows are not all gone yet.
local prefix, given = ARGV[1], cmsgpack.unpack(ARGV[2])
local tables, codes = prefix .. 'hw_tables', prefix .. 'hw_code'
local function place(table) return redis.call('HGET', prefix .. 'hw_places', table) or table end
redis.call('HGET', codes, given.runner)
for _, one in ipairs(given.tables) do
    if redis.call('SISMEMBER', prefix .. 'hw_leaving', place(one.table)) == 1 then return false end
    if redis.call('HGET', tables, one.table) ~= one.before then return false end
    redis.call('GET', prefix .. one.name)
end
for _, one in ipairs(given.tables) do
    redis.call('HSET', tables, one.table, one.entry)
    redis.call('SETNX', prefix .. one.name, place(one.table))
end
redis.call('SREM', prefix .. 'hw_forgotten', given.runner)
if redis.call('EXISTS', prefix .. 'hw_positions:' .. given.runner) == 0 then
    redis.call('HSET', codes, given.runner, given.code)
else
    redis.call('HSETNX', codes, given.runner, given.code)
end
return redis.call('HGET', codes, given.runner)
"""

FORGET = """#!lua
-- a runner's tables leave the list, with its positions. ARGV: prefix, runner. Returns where rows are left.
local prefix, runner = ARGV[1], ARGV[2]
local listed, leaving = redis.call('HGETALL', prefix .. 'hw_tables'), {}
for i = 1, #listed, 2 do
    if cjson.decode(listed[i + 1]).runner == runner then leaving[#leaving + 1] = listed[i] end
end
for i, one in ipairs(leaving) do
    local place = redis.call('HGET', prefix .. 'hw_places', one) or one
    redis.call('HDEL', prefix .. 'hw_tables', one)
    redis.call('HDEL', prefix .. 'hw_last', one)
    redis.call('SADD', prefix .. 'hw_leaving', place)
    local shown = prefix .. string.gsub(one, '_v%d+$', '')
    if redis.call('GET', shown) == place then redis.call('DEL', shown) end
    leaving[i] = place
end
redis.call('DEL', prefix .. 'hw_positions:' .. runner, prefix .. 'hw_turn:' .. runner)
redis.call('HDEL', prefix .. 'hw_code', runner)
redis.call('SADD', prefix .. 'hw_forgotten', runner)
return leaving
"""

SWEEP = """#!lua
-- removes some rows of a table that has left the list. ARGV: prefix, its place, how many. Returns how many were there.
local name = ARGV[1] .. ARGV[2]
if redis.call('SISMEMBER', ARGV[1] .. 'hw_leaving', ARGV[2]) == 0 then return 0 end
local endings = redis.call('ZRANGE', name, 0, ARGV[3] - 1)
for _, ending in ipairs(endings) do redis.call('UNLINK', name .. ':' .. ending) end
if #endings > 0 then
    redis.call('ZREM', name, unpack(endings))
else
    redis.call('SREM', ARGV[1] .. 'hw_leaving', ARGV[2])
end
return #endings
"""

END_TURN = """#!lua
-- ARGV: prefix, the key of the turn, whose it is.
if redis.call('GET', ARGV[2]) == ARGV[3] then redis.call('DEL', ARGV[2]) end
"""
