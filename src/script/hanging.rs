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

/// Which records of a zone hang on which.
pub(super) struct Hanging<'p> {
    programs: &'p [Arc<Program>],
    /// The places of programs, by their identity.
    places: HashMap<u64, usize>,
    /// On what each hangs.
    edges: Vec<Vec<Edge>>,
    /// Names that no record has, each with who says so.
    strangers: Vec<(usize, Diagnostic)>,
}

/// That one record hangs on another, and where it says so.
struct Edge {
    to: usize,
    position: Position,
}

impl<'p> Hanging<'p> {
    /// Reads what stands in the code, whichever branch it stands in.
    pub(super) fn read(programs: &'p [Arc<Program>], zones: &ZoneSet<Programs>, apex: &Name) -> Self {
        let places: HashMap<u64, usize> = programs.iter().enumerate().map(|(at, program)| (program.id, at)).collect();
        let (mut edges, mut strangers) = (Vec::with_capacity(programs.len()), Vec::new());
        for (from, program) in programs.iter().enumerate() {
            let script = program.script();
            let mut of_program = Vec::new();
            for (at, text) in constant_names(&script.code) {
                let position = script.position_at(at);
                match named_records(zones, apex, script.covered, &text) {
                    Ok(found) => of_program.extend(
                        found
                            .iter()
                            .filter_map(|found| Some(Edge { to: *places.get(&found.id)?, position: position.clone() })),
                    ),
                    // Which type is meant hangs on who includes it.
                    Err(_) if script.covered == Rtype::LUA => {}
                    Err(why) => {
                        let stranger = Diagnostic::error(position, format!("the script hangs on `{text}`: {why}"))
                            .help("name a LUA record of this zone, relative to its apex or with a dot at its end");
                        strangers.push((from, stranger));
                    }
                }
            }
            edges.push(of_program);
        }
        Self { programs, places, edges, strangers }
    }

    /// Whether a record names one that is not there.
    pub(super) fn is_faulty(&self, program: &Program) -> bool {
        let place = self.places.get(&program.id);
        self.strangers.iter().any(|(from, _)| Some(from) == place)
    }

    /// Adds what trial runs have come upon, and tells what is wrong: names that no record has, and circles.
    pub(super) fn faults(mut self, shown: &[(Arc<Program>, Arc<Program>)], apex: NameRef<'_>) -> Vec<Diagnostic> {
        for (from, to) in shown {
            let (Some(from), Some(to)) = (self.places.get(&from.id), self.places.get(&to.id)) else { continue };
            let position = self.programs[*from].script().position();
            if self.edges[*from].iter().all(|edge| edge.to != *to) {
                self.edges[*from].push(Edge { to: *to, position });
            }
        }
        let circles = circles(self.programs, &self.edges, apex);
        self.strangers.into_iter().map(|(_, stranger)| stranger).chain(circles).collect()
    }
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
