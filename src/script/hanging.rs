//! Which records of a zone hang on which, and whether any hangs on itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Program;
use super::api::health::{constant_names, named_records};
use super::surroundings::Programs;
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::{Name, NameRef, Rtype};
use crate::zone::ZoneSet;

/// How many circles are told of one zone; whoever corrects these may find more.
const CIRCLES_MAX: usize = 20;

/// That one record hangs on another, and where it says so.
struct Edge {
    to: usize,
    position: Position,
}

/// What is wrong with how the records of a zone hang on each other: names that no record has, and circles.
///
/// What stands in the code is known whichever branch it stands in; `shown` are those that trial runs have come upon.
pub(super) fn faults(
    programs: &[Arc<Program>],
    zones: &ZoneSet<Programs>,
    apex: &Name,
    shown: &[(Arc<Program>, Arc<Program>)],
) -> Vec<Diagnostic> {
    let places: HashMap<u64, usize> = programs.iter().enumerate().map(|(at, program)| (program.id, at)).collect();
    let mut edges: Vec<Vec<Edge>> = programs.iter().map(|_| Vec::new()).collect();
    let mut faults = Vec::new();
    for (program, edges) in programs.iter().zip(&mut edges) {
        let script = program.script();
        for (at, text) in constant_names(&script.code) {
            let position = script.position_at(at);
            match named_records(zones, apex, script.covered, &text) {
                Ok(found) => edges.extend(
                    found
                        .iter()
                        .filter_map(|found| Some(Edge { to: *places.get(&found.id)?, position: position.clone() })),
                ),
                // Which type is meant hangs on who includes it.
                Err(_) if script.covered == Rtype::LUA => {}
                Err(why) => faults.push(
                    Diagnostic::error(position, format!("the script hangs on `{text}`: {why}"))
                        .help("name a LUA record of this zone, relative to its apex or with a dot at its end"),
                ),
            }
        }
    }
    for (from, to) in shown {
        let (Some(from), Some(to)) = (places.get(&from.id), places.get(&to.id)) else { continue };
        let position = programs[*from].script().position();
        if edges[*from].iter().all(|edge| edge.to != *to) {
            edges[*from].push(Edge { to: *to, position });
        }
    }
    faults.extend(circles(programs, &edges, apex.as_ref()));
    faults
}

/// Every circle that is closed by walking from the first record on, with the places of all that are in it.
fn circles(programs: &[Arc<Program>], edges: &[Vec<Edge>], apex: NameRef<'_>) -> Vec<Diagnostic> {
    let (mut told, mut done) = (Vec::new(), HashSet::new());
    for start in 0..programs.len() {
        // The records that are walked through, each with the edges of it that are still to be followed.
        let mut path: Vec<(usize, std::slice::Iter<'_, Edge>)> = vec![(start, edges[start].iter())];
        let mut taken: Vec<&Edge> = Vec::new();
        while let Some((at, left)) = path.last_mut() {
            let Some(edge) = left.next() else {
                done.insert(*at);
                path.pop();
                taken.pop();
                continue;
            };
            if done.contains(&edge.to) {
                continue;
            }
            taken.push(edge);
            match path.iter().position(|(at, _)| *at == edge.to) {
                Some(begin) => {
                    if told.len() < CIRCLES_MAX {
                        told.push(circle(programs, &taken[begin..], apex));
                    }
                    taken.pop();
                }
                None => path.push((edge.to, edges[edge.to].iter())),
            }
        }
    }
    told
}

/// Tells of a circle; the last edge leads to the record that the first comes from.
fn circle(programs: &[Arc<Program>], edges: &[&Edge], apex: NameRef<'_>) -> Diagnostic {
    let name = |at: usize| &programs[at].record(apex).name;
    let froms = edges.iter().cycle().skip(edges.len() - 1).map(|edge| edge.to);
    let steps = edges
        .iter()
        .zip(froms)
        .map(|(edge, from)| format!("`{}` hangs on `{}` ({})", name(from), name(edge.to), edge.position));
    let told = steps.collect::<Vec<_>>().join(", ");
    Diagnostic::error(edges[0].position.clone(), format!("records hang on themselves: {told}"))
        .help("a record can be up by what is below it alone: take one of these out")
}
