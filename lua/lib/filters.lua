--- Candidates through filters: who may answer, then who should, then how many do.
--
--   chain({
--     { '192.0.2.1',    country = {'kr', 'jp'}, weight = 2 },
--     { '198.51.100.1', continent = 'eu' },
--     { '203.0.113.1' },
--   }, up{ port = 443 }, geofence(), weighted(), first_n(1))
--
-- `chain` returns the texts of the candidates that are left: a result for a record. A candidate is a text, or a table
-- whose first field, or `value`, is the text that is answered. Its other fields are for the filters:
--
--   address    what is probed and located; the text itself if not given
--   up         how this one is checked: `{ port = 8443 }` or `{ url = '...' }`
--   country, continent, region, asn, networks   where its clients are: a code, or a list of any of which one will do;
--              all the fields that a candidate has must hold
--   location   where it is, as 'latitude longitude'; that of its address if not given
--   weight     its share, 1 if not given; 0 for none
--   priority   a number, 0 if not given; lower comes first
--   during     when it serves, as windows for `during`; `zone` is their time zone
--
-- A filter is a function from a list of candidates to a list of candidates, so one of your own fits in anywhere. None
-- of these fails on an empty list. Put `up` first: what another filter has left out is not probed until it is back.

-- A copy of each candidate: filters may write to it, and lists of constants may be read-only.
local function candidates_of(list)
  local candidates = {}
  for _, entry in ipairs(list) do
    local candidate = type(entry) == 'table' and table.clone(entry) or { entry }
    candidate.value = candidate.value or candidate[1] or candidate.address
    candidate.address = candidate.address or candidate.value
    if candidate.value then table.insert(candidates, candidate) end
  end
  return candidates
end

local function list_of(field)
  return type(field) == 'table' and field or { field }
end

-- The candidates for which `holds` is true.
local function only(list, holds)
  local kept = {}
  for _, candidate in ipairs(list) do
    if holds(candidate) then table.insert(kept, candidate) end
  end
  return kept
end

--- Hands candidates through filters, in their order, and returns the texts of those that are left.
function chain(candidates, ...)
  local list = candidates_of(candidates)
  for index, filter in ipairs({ ... }) do
    if type(filter) ~= 'function' then
      error('filter ' .. index .. ' of `chain` is a ' .. type(filter) .. '; a filter is called, as in `shuffled()`', 0)
    end
    list = filter(list)
  end
  local values = {}
  for _, candidate in ipairs(list) do table.insert(values, candidate.value) end
  return values
end

-- Whether one candidate passes its check; both builtins ask for it now and answer by what is known.
local function is_up(candidate, check)
  local options = table.clone(check)
  options.port, options.url, options.otherwise = nil, nil, nil
  options.selector, options.backupSelector = 'all', 'empty'
  if check.url then return #ifurlup(check.url, { candidate.address }, options) > 0 end
  if check.port then return #ifportup(check.port, { candidate.address }, options) > 0 end
  error('`up` needs `port` or `url`, or candidates that have `up = { port = ... }`', 0)
end

--- Keeps what is up: `up{ port = 443 }`, `up{ url = 'https://www.example.com/', stringmatch = 'ok' }`.
--
-- The other fields are options of `ifportup` and `ifurlup`. When nothing is up all is kept, as the check may be what is
-- broken; with `otherwise = 'none'` nothing is. `up()` goes by the candidates' own checks; those without one are up.
function up(check)
  local otherwise = check and check.otherwise
  return function(list)
    local kept = only(list, function(candidate)
      local own = candidate.up or check
      return not own or is_up(candidate, own)
    end)
    return (#kept > 0 or otherwise == 'none') and kept or list
  end
end

-- Whether a client is where a candidate's are; `nil` if the candidate does not say where that is.
local function is_for_client(candidate)
  local says
  local function all(field, holds)
    if field == nil or says == false then return end
    says = holds(list_of(field))
  end
  all(candidate.networks, netmask)
  all(candidate.continent, continent)
  all(candidate.country, country)
  all(candidate.region, region)
  all(candidate.asn, asnum)
  return says
end

--- Keeps the candidates whose clients are where this one is.
--
-- If there are none, it keeps those that say nothing of places; if there are none of these either, all, or nothing with
-- `geofence{ remove_no_match = true }`.
function geofence(options)
  return function(list)
    local for_client, for_all = {}, {}
    for _, candidate in ipairs(list) do
      local says = is_for_client(candidate)
      if says == nil then table.insert(for_all, candidate) end
      if says then table.insert(for_client, candidate) end
    end
    if #for_client > 0 then return for_client end
    if #for_all > 0 or options and options.remove_no_match then return for_all end
    return list
  end
end

--- Keeps the candidates that are nearest to the client: with `nearest{ within = 100 }` those up to 100 km farther, too.
--
-- What stands at one place is equally near, so that `weighted` or `sticky` can choose within a site. Candidates without
-- a known place go if there is one with; all are kept when the client has none.
function nearest(options)
  local within = options and options.within or 0
  return function(list)
    local distances, least = {}, math.huge
    for index, candidate in ipairs(list) do
      distances[index] = distance(candidate.location or candidate.address) or math.huge
      least = math.min(least, distances[index])
    end
    local index = 0
    return only(list, function()
      index = index + 1
      return distances[index] <= least + within
    end)
  end
end

--- Keeps the candidates with the lowest `priority` that there is.
function preferred()
  return function(list)
    local lowest = math.huge
    for _, candidate in ipairs(list) do lowest = math.min(lowest, candidate.priority or 0) end
    return only(list, function(candidate) return (candidate.priority or 0) <= lowest end)
  end
end

--- Keeps the candidates that serve at this time: those without `during`, and those with an open window.
function scheduled()
  return function(list)
    return only(list, function(candidate)
      return not candidate.during or during(candidate.during, candidate.zone)
    end)
  end
end

-- The candidates by a number for each, the highest first.
local function ordered(list, rank)
  local ranks, sorted = {}, table.clone(list)
  for _, candidate in ipairs(sorted) do ranks[candidate] = rank(candidate) end
  table.sort(sorted, function(a, b) return ranks[a] > ranks[b] end)
  return sorted
end

--- Puts the candidates in a random order.
function shuffled()
  return function(list)
    return ordered(list, function() return math.random() end)
  end
end

--- Puts the candidates in a random order in which each is first as often as its weight says.
--
-- Those of weight 0 go, unless all have it.
function weighted()
  return function(list)
    local kept = only(list, function(candidate) return (candidate.weight or 1) > 0 end)
    if #kept == 0 then return shuffled()(list) end
    -- Of the times until an event at a rate each, the shortest is the one of a rate in proportion to it.
    return ordered(kept, function(candidate) return math.log(1 - math.random()) / (candidate.weight or 1) end)
  end
end

--- Keeps the first so many.
function first_n(count)
  return function(list)
    return table.move(list, 1, math.min(count, #list), 1, {})
  end
end
