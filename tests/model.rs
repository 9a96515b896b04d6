//! The protocol, checked exhaustively within small bounds, with the product's own transition code (`log/order.rs`): what an
//! entry is to a receiver, where a relay goes on, what a report confirms. Each rule of the protocol is also broken once:
//! then there is a history that shows it.

#[path = "model/parts.rs"]
mod parts;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::io::Write;

use stateright::{Checker, HasDiscoveries, Model, Property};

use parts::{KEYS, Rules, SOUND};
use world::World;

/// How much may happen.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    writes: u8,
    epochs: u8,
    positions: u8,
    generations: u8,
    fences: u8,
    wipes: u8,
    restarts: u8,
    restores: u8,
    digests: u8,
    /// Messages that the stream holds.
    stream: usize,
    /// What has happened before.
    begins: &'static [Step],
}

#[derive(Debug, Clone, Copy)]
struct Protocol {
    rules: Rules,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Write(u8),
    WriteBoth,
    BeginWrite,
    CommitWrite,
    WriteAtTarget(u8),
    TakeLease(usize),
    TakeOver(usize),
    Look(usize),
    Seal(usize, usize, bool),
    Send(usize),
    Confirm(usize),
    Deliver,
    RestartApplier,
    Wipe,
    BackUp,
    RestoreSource,
    RestoreTarget,
    Fence,
    FenceRunsOut,
    SealFence(usize),
    Decide(usize),
}

impl Protocol {
    fn writers(&self, world: &World, steps: &mut Vec<Step>) {
        let more = world.writes < self.bounds.writes;
        if more && world.takes_writes_at_source() {
            steps.extend([Step::Write(0), Step::WriteBoth]);
            if world.source.pending.is_none() {
                steps.push(Step::BeginWrite);
            }
        }
        if world.source.pending.is_some() {
            steps.push(Step::CommitWrite);
        }
        if more && world.target.open {
            steps.push(Step::WriteAtTarget(0));
        }
    }

    fn relays(&self, world: &World, steps: &mut Vec<Step>) {
        let has_room = world.stream.len() < self.bounds.stream;
        for r in 0..2 {
            // The second one comes when the first has begun. Whoever is in doubt takes the lease again.
            if world.source.epoch < self.bounds.epochs && has_room && (r == 0 || world.source.epoch > 0) {
                steps.push(Step::TakeLease(r));
            }
            let Some(relay) = &world.relays[r] else { continue };
            let leads = world.source.epoch == relay.epoch;
            if leads && !relay.ready && world.target.epoch == relay.epoch {
                steps.push(Step::TakeOver(r));
            }
            if !relay.unsent.is_empty() && has_room {
                steps.push(Step::Send(r));
            }
            if relay.ready {
                steps.push(Step::Confirm(r));
                if relay.head.position < self.bounds.positions {
                    if !self.rules.rows_of_the_snapshot && relay.looked.is_none() {
                        steps.push(Step::Look(r));
                    }
                    let digest = world.digests < self.bounds.digests;
                    // One key at a time, or all.
                    for max in if world.source.dirty.len() > 1 { vec![1, KEYS * 4] } else { vec![KEYS * 4] } {
                        steps.push(Step::Seal(r, max, false));
                        if digest {
                            steps.push(Step::Seal(r, max, true));
                        }
                    }
                    if !world.source.closed && (world.source.fenced || !self.rules.decide_behind_the_fence) {
                        steps.extend([Step::SealFence(r), Step::Decide(r)]);
                    }
                }
            }
        }
    }

    fn faults(&self, world: &World, steps: &mut Vec<Step>) {
        if world.wipes < self.bounds.wipes && !world.stream.is_empty() {
            steps.push(Step::Wipe);
        }
        if world.restores < self.bounds.restores {
            match &world.backups {
                (None, None) => steps.push(Step::BackUp),
                _ => steps.push(Step::RestoreTarget),
            }
            // Behind a decision the gates of the two stores tell of a restored source (`phases/owner.rs`).
            if world.backups.0.is_some() && !world.source.closed {
                steps.push(Step::RestoreSource);
            }
        }
    }

