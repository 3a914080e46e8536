-- What every script finds beside the builtins: the parts of Lua's library that are written in Lua.
-- Loaded once into each VM, before its libraries are made read-only. Built into the binary.
--
-- `host` is what the sandbox hands over and scripts never see:
--   spend(reason)   ends the run; no pcall can keep it alive
--   coroutine()     counts a coroutine, and ends the run when there are too many
--   spent(error)    whether the run is at its end, `error` being one the VM gives when memory is short
--   now()           the query's time, in seconds since 1970-01-01 00:00 UTC
--   random(...)     math.random over the worker's random source
--   string_max, subject_max, pattern_max, table_max   bounds, in octets and entries
--   search_max      a bound on subject times pattern
local host = ...

-- Once the budget is spent an error caught here is raised again, so that it reaches the host.
local function pass(ok, problem, ...)
  if not ok and host.spent(problem) then error(problem, 0) end
  return ok, problem, ...
end

local catch, catch_with, resume = pcall, xpcall, coroutine.resume

function pcall(...) return pass(catch(...)) end

function xpcall(...) return pass(catch_with(...)) end

function coroutine.resume(...) return pass(resume(...)) end

for _, name in { "create", "wrap" } do
  local make = coroutine[name]
  coroutine[name] = function(...)
    host.coroutine()
    return make(...)
  end
end

-- Library functions written in C run to their end, so what they are given is bounded instead.
local repeat_text, text_length = string.rep, string.len

-- As in LuaJIT, a third argument stands between the repetitions.
function string.rep(text, count, between)
  local times = tonumber(count)
  local is_joined = times ~= nil and times >= 2 and between ~= nil
  if times and times > 0 and (text_length(text) + (is_joined and text_length(between) or 0)) * times > host.string_max then
    host.spend("a string longer than " .. host.string_max .. " octets")
  end
  if is_joined then return repeat_text(text .. between, times - 1) .. text end
  return repeat_text(text, count)
end

-- As in LuaJIT, `%s` takes any value, as `tostring` writes it; Luau takes strings and numbers alone.
local format_text = string.format

local function with_texts(pattern, values, count)
  local at = 0
  for kind in string.gmatch(pattern, "%%[-+ #0]*%d*%.?%d*(.)") do
    if kind ~= "%" then at = at + 1 end
    if kind == "s" and at <= count then values[at] = tostring(values[at]) end
  end
  return format_text(pattern, unpack(values, 1, count))
end

function string.format(pattern, ...)
  local values, count = { ... }, select("#", ...)
  for at = 1, count do
    local kind = type(values[at])
    if kind ~= "string" and kind ~= "number" then return with_texts(pattern, values, count) end
  end
  return format_text(pattern, ...)
end

for _, name in { "find", "match", "gmatch", "gsub", "split" } do
  local search = string[name]
  string[name] = function(subject, pattern, ...)
    if text_length(subject) > host.subject_max then
      host.spend("a search in more than " .. host.subject_max .. " octets")
    elseif pattern ~= nil and text_length(pattern) > host.pattern_max then
      host.spend("a pattern of more than " .. host.pattern_max .. " octets")
    elseif pattern ~= nil and text_length(subject) * text_length(pattern) > host.search_max then
      host.spend("a search of more than " .. host.search_max .. " octets of the subject times those of the pattern")
    end
    return search(subject, pattern, ...)
  end
end

local create = table.create

function table.create(count, ...)
  if (tonumber(count) or 0) > host.table_max then
    host.spend("a table of more than " .. host.table_max .. " entries")
  end
  return create(count, ...)
end

local move, sort = table.move, table.sort

function table.move(from, first, last, ...)
  if (tonumber(last) or 0) - (tonumber(first) or 0) >= host.table_max then
    host.spend("a move of more than " .. host.table_max .. " entries")
  end
  return move(from, first, last, ...)
end

-- Each comparison is a call that counts as a step: of long texts, even a few take long.
local function is_less(a, b) return a < b end

function table.sort(list, comes_before)
  if type(list) == "table" and rawlen(list) > host.table_max then
    host.spend("a sort of more than " .. host.table_max .. " entries")
  end
  if comes_before == nil then comes_before = is_less end
  return sort(list, comes_before)
end

-- Time is that of the query, so that one run sees one moment and a replay sees the same.
local time, date, difftime = os.time, os.date, os.difftime

os = {
  time = function(moment)
    if moment == nil then return host.now() end
    return time(moment)
  end,
  date = function(format, moment)
    if format ~= nil and text_length(format) > host.pattern_max then
      host.spend("a date format of more than " .. host.pattern_max .. " octets")
    end
    return date(format or "%c", moment or host.now())
  end,
  difftime = difftime,
}

math.random = host.random
math.randomseed = function() end -- the random source is the worker's own

-- LuaJIT's bit operations: arguments and results are signed 32-bit numbers.
local function signed(number)
  return number >= 0x80000000 and number - 0x100000000 or number
end

bit = {
  tobit = function(a) return signed(bit32.band(a)) end,
  tohex = function(a, digits)
    local width = math.min(math.abs(digits or 8), 8)
    local text = string.sub(string.format("%08x", bit32.band(a)), -width)
    return width == 0 and "" or (digits or 8) < 0 and string.upper(text) or text
  end,
  bswap = function(a) return signed(bit32.byteswap(a)) end,
}
for here, there in { bnot = "bnot", band = "band", bor = "bor", bxor = "bxor", rol = "lrotate", ror = "rrotate" } do
  local operate = bit32[there]
  bit[here] = function(...) return signed(operate(...)) end
end
-- LuaJIT takes the shift count modulo 32; bit32 shifts everything out.
for here, there in { lshift = "lshift", rshift = "rshift", arshift = "arshift" } do
  local operate = bit32[there]
  bit[here] = function(a, count) return signed(operate(a, bit32.band(count, 31))) end
end
