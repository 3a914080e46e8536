--- One client, one answer, for as long as that answer is on the list.
--
-- `pickhashed` sends most clients elsewhere when the list changes. Here each client ranks all entries by a hash of
-- both (rendezvous hashing), so that when one goes, only its own clients move, and when it returns, they come back.
--
--   sticky(ifportup(443, {'192.0.2.1', '192.0.2.2'}, {selector = 'all'}))
--
-- list    texts: addresses, or anything else the record's type takes; or candidates of `chain`, whose weights count
--
-- As a filter of `chain` it is `sticky()`, which keeps one candidate, or `sticky(n)`, which keeps n: the client's first
-- choice, and those it would go to next.

-- The product of two 32-bit numbers, modulo 2^32. It would not fit a double, so one factor is taken in halves.
local function multiply(a, b)
  local low = bit32.band(a, 0xffff) * b
  local high = bit32.band(bit32.rshift(a, 16) * b, 0xffff)
  return bit32.band(low + high * 0x10000, 0xffffffff)
end

-- FNV-1a over 32 bits, then the last steps of MurmurHash3: neighbours like 192.0.2.1 and 192.0.2.2 rank apart.
local function rank(text)
  local hash = 0x811c9dc5
  for index = 1, #text do
    hash = multiply(bit32.bxor(hash, string.byte(text, index)), 0x01000193)
  end
  hash = multiply(bit32.bxor(hash, bit32.rshift(hash, 16)), 0x85ebca6b)
  hash = multiply(bit32.bxor(hash, bit32.rshift(hash, 13)), 0xc2b2ae35)
  return bit32.bxor(hash, bit32.rshift(hash, 16))
end

-- A candidate of twice the weight comes out highest twice as often (weighted rendezvous hashing).
local function score(client, entry)
  local number = rank(client .. ' ' .. (type(entry) == 'table' and entry.value or entry))
  local weight = type(entry) == 'table' and entry.weight or 1
  if weight <= 0 then return -math.huge end
  return math.log((number + 1) / 0x100000001) / weight
end

local function best(list, count)
  local client, scores, sorted = bestwho:toString(), {}, {}
  for index, entry in ipairs(list) do
    scores[index] = score(client, entry)
    table.insert(sorted, index)
  end
  table.sort(sorted, function(a, b) return scores[a] > scores[b] or scores[a] == scores[b] and a < b end)
  local kept = {}
  for place = 1, math.min(count, #sorted) do kept[place] = list[sorted[place]] end
  return kept
end

function sticky(list)
  if type(list) == 'table' then return best(list, 1) end
  return function(candidates) return best(candidates, list or 1) end
end
