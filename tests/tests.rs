//! Tests from outside: a running server asked by the wire, or text that goes in and comes out.

mod support; // a server on a free port, questions to it, fake backends that can be told to fail

mod abuse; // limits over several workers, rules that end connections, and their manual
mod adversary; // scripts of a stranger: what each ends in, and what it leaves behind
mod architecture; // who may import whom, what the core never names, maps that are true
mod bad_input; // targets that fail in every way there is, and come back
mod cases; // the files in tests/cases: zone in, question, answer in presentation format
mod command_line; // what `perigee check` tells, and exit codes
mod config; // what files and the environment may say, and the manual that tells it
mod differential; // what NSD, Knot and BIND agree on, asked about random zones
mod edns; // what the cases cannot say of EDNS
mod events; // flips told in the log and to a webhook, which fails and recovers
mod failover; // health to answers: right from the first one, following a fall and a return
mod filters; // the chain of filters in lua/lib: who is kept, and how often
mod first_answers; // after a start and a reload nobody is sent to a target that is down
mod founding; // the story perigee was founded on
mod fuzzed; // what holds for any octets whatever: the targets of fuzz/
mod geo; // databases of places: what is read of them, and files that change
mod health; // fake backends fail and recover: up, down, up
mod http; // probes over HTTP and TLS: who is connected to, what passes, and the words for what does not
mod interop; // what dig, kdig, drill and dnspython make of our responses
mod lookups; // names that scripts look up, and the queries that wait for them
mod lua_definitions; // the list for editors is what a type checker reads, and the examples keep to it
mod lua_manual; // the manual of LUA records, its examples, and the list for editors
mod lua_types; // what a script returns, for every type there is
mod maps; // map files under a running server: looked up, swapped whole, kept when they break
mod modules; // what the records of a zone require
mod overload; // the dearest scripts are shed first, and everything else is answered
mod overrides; // what operators say of targets, by a file and by the command
mod powerdns; // LUA records that PowerDNS answers in the same way
mod probes; // probes of each kind but HTTP, and servers that behave or do not
mod query; // what holds for every message whatever
mod query_log; // one line for each outcome, whatever clients send
mod readme; // the console examples of README.md and docs/, run
mod reload; // zones swapped under load: wholly old or wholly new, none lost
mod restart; // states and overrides over stops and kills at any moment
mod rfc; // docs/rfc.md: each rule of each RFC has its case, and each case its rule
mod running; // the process: rights, sockets, interfaces, signals, and the service manager
mod samples; // zones/ and lua/ do what their headers promise
mod sandbox; // scripts that would take everything
mod scenarios; // stories of targets that rise, fall, wobble and come back
mod source; // zone files that come, change, break and go
mod transport; // UDP, TCP pipelining, slow clients, octet noise
mod waiting; // requests whose answer lacks something, and the others meanwhile
mod wobbling; // answers live no longer than the state of their targets is sure to
mod zonefile; // zone files good and bad, and the messages they earn
