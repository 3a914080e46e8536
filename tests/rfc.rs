//! Whether `docs/rfc.md` is true: every case and test it names is there, and every case there is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// RFCs whose every rule for an authority stands on the page.
const RFCS: [u16; 26] = [
    1034, 1035, 2181, 2308, 2317, 2782, 3403, 3597, 4035, 4343, 4592, 5001, 6604, 6672, 6891, 7828, 7871, 7873, 8020,
    8482, 8906, 8914, 9018, 9460, 9471, 9619,
];

/// A row of a table: the section, what it asks for, and what shows it.
struct Row {
    line: usize,
    section: String,
    case: String,
}

#[test]
fn every_rfc_has_its_section_and_they_ascend() {
    let numbers: Vec<u16> = page().into_keys().collect();
    for rfc in RFCS {
        assert!(numbers.contains(&rfc), "docs/rfc.md has no section `## RFC {rfc}: title`");
    }
    let in_order = headings();
    assert!(in_order.is_sorted_by(|one, other| one < other), "docs/rfc.md: the sections do not ascend: {in_order:?}");
}

#[test]
fn what_shows_a_rule_exists() {
    let mut wrong = Vec::new();
    for row in page().values().flatten() {
        if row.case.is_empty() {
            wrong.push(format!("docs/rfc.md:{}: no case, no test, and no reason", row.line));
        }
        for named in in_backquotes(&row.case) {
            let is_test = |file: &str, test: &str| read(file).is_some_and(|text| text.contains(&format!("fn {test}(")));
            let there = match (named.split_once(": "), named.split_once("::")) {
                (Some((file, test)), _) => is_test(file, test),
                (None, Some((module, test))) => is_test(&format!("tests/{module}.rs"), test),
                (None, None) if named.starts_with("rfc") => read(&format!("tests/cases/{named}.case")).is_some(),
                (None, None) => continue,
            };
            if !there {
                wrong.push(format!("docs/rfc.md:{}: there is no `{named}`", row.line));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_case_stands_at_its_section() {
    let page = page();
    let mut wrong = Vec::new();
    for case in cases() {
        let (rfc, name) = case.split_once('/').unwrap();
        let rfc: u16 = rfc["rfc".len()..].parse().unwrap_or_else(|_| panic!("`{case}` is of no RFC"));
        let section = name.split_once('-').unwrap_or_else(|| panic!("`{case}` does not begin with a section")).0;
        let rows = page.get(&rfc).into_iter().flatten().filter(|row| row.section == section);
        if !rows.flat_map(|row| in_backquotes(&row.case)).any(|named| named == case) {
            wrong.push(format!("docs/rfc.md: RFC {rfc} has no row of section {section} that names `{case}`"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The rows of each RFC's table.
fn page() -> BTreeMap<u16, Vec<Row>> {
    let text = read("docs/rfc.md").expect("docs/rfc.md is there");
    let mut sections: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
    let mut rfc = None;
    for (index, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix("## ") {
            rfc = number(heading);
            rfc.map(|rfc| sections.entry(rfc).or_default());
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let is_row = line.starts_with("| ") && cells[0] != "section" && !cells[0].starts_with("---");
        if let (true, Some(rfc)) = (is_row, rfc) {
            let [section, _, case] = cells[..] else { panic!("docs/rfc.md:{}: a row has three cells", index + 1) };
            let row = Row { line: index + 1, section: section.to_owned(), case: case.to_owned() };
            sections.get_mut(&rfc).expect("its heading came first").push(row);
        }
    }
    sections
}

/// The RFCs in the order of the page.
fn headings() -> Vec<u16> {
    let text = read("docs/rfc.md").expect("docs/rfc.md is there");
    text.lines().filter_map(|line| number(line.strip_prefix("## ")?)).collect()
}

/// Reads `RFC NNNN: title`, or without a title.
fn number(heading: &str) -> Option<u16> {
    heading.strip_prefix("RFC ")?.split(':').next()?.parse().ok()
}

fn in_backquotes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Every case below `tests/cases/rfc*`, as the page writes it.
fn cases() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let below = |path: &Path| {
        let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let directories = below(&root).into_iter().filter(|name| name.starts_with("rfc"));
    let files = directories.flat_map(|directory| {
        let files = below(&root.join(&directory));
        files.into_iter().map(move |file| format!("{directory}/{}", file.trim_end_matches(".case")))
    });
    files.collect()
}

/// The text of a file of the repository.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}
