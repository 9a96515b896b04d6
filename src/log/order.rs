//! What a receiver makes of an entry that arrives: pure, so that the model checker can use the very same code.
//!
//! An entry has an effect exactly when it extends the chain: same generation, next position, previous hash, and an
//! epoch not below the one recorded. Everything else is skipped (it is known) or means that the relay must begin
//! again from where we stand.

use crate::entry::{Control, Epoch, Generation, Header, Mark, Position, Refs};

/// Where the target stands, as its checkpoint row has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    pub mark: Mark,
    pub epoch: Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Apply it: it extends the chain.
    Extends,
    /// Apply it: it begins a generation, and everything before is history.
    Begins,
    /// Already applied, or of a relay that lost its lease: no effect.
    Skip,
    /// It neither extends the chain nor is known: something is missing or forked. Say where we stand; no effect.
    Break,
}

/// Judges one entry against the checkpoint.
pub fn judge(standing: &Standing, header: &Header, refs: &Refs) -> Arrival {
    if header.epoch < standing.epoch {
        return Arrival::Skip;
    }
    let at = standing.mark;
    if header.generation > at.generation {
        let opens = matches!(refs, Refs::Control(Control::Begin { .. }));
        let first = header.position.0 == 1 && header.prev == Default::default();
        return if opens && first { Arrival::Begins } else { Arrival::Break };
    }
    if header.generation < at.generation {
        return Arrival::Skip;
    }
    if header.position == at.position.next() && header.prev == at.hash {
        Arrival::Extends
    } else if header.position <= at.position && header.epoch == standing.epoch {
        // A repeat of our own relay's. A fork by a higher epoch below our position is caught at its announcement.
        Arrival::Skip
    } else {
        Arrival::Break
    }
}

/// How far a report confirms what a relay of this epoch and generation has sealed; `None` where it is of another one: a
/// position says nothing without its generation, and what an older relay was told is no answer to us.
pub fn confirmed(epoch: Epoch, generation: Generation, reported: &Standing) -> Option<Position> {
    (reported.epoch == epoch && reported.mark.generation == generation).then_some(reported.mark.position)
}

/// What a relay that holds the lease does about the target's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The target has all that we sealed.
    Continue,
    /// The target has everything up to here, which is ours: undo what comes after, and go on from here.
    RewindTo(Mark),
    /// The target never had the generation that we began: undo all of it, and begin the next one as that one was.
    BeginAgain,
    /// One side was rewound, or the target is new: begin a generation, with every range pending.
    NewGeneration,
}

/// What the source's log says of the target's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traces {
    /// It has exactly this mark (the empty beginning of our generation is known while the log reaches back to it).
    pub known: bool,
    /// It has our generation from its first entry on, and nothing of it was ever confirmed.
    pub unheard: bool,
}

