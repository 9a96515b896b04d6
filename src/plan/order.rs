//! Tables sorted so that a row's parents come before it.

use crate::mapping::TableMap;
use crate::schema::{Table, TableName};

pub(super) struct Member<'a> {
    pub map: &'a TableMap,
    pub source: &'a Table,
    /// `None`: it is to be made, without foreign keys.
    pub target: Option<&'a Table>,
}

/// Indices in parents-first order, plan order where nothing decides; and the cycles among the target's own
/// foreign keys, by target name. Within a cycle plan order holds.
pub(super) fn parents_first(members: &[Member]) -> (Vec<usize>, Vec<Vec<TableName>>) {
    let parents: Vec<Vec<usize>> = members.iter().map(|m| parents(members, m)).collect();
    let reach: &[Vec<bool>] = &(0..members.len()).map(|i| reachable(&parents, i)).collect::<Vec<_>>();
    let cycle_of = |i: usize| (0..members.len()).filter(move |&j| i == j || reach[i][j] && reach[j][i]);

    let mut order = Vec::with_capacity(members.len());
    let mut done = vec![false; members.len()];
    // A cycle goes as a whole, once all that it refers to outside itself has gone.
    let ready = |i: usize, done: &[bool]| {
        let cycle: Vec<_> = cycle_of(i).collect();
        cycle.iter().flat_map(|&j| &parents[j]).all(|p| done[*p] || cycle.contains(p))
    };
    while let Some(next) = (0..members.len()).find(|&i| !done[i] && ready(i, &done)) {
        for i in cycle_of(next) {
            done[i] = true;
            order.push(i);
        }
    }

    let enforced: Vec<Vec<usize>> =
        members.iter().enumerate().map(|(i, m)| if m.target.is_some() { parents[i].clone() } else { vec![] }).collect();
    let reach: Vec<Vec<bool>> = (0..members.len()).map(|i| reachable(&enforced, i)).collect();
    let first_of_cycle = |&i: &usize| reach[i][i] && !(0..i).any(|j| reach[i][j] && reach[j][i]);
    let cycle = |i: usize| {
        let mut names: Vec<TableName> = Vec::new();
        for j in (i..members.len()).filter(|&j| reach[i][j] && reach[j][i]) {
            if !names.contains(&members[j].map.target) {
                names.push(members[j].map.target.clone());
            }
        }
        names
    };
    (order, (0..members.len()).filter(first_of_cycle).map(cycle).collect())
}

/// What a table refers to: by the target's foreign keys where it exists, else by the source's.
fn parents(members: &[Member], member: &Member) -> Vec<usize> {
    let is = |m: &Member, referred: &TableName| match member.target {
        Some(_) => m.map.target == *referred,
        None => m.map.source == *referred,
    };
    let keys = &member.target.unwrap_or(member.source).foreign_keys;
    let places = |key| (0..members.len()).filter(move |&i| is(&members[i], key));
    keys.iter().flat_map(|key| places(&key.references)).collect()
}

/// What can be reached from `start` in one step or more.
fn reachable(edges: &[Vec<usize>], start: usize) -> Vec<bool> {
    let mut seen = vec![false; edges.len()];
    let mut open = edges[start].clone();
    while let Some(next) = open.pop() {
        if !std::mem::replace(&mut seen[next], true) {
            open.extend(&edges[next]);
        }
    }
    seen
}
