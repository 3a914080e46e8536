//! Modules that a zone's records require: what they share, what they cannot, and what happens when they change.

use hickory_proto::op::ResponseCode;

use crate::support::process::{Perigee, Question, rcode};

const HEAD: &str = "@ 60 IN SOA ns hostmaster 1 3600 900 604800 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.53\n";

const CONFIG: &str = "\
[lua]
exec-limit = 2000

[[zone]]
name = \"example.net\"
lua-dir = \"lua/example.net\"

[[zone]]
name = \"example.org\"
lua-dir = \"lua/example.org\"
";

/// The modules of `example.net`.
const MODULES: &[(&str, &str)] = &[
    (
        "lua/example.net/greet.lua",
        "local M = {}\nfunction M.hello() return 'hello ' .. qname:toString() end\nreturn M\n",
    ),
    (
        "lua/example.net/geo/sites.lua",
        "local greet = require('greet')\nleaked = 'out'\nreturn { list = {'192.0.2.1'}, hello = greet.hello, seen = tostring(mine) }\n",
    ),
    ("lua/example.net/circle.lua", "return require('round')\n"),
    ("lua/example.net/round.lua", "return require('circle')\n"),
    ("lua/example.net/self.lua", "return require('self')\n"),
    ("lua/example.net/fails.lua", "local nothing\n\nreturn nothing.here\n"),
    ("lua/example.net/late.lua", "return { fail = function()\n  error('broken')\nend }\n"),
    ("lua/example.net/nothing.lua", "local x = 1\n"),
    ("lua/example.net/loops.lua", "while true do end\n"),
    (
        "lua/example.net/knot.lua",
        "local a, b = {}, {}\na.b, b.a, a[b] = b, a, a\nreturn setmetatable(a, {__index = b})\n",
    ),
    ("lua/example.net/count.lua", "local n = 0\nreturn { next = function() n = n + 1 return n end }\n"),
    ("lua/example.net/own.lua", "x = 'own'\n_G.y = 'too'\nreturn _G\n"),
    ("lua/example.net/taken.lua", "return { tostring(qname), where = qname, list = {zone} }\n"),
    ("lua/example.net/text.lua", "return 'just text'\n"),
    ("lua/example.org/theirs.lua", "return 'of example.org'\n"),
];

const ZONE: &str = "\
hello    60 IN LUA TXT \"require('greet').hello()\"
nested   60 IN LUA A   \"require('geo.sites').list\"
through  60 IN LUA TXT \";mine = 'mine' local sites = require('geo.sites') return sites.hello() .. ' ' .. sites.seen .. tostring(leaked)\"
same     60 IN LUA TXT \"tostring(require('greet') == require('greet'))\"
text     60 IN LUA TXT \"require('text')\"
count    60 IN LUA TXT \";local count = require('count') count.next() return count.next()\"
knot     60 IN LUA TXT \"tostring(require('knot').b.a == require('knot'))\"
write    60 IN LUA TXT \"tostring(pcall(function() require('geo.sites').list[1] = 'x' end))\"
unknot   60 IN LUA TXT \"tostring(pcall(function() require('knot').b.a = 'x' end))\"
own-g    60 IN LUA TXT \";local own = require('own') return own.x .. own.y .. tostring(x) .. tostring(_G.y) .. tostring(own == _G)\"
taken    60 IN LUA TXT \";qname, zone = _G, {_G} local taken = require('taken') free = 'free' return taken[1] .. tostring(qname == _G) .. free\"
absent   60 IN LUA TXT \"require('absent')\"
escape   60 IN LUA TXT \"require('../example.org/theirs')\"
other    60 IN LUA TXT \"require('theirs')\"
circle   60 IN LUA TXT \"require('circle')\"
self     60 IN LUA TXT \"require('self')\"
fails    60 IN LUA TXT \"require('fails')\"
late     60 IN LUA TXT \"require('late').fail()\"
nothing  60 IN LUA TXT \"require('nothing')\"
loops    60 IN LUA TXT \"tostring(pcall(require, 'loops'))\"
";

fn start() -> Perigee {
    let zone = format!("{HEAD}{ZONE}");
    let other = format!("{HEAD}own 60 IN LUA TXT \"require('theirs')\"\nhello 60 IN LUA TXT \"require('greet')\"\n");
    let mut files = MODULES.to_vec();
    files.extend([("perigee.toml", CONFIG), ("zones/example.net.zone", &zone), ("zones/example.org.zone", &other)]);
    Perigee::start(&files)
}

