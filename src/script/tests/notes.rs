//! What scripts write to the log.

use super::super::*;
use super::{run, vm};

#[test]
fn a_run_writes_lines_with_levels_and_forgets_them_after() {
    let mut vm = vm(config::Lua::default());
    run(&mut vm, ";pdnslog('a') pdnslog('b', pdns.loglevels.Error) pdnslog('c', '6') pdnslog(5, 7) return 'x'")
        .unwrap();
    let notes: Vec<_> = vm.notes().into_iter().map(|note| (note.level, note.text)).collect();
    let expected = [(Level::Warning, "a"), (Level::Error, "b"), (Level::Info, "c"), (Level::Debug, "5")];
    assert_eq!(notes, expected.map(|(level, text)| (level, text.to_owned())));
    assert_eq!(vm.notes(), []);
    run(&mut vm, ";pdnslog('a') return 'x'").unwrap();
    run(&mut vm, "'x'").unwrap();
    assert_eq!(vm.notes(), []);
}

#[test]
fn what_a_run_writes_is_bounded_and_on_one_line() {
    let mut vm = vm(config::Lua::default());
    run(&mut vm, ";for i = 1, 100 do pdnslog(string.rep('x', 1000)) end return 'x'").unwrap();
    let notes = vm.notes();
    assert_eq!(notes.len(), 8);
    assert!(notes.iter().all(|note| note.text.chars().count() == 301));
    run(&mut vm, ";pdnslog('a\\nb\\27[0m') error('the lines stay')").unwrap_err();
    assert_eq!(vm.notes()[0].text, "a\\nb\\u{1b}[0m");
}
