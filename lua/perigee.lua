---@meta
-- What a LUA record finds beside Lua's own library, for editors that read LuaLS annotations. Never run.
-- docs/lua.md is the manual.

---@type DNSName The name asked for, in the client's letter case; or the target of the CNAME that led here.
qname = nil
---@type DNSName The zone's apex.
zone = nil
---@type ComboAddress The sender: a resolver, as a rule.
who = nil
---@type Netmask|nil The client subnet, if the query carries one (RFC 7871).
ecswho = nil
---@type ComboAddress The client: the client subnet's address if there is one, or else the sender.
bestwho = nil
---@type ComboAddress The address the query came in on.
localwho = nil
---@type boolean Whether the query came over TCP.
tcp = nil
---@type boolean Whether the query has the DO bit.
dnssecOK = nil
---@type integer The payload size of the query's OPT record; -1 without one.
ednsPKTSize = nil
---@type Header The query's header.
dh = nil
---@type integer A number that stays as long as the zone's name.
zoneid = nil
---@type table<string, integer> Types and RCODEs by name, and the tables `place` and `loglevels`.
pdns = nil
---@type table Empty.
pdns_features = nil

--- Picks one value, each with the same chance.
---@generic T
---@param values T[] Strings, or whatever else a record can return.
---@return T
function pickrandom(values) end

--- Picks different values, in random order.
---@generic T
---@param n integer How many; all if there are fewer.
---@param values T[]
---@return T[]
function pickrandomsample(n, values) end

--- Picks one value with a chance in proportion to its weight.
---@generic T
---@param choices {[1]: integer, [2]: T}[] Weights are whole numbers above 0.
---@return T
function pickwrandom(choices) end

--- Picks the same value for the same client, as long as the list stays.
---@generic T
---@param values T[]
---@return T
function pickhashed(values) end

--- Picks the same value for the same client, in proportion to the weights.
---@generic T
---@param choices {[1]: integer, [2]: T}[]
---@return T
function pickwhashed(choices) end

--- Picks the same value for the same name, in proportion to the weights.
---@generic T
---@param choices {[1]: integer, [2]: T}[]
---@return T
function picknamehashed(choices) end

--- Picks the same value for the same client, and moves no more clients than it must when the list changes.
---@generic T
---@param choices {[1]: integer, [2]: T}[] Weights are numbers of points: hundreds rather than ones.
---@return T|string value An empty string when the list is empty.
function pickchashed(choices) end

--- Returns every value, those of lists in the list included.
---@param values (string|string[])[]
---@return string[]
function all(values) end

--- Picks at random one value of the first rule with a network that holds the client.
---@generic T
---@param rules {[1]: string[], [2]: T[]}[] Networks and values.
---@return T|string value Empty when no rule fits, which is an error for most types.
function view(rules) end

--- Whether the client is in one of the networks.
---@param networks string[]
---@return boolean
function netmask(networks) end

---@class Denial An answer without records.

--- NODATA for this type, even where static records stand beside.
---@param ttl? integer That of the SOA in the answer.
---@return Denial
function nodata(ttl) end

--- NXDOMAIN, whatever else the name holds.
---@param ttl? integer That of the SOA in the answer.
---@return Denial
function nxdomain(ttl) end

--- REFUSED.
---@return Denial
function refused() end

--- SERVFAIL.
---@return Denial
function servfail() end

--- Returns the value if it has any text, and otherwise the last one it had in this record.
---@param value string|string[]|fun(): any
---@param name? string Tells several calls in one record apart.
---@return string[]
function lastgood(value, name) end

--- What `geoiplookup` can be asked for.
---@enum GeoIPQueryAttribute
GeoIPQueryAttribute = { ASn = 0, City = 1, Continent = 2, Country = 3, Country2 = 4, Name = 5, Region = 6, Location = 7 }

--- Whether the client is in one of these countries.
---@param codes string|string[] Two letters each; `unknown` for clients that no database knows.
---@return boolean
function country(codes) end