    fn owners(&self, world: &World, steps: &mut Vec<Step>) {
        let nobody_writes = world.source.pending.is_none() || !self.rules.fence_waits_for_writers;
        if world.fences < self.bounds.fences && world.takes_writes_at_source() && nobody_writes {
            steps.push(Step::Fence);
        }
        if world.source.fenced && !world.source.closed {
            steps.push(Step::FenceRunsOut);
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::default();
        world.source.rows = [100, 101];
        world.acknowledged = world.source.rows;
        for step in self.bounds.begins {
            world = self.next_state(&world, *step).expect("a step that does something");
        }
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.wrong.is_some() || world.stopped {
            return;
        }
        self.writers(world, steps);
        self.relays(world, steps);
        self.faults(world, steps);
        self.owners(world, steps);
        if (world.next as usize) < world.stream.len() {
            steps.push(Step::Deliver);
        }
        if world.next > 0 && world.restarts < self.bounds.restarts {
            steps.push(Step::RestartApplier);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let (mut next, rules) = (world.clone(), &self.rules);
        match step {
            Step::Write(key) => next.write_at_source(&[key]),
            Step::WriteBoth => next.write_at_source(&[0, 1]),
            Step::BeginWrite => next.begin_write(1),
            Step::CommitWrite => next.commit_write(1),
            Step::WriteAtTarget(key) => next.write_at_target(key),
            Step::TakeLease(r) => next.take_lease(r),
            Step::TakeOver(r) => next.take_over(rules, r),
            Step::Look(r) => {
                let dirty = next.source.dirty.clone();
                next.relays[r].as_mut()?.looked = Some(dirty);
            }
            Step::Seal(r, max, digest) => next.seal(rules, r, max, digest),
            Step::Send(r) => next.send(r),
            Step::Confirm(r) => next.confirm(rules, r),
            Step::Deliver => next.deliver(rules),
            Step::RestartApplier => {
                next.restarts += 1;
                next.next = 0;
            }
            Step::Wipe => {
                next.wipes += 1;
                next.stream.clear();
                next.next = 0;
            }
            Step::BackUp => {
                next.backups = (Some(Box::new(next.source.clone())), Some(Box::new(next.target.clone())));
            }
            Step::RestoreSource => {
                next.restores += 1;
                next.source = *next.backups.0.clone()?;
                // What it had not yet when it was saved is gone with it: nobody can bring that back.
                next.source.pending = None;
                next.acknowledged = next.source.rows;
            }
            Step::RestoreTarget => {
                next.restores += 1;
                let was_open = next.target.open;
                next.target = *next.backups.1.clone()?;
                if was_open {
                    // What it took since nobody can bring back; what was handed over must still be there.
                    next.acknowledged = if next.target.open { next.target.rows } else { next.source.rows };
                }
            }
            Step::Fence => next.fence(),
            Step::FenceRunsOut => next.source.fenced = false,
            Step::SealFence(r) => next.seal_fence(rules, r),
            Step::Decide(r) => next.decide(rules, r),
        }
        next.renumber();
        (next != *world).then_some(next)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.source.head.generation <= self.bounds.generations
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a drained entry is the source's snapshot, and no digest differs", |_, world: &World| {
                world.wrong.is_none()
            }),
            Property::always("at most one side takes writes", |_, world: &World| {
                !(world.takes_writes_at_source() && world.target.open)
            }),
            Property::always("the owner has every acknowledged write", |_, world: &World| match world.target.open {
                true => world.target.rows == world.acknowledged,
                false => world.source.rows == world.acknowledged,
            }),
            Property::always("every run can end", |protocol: &Self, world: &World| {
                world.wrong.is_some() || world.ends_well(&protocol.rules)
            }),
            Property::always("both links stand still only where a store was restored", |_, world: &World| {
                !world.stopped || world.restores > 0
            }),
            Property::sometimes("the target comes to own the data", |_, world: &World| world.target.open),
            Property::sometimes("a chunk is confirmed", |_, world: &World| {
                world.target.covered && world.source.confirmed > 1
            }),
        ]
    }
}

const SMALL: Bounds = Bounds {
    writes: 2,
    epochs: 2,
    positions: 3,
    generations: 2,
    fences: 0,
    wipes: 0,
    restarts: 0,
    restores: 0,
    digests: 1,
    stream: 4,
    begins: &[],
};

/// One relay.
const ONE: Bounds = Bounds { epochs: 1, positions: 4, ..SMALL };

const OWNERS: Bounds = Bounds { epochs: 2, fences: 1, positions: 5, stream: 6, digests: 0, writes: 1, ..SMALL };

