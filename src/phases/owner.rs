//! Who owns the data, from what the two gates say. Pure.
//!
//! Each change of owner of a part (a named scope, or the rest) has a number, its turn; the giver closes its gate with it,
//! the taker opens with it. So at any moment at most one of the two is open, and of two that are closed the higher turn
//! says who is to open.

use crate::entry::Turn;
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

/// Of one part.
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

/// Of every part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Of every scope that is not named.
    pub rest: Standing,
    /// Sorted by scope.
    pub scopes: Vec<(String, Standing)>,
}

impl Ownership {
    pub fn of(source: &Gate, target: &Gate) -> Self {
        let mut names: Vec<&String> = source.scopes.iter().chain(&target.scopes).map(|s| &s.scope).collect();
        names.sort_unstable();
        names.dedup();
        let of = |scope: Option<&str>| {
            let (s, t) = (source.part(scope), target.part(scope));
            standing((s.closed, s.turn), (t.closed, t.turn))
        };
        Self { rest: of(None), scopes: names.into_iter().map(|name| (name.clone(), of(Some(name)))).collect() }
    }

    fn parts(&self) -> impl Iterator<Item = (Option<&str>, &Standing)> {
        std::iter::once((None, &self.rest)).chain(self.scopes.iter().map(|(name, s)| (Some(name.as_str()), s)))
    }

    pub fn part(&self, scope: Option<&str>) -> &Standing {
        self.parts().find(|(name, _)| *name == scope).map_or(&self.rest, |(_, standing)| standing)
    }

    /// Why nothing may be decided or carried.
    pub fn torn(&self) -> Option<&str> {
        self.parts().find_map(|(_, s)| match s {
            Standing::Torn(why) => Some(why.as_str()),
            _ => None,
        })
    }

    /// To whom something is given that he has not taken yet, and its turns.
    pub fn handing(&self) -> Option<(Owner, Vec<Turn>)> {
        let handed = |(scope, s): (Option<&str>, &Standing)| match s {
            Standing::Handing { to, turn } => Some((*to, Turn { scope: scope.map(str::to_owned), turn: *turn })),
            _ => None,
        };
        let first = self.parts().find_map(handed)?.0;
        Some((first, self.parts().filter_map(handed).filter(|(to, _)| *to == first).map(|(_, turn)| turn).collect()))
    }

    pub fn owns(&self, side: Owner) -> bool {
        self.parts().any(|(_, s)| matches!(s, Standing::Owned { by, .. } if *by == side))
    }

    pub fn owns_all(&self, side: Owner) -> bool {
        self.parts().all(|(_, s)| matches!(s, Standing::Owned { by, .. } if *by == side))
    }

    /// Whose links have something to carry: of who owns anything, and of who has given something that is not taken.
    pub fn senders(&self) -> Vec<Owner> {
        let gives = |side: Owner| self.parts().any(|(_, s)| matches!(s, Standing::Handing { to, .. } if *to != side));
        [Owner::Source, Owner::Target].into_iter().filter(|side| self.owns(*side) || gives(*side)).collect()
    }

    /// Whether these scopes, or all that there is, are one side's.
    pub fn owns_these(&self, side: Owner, scopes: Option<&[String]>) -> bool {
        let owned = |s: &Standing| matches!(s, Standing::Owned { by, .. } if *by == side);
        match scopes {
            None => self.owns_all(side),
            Some(scopes) => scopes.iter().all(|scope| owned(self.part(Some(scope)))),
        }
    }

    /// Changes of owner so far, all in all.
    pub fn turns(&self) -> u64 {
        let turn = |s: &Standing| match s {
            Standing::Owned { turn, .. } | Standing::Handing { turn, .. } => *turn,
            Standing::Torn(_) => 0,
        };
        self.parts().map(|(_, s)| turn(s)).sum()
    }

    /// The side that owns the rest, or will when it hears of it; and the scopes of which that is the other side.
    pub fn split(&self) -> (Owner, Vec<&str>) {
        let side = |s: &Standing| match s {
            Standing::Owned { by, .. } => Some(*by),
            Standing::Handing { to, .. } => Some(*to),
            Standing::Torn(_) => None,
        };
        let rest = side(&self.rest).unwrap_or(Owner::Source);
        let others = self.scopes.iter().filter(|(_, s)| side(s).is_some_and(|by| by != rest));
        (rest, others.map(|(name, _)| name.as_str()).collect())
    }
}