--- Whether the client is on one of these continents.
---@param codes string|string[]
---@return boolean
function continent(codes) end

--- Whether the client is in one of these regions, whatever the country.
---@param codes string|string[] By ISO 3166-2, without the country.
---@return boolean
function region(codes) end

--- Whether the client is in one of these autonomous systems.
---@param numbers integer|string|(integer|string)[] Without `AS`.
---@return boolean
function asnum(numbers) end

--- The client's country.
---@return string code In lower case; `--` if it is unknown.
function countryCode() end

--- The client's continent.
---@return string code In lower case; `--` if it is unknown.
function continentCode() end

--- The client's region.
---@return string code In lower case; `--` if it is unknown.
function regionCode() end

--- Looks an address up in the databases.
---@param address string An address or a network.
---@param attribute GeoIPQueryAttribute|integer
---@return string value In lower case; `unknown` if it is not found.
function geoiplookup(address, attribute) end

---@class ClosestOptions
---@field unknown? string What becomes of clients without a place: `random`, `first`, or where they are: `LATITUDE LONGITUDE`.

--- Picks the address that is closest to the client.
---@param addresses string[]
---@param options? ClosestOptions
---@return string
function pickclosest(addresses, options) end

--- Picks the closest of the addresses that the name asked for begins with.
---@param options? ClosestOptions
---@return string
function closestMagic(options) end

--- The client's latitude and longitude.
---@return string
function latlon() end

--- The client's place as the text of a LOC record.
---@return string
function latlonloc() end

--- The latitude and longitude of the address that the name asked for begins with, its last number first.
---@return string
function latlonMagic() end

--- Returns the value of the most specific network that holds the client, and the network.
---@param networks string|table<string, any> A table of networks, or the name of a map file.
---@param address? string|ComboAddress What is looked up in place of the client.
---@return any value `nil` when no network does; of a map file a string, or a table of them by column.
---@return string|nil network
function map(networks, address) end

---@class Time
---@field unix integer Seconds since 1970 in UTC.
---@field year integer
---@field month integer
---@field day integer
---@field hour integer
---@field minute integer
---@field second integer
---@field weekday integer 1 is Monday.
---@field yearday integer
---@field offset integer Seconds east of UTC.
---@field zone string

--- Returns the time of the query.
---@param zone? string A name of the tz database; UTC if not given.
---@return Time
function now(zone) end

--- Whether a window such as `Mon-Fri 09:00-17:30` is open, or one of a list.
---@param windows string|string[]
---@param zone? string A name of the tz database; UTC if not given.
---@return boolean
function during(windows, zone) end

--- Returns what a module of the zone returned.
---@param name string `geo.helpers` for the file `geo/helpers.lua` in the zone's `lua-dir`.
---@return any
function require(name) end

--- Returns how many kilometres it is from the client to a place.
---@param place string An address, or latitude and longitude.
---@return number|nil
function distance(place) end

---@class CheckOptions
---@field selector? 'random'|'all'|'hashed'|'pickclosest'|'empty' How targets that are up are chosen; `random` if not given.
---@field backupSelector? 'random'|'all'|'hashed'|'pickclosest'|'empty' How targets are chosen when none is up.
---@field timeout? number Seconds for the whole probe; 2 if not given.
---@field interval? number Seconds between probes; `health.interval` if not given.
---@field minimumFailures? integer Failures in a row that bring a target down; 1 if not given.
---@field failOnIncompleteCheck? boolean SERVFAIL while no target has been probed.
---@field unknown? string For `pickclosest`: what becomes of clients without a place.
---@field source? string The local address to probe from.

---@class UrlOptions: CheckOptions
---@field stringmatch? string Text the body must contain.
---@field httpcode? integer The one status that passes; 200 if not given.
---@field useragent? string
---@field byteslimit? integer Octets of the body to read; 0 for the usual bound.
---@field headers? table<string, string>
---@field redirects? integer|boolean How many redirects are followed; 10 if not given.
---@field verify? boolean Whether the server's certificate must be valid; it need not if not given.

