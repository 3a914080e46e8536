//! The sources as rules about them see them: which paths each file names, at which line.
//!
//! Read as tokens, so that comments and strings do not count and what stands inside a macro's parentheses does. What is
//! there under `cfg(test)` alone is left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The files under `src/`, in the order of their paths.
pub(crate) struct Sources {
    pub(crate) files: Vec<Source>,
    modules: BTreeSet<String>,
}

/// One file.
pub(crate) struct Source {
    /// Its path from the top of the repository.
    pub(crate) path: String,
    /// The module it holds, as in `dns::wire`; empty for `lib.rs`.
    pub(crate) module: String,
    /// The text as it stands.
    pub(crate) text: String,
    /// What it names, in the order of its lines.
    pub(crate) mentions: Vec<Mention>,
}

/// A path that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// Where.
    pub(crate) line: usize,
    /// In full: `crate::dns::Name`, `std::time::Instant::now`, `unsafe`.
    pub(crate) path: String,
}

impl Sources {
    /// Reads `src/` below a directory.
    pub(crate) fn read(top: &Path) -> Self {
        let texts = files_below(top, "src", "rs");
        Self::of(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    /// Takes texts by their paths.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut files: Vec<(Source, Vec<Named>)> = Vec::new();
        let mut test_files = BTreeSet::new();
        for (path, text) in texts {
            let module = module_of(path);
            let tokens = text.parse().unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
            let mut scan = Scan::default();
            scan.block(tokens);
            test_files.extend(scan.test_modules.iter().map(|child| join(&module, child)));
            files.push((Source { path: path.into(), module, text: text.into(), mentions: vec![] }, scan.named));
        }
        let is_in = |module: &str, parent: &str| {
            module.strip_prefix(parent).is_some_and(|below| below.is_empty() || below.starts_with("::"))
        };
        files.retain(|(file, _)| !test_files.iter().any(|tests| is_in(&file.module, tests)));
        let modules: BTreeSet<String> = files.iter().map(|(file, _)| file.module.clone()).collect();
        let resolve = |(file, named): (Source, Vec<Named>)| {
            let mentions = resolve(&file.module, &modules, named);
            Source { mentions, ..file }
        };
        Self { files: files.into_iter().map(resolve).collect(), modules }
    }

    /// The module that a path through this crate is about: `dns::wire` for `crate::dns::wire::Limits`.
    pub(crate) fn module_at<'p>(&self, path: &'p str) -> Option<&'p str> {
        let inside = path.strip_prefix("crate")?;
        let mut inside = inside.strip_prefix("::").unwrap_or(inside);
        while !self.modules.contains(inside) && !inside.is_empty() {
            inside = inside.rsplit_once("::").map_or("", |(parent, _)| parent);
        }
        Some(inside)
    }

    /// The modules that stand right below another.
    pub(crate) fn children<'s>(&'s self, module: &'s str) -> impl Iterator<Item = &'s str> {
        self.modules.iter().filter_map(move |other| match other.rsplit_once("::") {
            Some((parent, name)) => (parent == module).then_some(name),
            None => (module.is_empty() && !other.is_empty() && other != "main").then_some(other),
        })
    }
}

/// The files below a directory with one extension, by their paths from the top; build output is left out.
pub(crate) fn files_below(top: &Path, directory: &str, extension: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(top.join(directory)) else { return found };
    for entry in entries {
        let entry = entry.expect("a directory can be listed");
        let name = entry.file_name().into_string().expect("our names are UTF-8");
        let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
        if entry.path().is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files_below(top, &path, extension));
            }
        } else if entry.path().extension().is_some_and(|own| own == extension) {
            found.insert(path, fs::read_to_string(entry.path()).expect("a source can be read"));
        }
    }
    found
}

/// The module that a file holds.
fn module_of(path: &str) -> String {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    if inside == "lib" { String::new() } else { inside.replace('/', "::") }
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.into() } else { format!("{module}::{name}") }
}