fn standing((s_closed, s): (bool, u64), (t_closed, t): (bool, u64)) -> Standing {
    let torn = |why: &str| Standing::Torn(format!("{why} (the source knows turn {s}, the target {t})"));
    match (s_closed, t_closed) {
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
    use crate::store::ScopeGate;

    /// Every state that cut overs and rollbacks go through, in order.
    #[test]
    fn each_step_of_two_changes_has_one_owner_or_none() {
        let (source, target) = (Owner::Source, Owner::Target);
        let steps = [
            ((false, 0), (true, 0), Standing::Owned { by: source, turn: 0 }),
            ((true, 1), (true, 0), Standing::Handing { to: target, turn: 1 }),
            ((true, 1), (false, 1), Standing::Owned { by: target, turn: 1 }),
            ((true, 1), (true, 2), Standing::Handing { to: source, turn: 2 }),
            ((false, 2), (true, 2), Standing::Owned { by: source, turn: 2 }),
            ((true, 3), (true, 2), Standing::Handing { to: target, turn: 3 }),
            ((true, 3), (false, 3), Standing::Owned { by: target, turn: 3 }),
        ];
        for (s, t, expected) in steps {
            assert_eq!(standing(s, t), expected);
        }
    }

    #[test]
    fn a_store_from_before_is_seen() {
        let before = [
            // The source was restored from before the cut over, the target from before it, the source from before a
            // rollback that the target decided, the target from before a second cut over.
            ((false, 0), (false, 1)),
            ((false, 0), (true, 2)),
            ((true, 3), (false, 1)),
            ((true, 1), (true, 1)),
        ];
        for (s, t) in before {
            assert!(matches!(standing(s, t), Standing::Torn(_)), "{s:?} {t:?}");
        }
    }

    fn gate(closed: bool, turn: u64, scopes: &[(&str, bool, u64)]) -> Gate {
        let named = |(scope, closed, turn): &(&str, bool, u64)| ScopeGate {
            scope: (*scope).to_owned(),
            closed: *closed,
            turn: *turn,
            ..ScopeGate::default()
        };
        Gate { closed, turn, scopes: scopes.iter().map(named).collect(), ..Gate::default() }
    }

    #[test]
    fn a_scope_goes_first_and_the_rest_follows() {
        // Named at the source alone, then given, then taken by a target that had not heard its name.
        let named = Ownership::of(&gate(false, 0, &[("42", false, 0)]), &gate(true, 0, &[]));
        assert!(named.owns_all(Owner::Source) && named.handing().is_none());
        let given = Ownership::of(&gate(false, 0, &[("42", true, 1)]), &gate(true, 0, &[]));
        let turns = vec![Turn { scope: Some("42".into()), turn: 1 }];
        assert_eq!(given.handing(), Some((Owner::Target, turns)));
        assert!(given.owns(Owner::Source) && !given.owns(Owner::Target) && !given.owns_all(Owner::Source));
        let taken = Ownership::of(&gate(false, 0, &[("42", true, 1)]), &gate(true, 0, &[("42", false, 1)]));
        assert!(taken.owns(Owner::Source) && taken.owns(Owner::Target) && taken.torn().is_none());
        assert_eq!(taken.split(), (Owner::Source, vec!["42"]));
        assert!(taken.owns_these(Owner::Target, Some(&["42".into()])));
        assert!(!taken.owns_these(Owner::Target, Some(&["42".into(), "7".into()])));
        let all = Ownership::of(&gate(true, 1, &[("42", true, 1)]), &gate(false, 1, &[("42", false, 1)]));
        assert!(all.owns_all(Owner::Target) && all.turns() == 2);
        assert_eq!(all.split(), (Owner::Target, vec![]));
        let one_back = Ownership::of(&gate(true, 1, &[("42", false, 2)]), &gate(false, 1, &[("42", true, 2)]));
        assert_eq!(one_back.split(), (Owner::Target, vec!["42"]));
    }
}