--- Returns the addresses of targets on which a TCP port can be connected to.
---@param port integer
---@param targets string[]|string[][] Addresses, or groups of them in the order of preference.
---@param options? CheckOptions
---@return string[]
function ifportup(port, targets, options) end

--- Returns the addresses of targets that answer an HTTP or HTTPS request for a URL.
---@param url string Its host is what the target is asked for; the connection goes to the target's address.
---@param targets string[]|string[][]
---@param options? UrlOptions
---@return string[]
function ifurlup(url, targets, options) end

--- Returns the addresses whose own URLs answer an HTTP or HTTPS request.
---@param groups table<string, string>[] Tables from addresses to URLs, in the order of preference.
---@param options? UrlOptions
---@return string[]
function ifurlextup(groups, options) end

--- Picks a target that answers a request for a URL, by the weight its body begins with.
---@param url string
---@param targets string[] Addresses.
---@param options? UrlOptions `selector` is `hashed` if not given; `random` draws by the weights.
---@return string|string[] # One address, or a list if there is not just one.
function pickselfweighted(url, targets, options) end

--- Makes a name.
---@param text string
---@return DNSName
function newDN(text) end

--- Makes an address.
---@param text string With or without a port.
---@return ComboAddress
function newCA(text) end

--- Makes a network.
---@param text string `address/bits`, or an address for a network of its own.
---@return Netmask
function newNetmask(text) end

--- Makes an address of its octets.
---@param octets string 4 or 16 of them; of any other number it is 0.0.0.0.
---@param port? integer
---@return ComboAddress
function newCAFromRaw(octets, port) end

--- Makes an empty set of addresses.
---@return ComboAddressSet
function newCAS() end

--- Makes a group of networks.
---@param list? string[] Networks; one with `!` in front is kept out.
---@return NetmaskGroup
function newNMG(list) end

--- Makes a type.
---@param text string `A`, `TYPE1` or `#1`.
---@return QType
function newQType(text) end

--- Makes a record as databases have it. What it holds is not checked.
---@param name DNSName
---@param type string
---@param ttl integer
---@param content string
---@param zoneid? integer
---@param auth? boolean
---@return DNSResourceRecord
function newDRR(name, type, ttl, content, zoneid, auth) end

--- Makes a record as messages have it.
---@param name DNSName
---@param type string
---@param ttl integer
---@param content string
---@param place integer One of `pdns.place`.
---@return DNSRecord
function newDR(name, type, ttl, content, place) end

--- Reads the IPv4 address in the labels that a wildcard stands for.
---@param template? string The one form to read, with `%1%` to `%6%` for the address.
---@return string address 0.0.0.0 if there is none.
function createForward(template) end

--- Reads the IPv6 address in the labels that a wildcard stands for.
---@return string address `::` if there is none.
function createForward6() end

--- Names the IPv4 address that `qname` spells from the back.
---@param format string With `%1%` to `%6%` for the address.
---@param exceptions? table<string, string> Names by address.
---@return string
function createReverse(format, exceptions) end

--- Names the IPv6 address that `qname` spells from the back.
---@param format string With `%1%` to `%41%` for the address.
---@param exceptions? table<string, string> Names by address.
---@return string
function createReverse6(format, exceptions) end

--- Returns the address if it is in the group, or else the fallback.
---@param address string
---@param group NetmaskGroup
---@param fallback? string 0.0.0.0 or `::` if not given; empty for no record.
---@return string[]
function filterForward(address, group, fallback) end

--- Writes a line to the log.
---@param text string
---@param level? integer One of `pdns.loglevels`; a warning if not given.
function pdnslog(text, level) end

--- Draws a whole number.
---@param n? integer It is below this, or of 32 bits.
---@return integer
function pdnsrandom(n) end

--- Does nothing.
function report(...) end

--- Looks a name up by the resolvers. The run ends and begins anew when the answer is there.
---@param name string Absolute, with or without a final dot.
---@param type integer The number of a type, such as 1 for A.
---@return DNSResourceRecord[] records
---@return string? why Nothing if the look-up worked; else "nxdomain", "servfail", "refused", "timeout", "unreachable", "overload" or "failed".
function resolve(name, type) end