/// A path as it is written.
struct Named {
    line: usize,
    segments: Vec<String>,
    /// The name that `use` gives it here.
    alias: Option<String>,
}

/// What one file names, not yet in full.
#[derive(Default)]
struct Scan {
    named: Vec<Named>,
    /// Children that are there for tests alone.
    test_modules: Vec<String>,
}

impl Scan {
    fn block(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match &tokens[at] {
                TokenTree::Group(group) if is_punct(&tokens, at.wrapping_sub(1), '#') && is_test_only(group) => {
                    self.skip_item(&tokens, at + 1)
                }
                TokenTree::Group(group) => {
                    self.block(group.stream());
                    at + 1
                }
                // Behind a `<` it tells which lifetimes a type captures.
                TokenTree::Ident(ident) if ident == "use" && !is_punct(&tokens, at + 1, '<') => {
                    self.import(&tokens, at + 1, &[])
                }
                TokenTree::Ident(_) => {
                    let (segments, end) = path(&tokens, at);
                    self.named.push(Named { line: line(&tokens[at]), segments, alias: None });
                    end
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            };
        }
    }

    /// Passes over an item, up to its block or its semicolon.
    fn skip_item(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        let mut is_module = false;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return at,
                TokenTree::Punct(punct) if punct.as_char() == ';' => return at,
                TokenTree::Ident(ident) if is_module && is_punct(tokens, at, ';') => {
                    self.test_modules.push(ident.to_string());
                }
                TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => {}
            }
            is_module = matches!(token, TokenTree::Ident(ident) if ident == "mod");
        }
        at
    }

    /// Reads what one `use` names, or one entry in its braces; returns where it ends.
    fn import(&mut self, tokens: &[TokenTree], at: usize, prefix: &[String]) -> usize {
        let Some(first) = tokens.get(at) else { return at };
        let line = line(first);
        let (own, mut end) = path(tokens, at);
        let segments = [prefix, &own].concat();
        if let Some(TokenTree::Group(group)) = tokens.get(end) {
            let entries: Vec<TokenTree> = group.stream().into_iter().collect();
            for entry in entries.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')) {
                self.import(entry, 0, &segments);
            }
            return end + 1;
        }
        let mut alias = segments.iter().rev().find(|segment| *segment != "self").cloned();
        if let (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(name))) = (tokens.get(end), tokens.get(end + 1))
            && word == "as"
        {
            alias = Some(name.to_string());
            end += 2;
        }
        self.named.push(Named { line, segments, alias });
        end
    }
}

/// The segments of a path that starts here, and where it ends: behind its last name, `*` or `::`.
fn path(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let is_colons = |at: usize| is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':');
    let mut segments = Vec::new();
    if is_colons(at) {
        at += 2;
    }
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => segments.push(ident.to_string()),
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => segments.push("*".into()),
            _ => return (segments, at),
        }
        at += 1;
        if !is_colons(at) {
            return (segments, at);
        }
        at += 2;
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, sign: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

