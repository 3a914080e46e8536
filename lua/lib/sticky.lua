--- One client, one answer, for as long as that answer is on the list.
--
-- `pickhashed` sends most clients elsewhere when the list changes. Here each client ranks all entries by a hash of
-- both (rendezvous hashing), so that when one goes, only its own clients move, and when it returns, they come back.
--
--   sticky(ifportup(443, {'192.0.2.1', '192.0.2.2'}, {selector = 'all'}))
--
-- list    texts: addresses, or anything else the record's type takes

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

function sticky(list)
  local client = bestwho:toString()
  local best, highest
  for _, entry in ipairs(list) do
    local score = rank(client .. ' ' .. entry)
    if not highest or score > highest then
      best, highest = entry, score
    end
  end
  return best and { best } or {}
end