/// A target that had confirmed anything of our generation, and stands behind it now, was rewound: whoever takes such a
/// one for a new one overwrites what only it has.
pub fn course(head: &Mark, target: &Mark, traces: Traces) -> Course {
    if target == head && head.position.0 > 0 {
        Course::Continue
    } else if traces.known && target.generation == head.generation && target.position < head.position {
        Course::RewindTo(*target)
    } else if traces.unheard && target.generation < head.generation {
        Course::BeginAgain
    } else {
        Course::NewGeneration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Hash, Link};
    use proptest::prelude::*;

    fn header(generation: u64, position: u64, epoch: u64, prev: u8) -> Header {
        Header {
            migration: "m".into(),
            link: Link::Forward,
            generation: Generation(generation),
            position: Position(position),
            epoch: Epoch(epoch),
            prev: Hash([prev; 32]),
            drained: true,
            settled: true,
            heard: Position(0),
            sealed_ms: 0,
            owned: None,
        }
    }

    fn standing(generation: u64, position: u64, hash: u8, epoch: u64) -> Standing {
        let mark = Mark { generation: Generation(generation), position: Position(position), hash: Hash([hash; 32]) };
        Standing { mark, epoch: Epoch(epoch) }
    }

    const DATA: Refs = Refs::Changes(Vec::new());

    #[test]
    fn only_the_next_link_of_the_chain_has_an_effect() {
        let at = standing(1, 5, 5, 2);
        assert_eq!(judge(&at, &header(1, 6, 2, 5), &DATA), Arrival::Extends);
        assert_eq!(judge(&at, &header(1, 6, 3, 5), &DATA), Arrival::Extends);
        assert_eq!(judge(&at, &header(1, 6, 2, 9), &DATA), Arrival::Break, "spliced history");
        assert_eq!(judge(&at, &header(1, 7, 2, 5), &DATA), Arrival::Break, "gap");
        assert_eq!(judge(&at, &header(1, 6, 1, 5), &DATA), Arrival::Skip, "zombie");
        assert_eq!(judge(&at, &header(1, 5, 2, 4), &DATA), Arrival::Skip, "repeat");
        assert_eq!(judge(&at, &header(2, 1, 2, 0), &DATA), Arrival::Break, "a generation begins with open");
    }

    #[test]
    fn a_report_confirms_only_what_this_relay_sealed() {
        let says = |generation, epoch| confirmed(Epoch(7), Generation(2), &standing(generation, 50, 5, epoch));
        assert_eq!(says(2, 7), Some(Position(50)));
        assert_eq!(says(1, 7), None, "fifty entries of the generation before");
        assert_eq!(says(3, 7), None);
        assert_eq!(says(2, 6), None, "told to the relay before");
        assert_eq!(says(2, 8), None, "told to the relay after us");
    }

    #[test]
    fn a_generation_begins_only_with_its_open_entry_at_position_one() {
        let open = Refs::Control(Control::Begin { mapping: Hash::default() });
        let at = standing(1, 5, 5, 2);
        assert_eq!(judge(&at, &header(2, 1, 2, 0), &open), Arrival::Begins);
        assert_eq!(judge(&at, &header(2, 1, 1, 0), &open), Arrival::Skip, "zombie");
        assert_eq!(judge(&at, &header(2, 2, 2, 0), &open), Arrival::Break);
        assert_eq!(judge(&standing(3, 0, 0, 2), &header(2, 1, 2, 0), &open), Arrival::Skip);
    }

    #[test]
    fn a_relay_goes_on_only_from_what_both_know() {
        let mark = |g, p, h| standing(g, p, h, 0).mark;
        let (head, known) = (mark(1, 9, 9), Traces { known: true, unheard: false });
        assert_eq!(course(&head, &head, known), Course::Continue);
        assert_eq!(course(&head, &mark(1, 7, 7), known), Course::RewindTo(mark(1, 7, 7)));
        assert_eq!(course(&head, &mark(1, 7, 8), Traces::default()), Course::NewGeneration, "fork");
        assert_eq!(course(&head, &mark(1, 9, 8), Traces::default()), Course::NewGeneration, "a position used again");
        assert_eq!(
            course(&head, &mark(1, 10, 1), Traces::default()),
            Course::NewGeneration,
            "the source lost its tail"
        );
        assert_eq!(
            course(&head, &mark(2, 9, 9), Traces::default()),
            Course::NewGeneration,
            "the source was restored from before"
        );
        assert_eq!(course(&mark(0, 0, 0), &mark(0, 0, 0), known), Course::NewGeneration, "nothing was ever sealed");
    }

    #[test]
    fn a_generation_that_nobody_heard_of_begins_again() {
        let mark = |g, p, h| standing(g, p, h, 0).mark;
        let (head, unheard) = (mark(2, 3, 9), Traces { known: false, unheard: true });
        assert_eq!(course(&head, &mark(0, 0, 0), unheard), Course::BeginAgain);
        assert_eq!(course(&head, &mark(1, 40, 7), unheard), Course::BeginAgain);
        assert_eq!(course(&head, &mark(1, 40, 7), Traces::default()), Course::NewGeneration, "it had heard of it");
        assert_eq!(course(&head, &mark(2, 2, 7), unheard), Course::NewGeneration, "a fork");
        assert_eq!(course(&head, &mark(3, 1, 7), unheard), Course::NewGeneration, "the source was restored");
    }

    proptest! {
        #[test]
        fn any_delivery_of_a_chain_is_applied_once_and_in_order(order in prop::collection::vec(1u64..12, 0..60)) {
            let mut at = standing(1, 0, 0, 1);
            let mut applied = Vec::new();
            for p in order {
                let arrival = judge(&at, &header(1, p, 1, (p - 1) as u8), &DATA);
                if arrival == Arrival::Extends {
                    applied.push(p);
                    at = standing(1, p, p as u8, 1);
                }
            }
            prop_assert!(applied.iter().copied().eq(1..=applied.len() as u64));
        }
    }
}
