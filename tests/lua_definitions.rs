//! `lua/perigee.d.luau`, the list for editors, is what Luau's own type checker can read, and the examples keep to it.

use std::fs;
use std::path::PathBuf;

use luau_analysis::{
    DefinitionEnvironment, FileResolver, Frontend, FrontendOptions, ModuleName, NullConfigResolver, SourceCode,
    SourceCodeType,
};
use luau_common::BString;
use perigee::dns::Rtype;
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Script, Scripts, Zone};

use crate::lua_manual::{HEAD, MANUALS, blocks, read};

/// The source of the one module that is checked at a time, whatever its name.
struct Source(BString);

impl FileResolver for Source {
    fn read_source(&mut self, _: &ModuleName) -> Option<SourceCode> {
        Some(SourceCode { source: self.0.clone(), kind: SourceCodeType::Module })
    }
}

/// A checker that knows Luau's globals, our definitions, and that the libraries in `lua/lib` define some more.
fn checker() -> Frontend<Source, NullConfigResolver> {
    let options = FrontendOptions { retain_full_type_graphs: true, ..FrontendOptions::default() };
    let mut checker = Frontend::new(Source(BString::default()), NullConfigResolver::default(), options);
    checker.register_builtin_globals(DefinitionEnvironment::Globals).expect("Luau's own definitions are sound");
    let scope = checker.global_scope(DefinitionEnvironment::Globals);
    for (name, text) in [("perigee", read("lua/perigee.d.luau")), ("lib", definitions_of_libraries())] {
        let loaded = checker.load_definition_file(scope, &text, name, false).expect("the definitions can be checked");
        let errors = &loaded.source_module.parse_errors;
        assert!(loaded.success, "{name}: {errors:?}");
    }
    checker
}

/// What the libraries leave as globals, of any type.
fn definitions_of_libraries() -> String {
    let files = fs::read_dir("lua/lib").expect("there is a folder of libraries");
    let sources = files.map(|file| read(&file.expect("an entry").path().display().to_string()));
    let global = |line: &str| Some(line.strip_prefix("function ")?.split_once('(')?.0.to_owned());
    let globals = |source: String| source.lines().filter_map(global).collect::<Vec<_>>();
    sources.flat_map(globals).map(|name| format!("declare {name}: any\n")).collect()
}

/// What is wrong with a source by the definitions; modules are kept by name, so each needs one of its own.
fn errors(checker: &mut Frontend<Source, NullConfigResolver>, name: &str, source: &[u8]) -> Vec<String> {
    checker.file_resolver_mut().0 = BString::from(source);
    let name = BString::from(name);
    let checked = checker.check(&name, None).expect("the script can be checked");
    let model = checker.semantic_model(&name).expect("full type graphs are retained");
    checked
        .errors
        .iter()
        .map(|error| format!("{}: {}", error.location.begin.line, model.error_message(error)))
        .collect()
}

/// The scripts of a zone, as Lua reads them.
fn scripts(text: &str) -> Vec<Vec<u8>> {
    let apex = "example.net".parse().expect("a name");
    let input = Input { file: "example.net.zone".into(), text: text.as_bytes() };
    let records = parser::parse(&input, &Options::new(apex), &mut |_, _| Err("none".to_owned())).records;
    let zone = Zone::build(&"example.net".parse().expect("a name"), records, Scripts::Joined).expect("a zone");
    let source = |script: &Script| match script.code.strip_prefix(b";") {
        _ if script.covered == Rtype::LUA => [b"--!strict\n", &*script.code].concat(),
        Some(statements) => [b"--!strict\n", statements].concat(),
        None => [b"--!strict\nreturn ", &*script.code].concat(),
    };
    zone.scripts().iter().map(source).collect()
}

#[test]
fn every_example_of_the_manuals_has_the_types_of_the_definitions() {
    let mut checker = checker();
    let mut checked = 0;
    // What one record includes of another no checker of single modules can know.
    let is_whole = |block: &(usize, String)| !block.1.contains("LUA LUA");
    for (page, _) in MANUALS {
        for (line, block) in blocks(&read(page), "zone", "").into_iter().filter(is_whole) {
            for script in scripts(&format!("{HEAD}{block}")) {
                checked += 1;
                let told = errors(&mut checker, &format!("example {checked}"), &script);
                assert!(told.is_empty(), "{page}:{line}: {}\n{told:?}", String::from_utf8_lossy(&script));
            }
        }
    }
    assert!(checked > 20, "only {checked} scripts");
}

#[test]
fn a_script_that_breaks_the_definitions_is_told() {
    let mut checker = checker();
    for script in ["return pickrandom('192.0.2.1')", "return qname:toSting()", "return nothing_of_the_kind()"] {
        let source = format!("--!strict\n{script}");
        assert_eq!(errors(&mut checker, script, source.as_bytes()).len(), 1, "{script}");
    }
}

#[test]
fn the_libraries_have_the_types_of_the_definitions() {
    let mut checker = checker();
    let files: Vec<PathBuf> =
        fs::read_dir("lua/lib").expect("a folder").map(|file| file.expect("an entry").path()).collect();
    for file in files {
        // Not strictly: what goes through tables of unknown shape has no type a checker could find.
        let told = errors(&mut checker, &file.display().to_string(), &fs::read(&file).expect("a library"));
        assert!(told.is_empty(), "{}\n{told:?}", file.display());
    }
}