#[test]
fn records_require_the_modules_of_their_zone() {
    let perigee = start();
    let cases = [
        ("hello.example.net", "hello hello.example.net."),
        ("through.example.net", "hello through.example.net. nilnil"),
        ("same.example.net", "true"),
        ("text.example.net", "just text"),
        ("knot.example.net", "true"),
        ("write.example.net", "false"),
        ("unknot.example.net", "false"),
        ("own-g.example.net", "owntoonilnilfalse"),
        ("taken.example.net", "taken.example.net.truefree"),
        ("own.example.org", "of example.org"),
    ];
    // Twice: what a run leaves behind is not for the next one.
    for (name, text) in
        cases.into_iter().chain([("count.example.net", "2")]).chain(cases).chain([("count.example.net", "2")])
    {
        assert_eq!(perigee.answers(&Question::txt(name)), [text], "{name}");
    }
    assert_eq!(perigee.answers(&Question::a("nested.example.net")), ["192.0.2.1"]);
}

#[test]
fn what_cannot_be_required_fails_its_record_and_the_log_says_why() {
    let mut perigee = start();
    let cases = [
        ("absent.example.net", "`require` got `absent`, which is no module: there are `circle`, `count`, `fails`,"),
        ("escape.example.net", "`require` got `../example.org/theirs`, which is no module"),
        ("other.example.net", "`require` got `theirs`, which is no module"),
        ("hello.example.org", "`require` got `greet`, which is no module: there are `theirs`"),
        ("circle.example.net", "`require` got `circle`, which is being loaded, from `round`: modules cannot require"),
        ("self.example.net", "`require` got `self`, which is being loaded, from `self`"),
        ("fails.example.net", "lua/example.net/fails.lua:3: attempt to index nil with 'here'"),
        ("late.example.net", "lua/example.net/late.lua:2: broken"),
        ("nothing.example.net", "`require` got `nothing`, which returned nothing; end the module with `return`"),
        ("loops.example.net", "all that `lua.exec-limit` allows"),
    ];
    for (name, message) in cases {
        assert_eq!(rcode(&perigee.ask(&Question::txt(name))), ResponseCode::ServFail, "{name}");
        let line = perigee.wait_for_log(&format!("qname={name}."));
        assert!(line.contains(message), "{line}");
        assert_eq!(perigee.answers(&Question::txt("text.example.net")), ["just text"], "after {name}");
    }
}

#[test]
fn a_module_that_changes_is_taken_up_and_a_broken_one_is_not() {
    let mut perigee = start();
    let text = Question::txt("text.example.net");
    perigee.edit("lua/example.net/text.lua", "return 'another text'\n");
    perigee.wait_for_answers(&text, &["another text"]);
    perigee.edit("lua/example.net/text.lua", "return 'broken'\nlocal x = = 1\n");
    let line = perigee.wait_for_log("the module does not compile");
    assert!(line.contains("lua/example.net/text.lua:2"), "{line}");
    assert_eq!(perigee.answers(&text), ["another text"]);
    perigee.edit("lua/example.net/text.lua", "return require('deep.new')\n");
    perigee.wait_for_log("zone=example.net.");
    // A directory that did not exist is seen as well.
    std::fs::create_dir(perigee.directory().join("lua/example.net/deep")).expect("made");
    perigee.edit("lua/example.net/deep/new.lua", "return 'from below'\n");
    perigee.wait_for_answers(&text, &["from below"]);
    perigee.remove("lua/example.net/deep/new.lua");
    let line = perigee.wait_for_log("which is no module");
    assert!(line.contains("deep.new"), "{line}");
}

#[test]
fn with_shared_state_modules_live_on_for_each_zone() {
    let config = format!("[server]\nworkers = 1\n[lua]\nshared-state = true\n{}", CONFIG.split_once("\n\n").unwrap().1);
    let count = "local n = 0\nreturn { next = function() n = n + 1 return n end }\n";
    let zone = format!("{HEAD}count 60 IN LUA TXT \"require('count').next()\"\n");
    let mut perigee = Perigee::start(&[
        ("perigee.toml", &*config),
        ("zones/example.net.zone", &zone),
        ("zones/example.org.zone", &zone),
        ("lua/example.net/count.lua", count),
        ("lua/example.org/count.lua", count),
    ]);
    let (net, org) = (Question::txt("count.example.net"), Question::txt("count.example.org"));
    for expected in ["1", "2", "3"] {
        assert_eq!((perigee.answers(&net), perigee.answers(&org)), (vec![expected.into()], vec![expected.into()]));
    }
    perigee.edit("lua/example.net/count.lua", &count.replace("n = 0", "n = 100"));
    perigee.wait_for_log("zone published");
    assert_eq!((perigee.answers(&net), perigee.answers(&org)), (vec!["101".into()], vec!["4".into()]));
}