/// Up to the opening, as it goes where nothing fails.
const OPENED: &[Step] = &[
    Step::TakeLease(0),
    Step::Deliver,
    Step::TakeOver(0),
    Step::Seal(0, KEYS * 4, false),
    Step::Fence,
    Step::SealFence(0),
    Step::Send(0),
    Step::Deliver,
    Step::Deliver,
    Step::Deliver,
    Step::Confirm(0),
    Step::Decide(0),
    Step::Send(0),
    Step::Deliver,
    Step::Confirm(0),
];
const BEHIND: Bounds = Bounds {
    epochs: 2,
    restores: 1,
    wipes: 1,
    positions: 6,
    stream: 8,
    digests: 0,
    writes: 1,
    begins: OPENED,
    ..SMALL
};

fn check(name: &str, rules: Rules, bounds: Bounds, until: HasDiscoveries) -> Vec<&'static str> {
    let began = std::time::Instant::now();
    let checker = Protocol { rules, bounds }.checker().threads(2).finish_when(until).spawn_bfs().join();
    let found: Vec<&'static str> = checker.discoveries().keys().copied().filter(|p| !is_wanted(p)).collect();
    let told = format!(
        "model {name}: {} states, {} different, in {:?}; {}",
        checker.state_count(),
        checker.unique_state_count(),
        began.elapsed(),
        if found.is_empty() { "no rule is broken".to_owned() } else { format!("broken: {found:?}") }
    );
    // Past the test runner, which keeps what a passing test prints: CI shows how much was looked at.
    let _ = writeln!(std::io::stderr(), "{told}");
    for (property, path) in checker.discoveries().iter().filter(|(p, _)| !is_wanted(p)) {
        println!("{property}: {:?}", path.clone().into_actions());
    }
    found
}

fn is_wanted(property: &str) -> bool {
    ["the target comes to own the data", "a chunk is confirmed"].contains(&property)
}

fn sound(name: &str, bounds: Bounds) {
    assert_eq!(
        check(name, SOUND, bounds, HasDiscoveries::AllOf(BTreeSet::from(["nothing ends it early"]))),
        [""; 0],
        "{name}"
    );
}

fn broken(name: &str, rules: Rules, bounds: Bounds) {
    assert_ne!(check(name, rules, bounds, HasDiscoveries::AnyFailures), [""; 0], "{name}: the model does not notice");
}

#[test]
fn two_relays_and_a_stream_that_loses_and_repeats() {
    sound("relays", SMALL);
}

#[test]
fn a_change_of_owner() {
    sound("owners", OWNERS);
}

#[test]
fn a_stream_that_is_wiped() {
    sound("wiped", Bounds { wipes: 1, writes: 1, ..SMALL });
}

#[test]
fn stores_that_are_restored() {
    sound("restored", Bounds { restores: 1, writes: 1, epochs: 1, fences: 1, digests: 0, positions: 4, ..SMALL });
}

#[test]
fn a_target_that_is_restored_behind_the_opening() {
    sound("behind the opening", BEHIND);
}

#[test]
fn rows_that_are_read_outside_the_snapshot() {
    broken("rows outside the snapshot", Rules { rows_of_the_snapshot: false, ..SOUND }, ONE);
}

#[test]
fn dirty_keys_that_are_deleted_by_range() {
    broken("delete by range", Rules { delete_what_was_read: false, ..SOUND }, ONE);
}

#[test]
fn entries_without_a_chain() {
    broken("no chain", Rules { chain: false, lease_is_proven: false, ..SOUND }, SMALL);
}

#[test]
fn a_lease_that_is_not_proven() {
    broken("no lease", Rules { lease_is_proven: false, ..SOUND }, SMALL);
}

#[test]
fn a_confirmation_before_the_commit() {
    broken("confirm before commit", Rules { confirm_after_commit: false, ..SOUND }, Bounds { wipes: 1, ..OWNERS });
}

#[test]
fn a_digest_before_its_chunk() {
    broken("digest before chunk", Rules { digest_behind_its_chunk: false, ..SOUND }, ONE);
}

#[test]
fn a_fence_that_does_not_wait_for_writers() {
    broken("no barrier", Rules { fence_waits_for_writers: false, ..SOUND }, OWNERS);
}

#[test]
fn an_opening_without_a_fence() {
    broken("open before the fence", Rules { decide_behind_the_fence: false, ..SOUND }, OWNERS);
}

#[test]
fn a_decision_with_something_dirty() {
    broken("dirty decision", Rules { decide_only_clean: false, ..SOUND }, OWNERS);
}

#[test]
fn a_new_generation_behind_a_decision() {
    let rules = Rules { no_new_generation_behind_a_decision: false, ..SOUND };
    broken("generation behind a decision", rules, BEHIND);
}
