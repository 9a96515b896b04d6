//! Who owns the data, from what the two gates say. Pure.
//!
//! Each change of owner has a number, its turn; the giver closes its gate with it, the taker opens with it. So at any
//! moment at most one of the two is open, and of two that are closed the higher turn says who is to open.

use crate::store::Gate;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Source,
    Target,
}

impl Owner {
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Owned {
        by: Owner,
        turn: u64,
    },
    /// Decided, and the taker has not opened yet: nobody takes writes.
    Handing {
        to: Owner,
        turn: u64,
    },
    /// One of the stores is not what it was: both links stop, and a person names the side that counts.
    Torn(String),
}

pub fn standing(source: &Gate, target: &Gate) -> Standing {
    let (s, t) = (source.turn, target.turn);
    let torn = |why: &str| Standing::Torn(format!("{why} (the source knows turn {s}, the target {t})"));
    match (source.closed, target.closed) {
        (false, true) if s >= t && s.is_multiple_of(2) => Standing::Owned { by: Owner::Source, turn: s },
        (true, false) if t >= s && t % 2 == 1 => Standing::Owned { by: Owner::Target, turn: t },
        (true, true) if s > t && s % 2 == 1 => Standing::Handing { to: Owner::Target, turn: s },
        (true, true) if t > s && t.is_multiple_of(2) => Standing::Handing { to: Owner::Source, turn: t },
        (false, false) => torn("both stores take writes: one of them was restored from before a cut over"),
        _ => torn("one of the stores was restored from before a cut over"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(closed: bool, turn: u64) -> Gate {
        Gate { closed, turn, ..Gate::default() }
    }

    /// Every state that cut overs and rollbacks go through, in order.
    #[test]
    fn each_step_of_two_changes_has_one_owner_or_none() {
        let (source, target) = (Owner::Source, Owner::Target);
        let steps = [
            (gate(false, 0), gate(true, 0), Standing::Owned { by: source, turn: 0 }),
            (gate(true, 1), gate(true, 0), Standing::Handing { to: target, turn: 1 }),
            (gate(true, 1), gate(false, 1), Standing::Owned { by: target, turn: 1 }),
            (gate(true, 1), gate(true, 2), Standing::Handing { to: source, turn: 2 }),
            (gate(false, 2), gate(true, 2), Standing::Owned { by: source, turn: 2 }),
            (gate(true, 3), gate(true, 2), Standing::Handing { to: target, turn: 3 }),
            (gate(true, 3), gate(false, 3), Standing::Owned { by: target, turn: 3 }),
        ];
        for (s, t, expected) in steps {
            assert_eq!(standing(&s, &t), expected);
        }
    }

    #[test]
    fn a_store_from_before_is_seen() {
        let before = [
            // The source was restored from before the cut over, the target from before it, the source from before a
            // rollback that the target decided, the target from before a second cut over.
            (gate(false, 0), gate(false, 1)),
            (gate(false, 0), gate(true, 2)),
            (gate(true, 3), gate(false, 1)),
            (gate(true, 1), gate(true, 1)),
        ];
        for (s, t) in before {
            assert!(matches!(standing(&s, &t), Standing::Torn(_)), "{s:?} {t:?}");
        }
    }
}