--- The records of a type that this server holds at a name, as text.
---@param name string Absolute, with or without a final dot.
---@param type integer The number of a type; 255 for all.
---@return string[]
function dblookup(name, type) end

--- Runs the code of the LUA records at a name in the globals of this run.
---@param name string Relative to the zone.
function include(name) end

---@class DNSResourceRecord
---@field toString fun(self): string The content.
---@field content fun(self): string
---@field qname fun(self): DNSName
---@field wildcardName fun(self): DNSName
---@field ttl fun(self): integer
---@field signttl fun(self): integer
---@field qtype fun(self): integer
---@field qclass fun(self): integer
---@field domainId fun(self): integer
---@field lastModified fun(self): integer
---@field scopeMask fun(self): integer
---@field auth fun(self): boolean
---@field disabled fun(self): boolean

---@class DNSRecord
---@field name DNSName
---@field type integer
---@field ttl integer
---@field place integer One of `pdns.place`.
---@field getContent fun(self): string
---@field getCA fun(self): ComboAddress? With port 53; nothing for what is no address.
---@field changeContent fun(self, text: string)

---@class QType
---@field getCode fun(self): integer
---@field getName fun(self): string

---@class Header
---@field getID fun(self): integer
---@field getAA fun(self): boolean
---@field getTC fun(self): boolean
---@field getRD fun(self): boolean
---@field getRA fun(self): boolean
---@field getAD fun(self): boolean
---@field getCD fun(self): boolean
---@field getOPCODE fun(self): integer
---@field getRCODE fun(self): integer
---@field getQDCOUNT fun(self): integer
---@field getANCOUNT fun(self): integer
---@field getNSCOUNT fun(self): integer
---@field getARCOUNT fun(self): integer

---@class DNSName
---@field toString fun(self): string With a final dot.
---@field toStringNoDot fun(self): string
---@field countLabels fun(self): integer
---@field wireLength fun(self): integer
---@field wirelength fun(self): integer
---@field getRawLabels fun(self): string[] From the left.
---@field isPartOf fun(self, other: DNSName): boolean Whether it is the other or below it.
---@field makeRelative fun(self, other: DNSName): DNSName Without the labels of the other.
---@field chopOff fun(self): boolean Takes its first label off; false for the root.
---@field equal fun(self, text: string): boolean
---@field canonCompare fun(self, other: DNSName): boolean Whether it comes before the other (RFC 4034 section 6.1).

---@class ComboAddress
---@field toString fun(self): string
---@field toStringWithPort fun(self): string
---@field toStringNoInterface fun(self): string
---@field toStringReversed fun(self): string As reverse names have it.
---@field getPort fun(self): integer
---@field isIPv4 fun(self): boolean
---@field isIPv6 fun(self): boolean
---@field isMappedIPv4 fun(self): boolean
---@field mapToIPv4 fun(self): ComboAddress
---@field truncate fun(self, bits: integer) Clears all bits behind the first so many.
---@field getRaw fun(self): string
---@field equal fun(self, other: ComboAddress): boolean Ports do not count.

---@class Netmask
---@field toString fun(self): string
---@field getBits fun(self): integer
---@field getNetwork fun(self): ComboAddress
---@field getMaskedNetwork fun(self): ComboAddress
---@field isIPv4 fun(self): boolean
---@field isIPv6 fun(self): boolean
---@field isIpv4 fun(self): boolean
---@field isIpv6 fun(self): boolean
---@field empty fun(self): boolean
---@field match fun(self, address: string): boolean

---@class ComboAddressSet
---@field add fun(self, address: string|ComboAddress|string[])
---@field check fun(self, address: ComboAddress): boolean

---@class NetmaskGroup
---@field addMask fun(self, network: string) With `!` in front, to keep it out.
---@field addMasks fun(self, networks: string[])
---@field match fun(self, address: ComboAddress): boolean The most specific network decides.
