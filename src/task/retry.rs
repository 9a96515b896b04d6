//! Repeats what failed in passing, later and later, up to a bound.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::stop::{Stop, stopped};
use crate::error::{Error, Result};

/// How long to go on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// The wait before the second attempt, doubled for each one after.
    pub first: Duration,
    pub most: Duration,
    /// No attempt begins later than this after the first.
    pub budget: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), most: Duration::from_secs(5), budget: Duration::from_secs(60) }
    }
}

impl Policy {
    pub fn within(budget: Duration) -> Self {
        Self { budget, ..Self::default() }
    }
}

/// The wait after attempt number `attempt`, from 0: doubled each time, and of that a half to the whole, as `seed`
/// says, so that many who failed together do not come back together.
pub fn backoff(policy: &Policy, attempt: u32, seed: u64) -> Duration {
    let whole = policy.first.saturating_mul(1_u32.checked_shl(attempt.min(31)).unwrap_or(u32::MAX)).min(policy.most);
    let part = (seed >> 11) as f64 / (1_u64 << 53) as f64;
    whole.mul_f64(0.5 + part / 2.0)
}

/// Runs `operation` until it succeeds, fails with another kind than `Retry`, the budget is spent (then the last
/// error is returned), or a signal comes (then `Stopped`). An attempt in hand is never cut off.
pub async fn retry<T, F, Fut>(policy: &Policy, stop: &Stop, mut operation: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let (began, random) = (Instant::now(), RandomState::new());
    let mut attempt: u32 = 0;
    loop {
        let error = match operation().await {
            Err(error) if error.is_retry() => error,
            other => return other,
        };
        let wait = backoff(policy, attempt, random.hash_one(attempt));
        attempt += 1;
        if began.elapsed() + wait > policy.budget {
            return Err(spent(error, attempt, began.elapsed()));
        }
        tokio::select! {
            signal = stop.wait() => return Err(stopped(signal)),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn spent(error: Error, attempts: u32, after: Duration) -> Error {
    match attempts {
        1 => error,
        _ => error.context(format!("tried {attempts} times in {:.1} s", after.as_secs_f64())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::cell::Cell;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_double_up_to_the_bound_and_are_spread() {
        let policy = Policy { first: 100 * MS, most: 1000 * MS, budget: 60_000 * MS };
        for (attempt, whole) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (40, 1000), (u32::MAX, 1000)] {
            assert_eq!(backoff(&policy, attempt, 0), whole * MS / 2, "attempt {attempt}");
            let longest = backoff(&policy, attempt, u64::MAX);
            assert!(longest <= whole * MS && longest > whole * MS * 99 / 100, "attempt {attempt}: {longest:?}");
        }
    }

    #[tokio::test]
    async fn only_what_may_pass_is_repeated() {
        let (policy, stop) = (Policy { first: MS, most: MS, budget: 10_000 * MS }, Stop::new());
        let calls = Cell::new(0);
        let count = || calls.replace(calls.get() + 1);
        let third =
            retry(&policy, &stop, || async { if count() < 2 { Err(Error::retry("not yet")) } else { Ok("now") } });
        assert_eq!(third.await.unwrap(), "now");
        assert_eq!(calls.replace(0), 3);
        let refused: Result<()> = retry(&policy, &stop, || async {
            count();
            Err(Error::give_up("never"))
        })
        .await;
        assert_eq!((refused.unwrap_err().message(), calls.get()), ("never", 1));
    }

    #[tokio::test]
    async fn the_budget_and_a_signal_end_it() {
        let policy = Policy { first: MS, most: 2 * MS, budget: 20 * MS };
        let stop = Stop::new();
        let failed = || async { Err::<(), _>(Error::retry("down")) };
        let error = retry(&policy, &stop, failed).await.unwrap_err();
        assert!(error.is_retry() && error.message().ends_with(" s: down"), "{error}");
        stop.request(2);
        let policy = Policy { first: 60_000 * MS, most: 60_000 * MS, budget: 600_000 * MS };
        let error = retry(&policy, &stop, failed).await.unwrap_err();
        assert_eq!(error.kind, Kind::Stopped(2));
    }
}