fn is_test_only(attribute: &proc_macro2::Group) -> bool {
    let text: String = attribute.stream().into_iter().map(|token| token.to_string()).collect();
    text == "cfg(test)"
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

/// Tells in full what a file names, by what its `use` lines say and by where its module stands.
fn resolve(module: &str, modules: &BTreeSet<String>, named: Vec<Named>) -> Vec<Mention> {
    let mut aliases = HashMap::new();
    for Named { segments, alias, .. } in &named {
        if let Some(alias) = alias {
            aliases.insert(alias.clone(), segments.clone());
        }
    }
    let mentions = named.into_iter().filter_map(|Named { line, mut segments, alias }| {
        if segments.len() == 1 && segments[0] == "unsafe" {
            return Some(Mention { line, path: segments.remove(0) });
        }
        let is_import = alias.is_some();
        if !is_import && let Some(full) = aliases.get(segments.first()?) {
            segments.splice(0..1, full.iter().cloned());
        } else if !is_import && segments.len() == 1 {
            return None; // a variable, a method, a keyword: nothing that comes from elsewhere
        }
        absolute(module, modules, &segments).map(|path| Mention { line, path })
    });
    let mut mentions: Vec<Mention> = mentions.collect();
    mentions.sort_by_key(|mention| mention.line);
    mentions
}

/// A path from the top of a crate; `None` if it starts at something of the file's own.
fn absolute(module: &str, modules: &BTreeSet<String>, segments: &[String]) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut rest = segments.iter().map(String::as_str).filter(|segment| *segment != "*").peekable();
    match *rest.peek()? {
        "crate" | "perigee" => {
            base.clear();
            rest.next();
        }
        "self" | "super" => {
            while let Some(step) = rest.next_if(|step| matches!(*step, "self" | "super")) {
                if step == "super" {
                    base.pop();
                }
            }
        }
        "Self" => return None,
        child if modules.contains(&join(module, child)) => {}
        head if head.starts_with(char::is_lowercase) => {
            return Some(rest.filter(|segment| *segment != "self").collect::<Vec<_>>().join("::"));
        }
        _ => return None,
    }
    let path = ["crate"].into_iter().chain(base).chain(rest.filter(|segment| *segment != "self"));
    Some(path.collect::<Vec<_>>().join("::"))
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let rows: &[(&str, &[(usize, &str)])] = &[
        ("use crate::zone::Zone;", &[(1, "crate::zone::Zone")]),
        ("use super::{edns, name::*};", &[(1, "crate::dns::edns"), (1, "crate::dns::name")]),
        (
            "use std::{fs, net::{self, TcpStream as Stream}};\nfn f(a: Stream) { fs::read(b); }",
            &[
                (1, "std::fs"),
                (1, "std::net"),
                (1, "std::net::TcpStream"),
                (2, "std::net::TcpStream"),
                (2, "std::fs::read"),
            ],
        ),
        (
            "pub(in crate::dns) fn f() -> ::mlua::Result<crate::script::Vm> {}",
            &[(1, "crate::dns"), (1, "mlua::Result"), (1, "crate::script::Vm")],
        ),
        ("// crate::zone\n/* tokio::spawn */ fn f() -> &'static str { \"crate::zone tokio::spawn\" }", &[]),
        (
            "/// See [`crate::zone`].\nfn f() { tracing::warn!(x = %crate::zone::f(), \"{}\", y) }",
            &[(2, "tracing::warn"), (2, "crate::zone::f")],
        ),
        (
            "#[cfg(test)]\nmod tests { use tokio::net; }\n#[cfg(test)]\nuse crate::zone;\nfn f() { libc::f() }",
            &[(5, "libc::f")],
        ),
        ("fn f<'a>() -> impl Sized + use<'a> { notify.poll(); Self::rand(); Kind::Other }", &[]),
        ("fn f() {\n    unsafe { g() }\n}", &[(2, "unsafe")]),
    ];
    for (text, expected) in rows {
        let sources = Sources::of([("src/dns/wire.rs", *text)]);
        let found: Vec<_> = sources.files[0].mentions.iter().map(|m| (m.line, m.path.as_str())).collect();
        assert_eq!(found, *expected, "{text}");
    }
}

#[test]
fn a_module_that_is_there_for_tests_alone_is_left_out() {
    let sources = Sources::of([
        ("src/dns/mod.rs", "mod wire;\n#[cfg(test)]\nmod tests;\nuse wire::Limits;"),
        ("src/dns/tests.rs", "mod more;\nuse tokio::net;"),
        ("src/dns/tests/more.rs", "use tokio::net;"),
        ("src/dns/wire.rs", ""),
    ]);
    let paths: Vec<_> = sources.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["src/dns/mod.rs", "src/dns/wire.rs"]);
    assert_eq!(sources.files[0].mentions, [Mention { line: 4, path: "crate::dns::wire::Limits".into() }]);
    assert_eq!(sources.module_at("crate::dns::wire::Limits"), Some("dns::wire"));
    assert_eq!(sources.module_at("std::dns"), None);
}
