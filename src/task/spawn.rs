//! A spawned task that cannot be forgotten: dropped it ends, joined its panic is an error.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Runs `future` beside the caller. `name` stands in the error if it panics.
pub fn spawn<T, F>(name: impl Into<String>, future: F) -> Task<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    Task { name: name.into(), handle: tokio::spawn(future) }
}

/// Work that runs beside its owner and ends with it. Await it (or `&mut` it, in `select!`) for its result.
#[must_use = "a task is aborted when it is dropped"]
#[derive(Debug)]
pub struct Task<T> {
    name: String,
    handle: JoinHandle<Result<T>>,
}

impl<T> Task<T> {
    pub async fn join(self) -> Result<T> {
        self.await
    }

    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(cx).map(|joined| match joined {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(Error::give_up(format!("bug: task \"{}\" panicked", self.name))
                .hint("what it said stands above; run the same command again, and report it if it comes back")),
            Err(_) => Err(Error::give_up(format!("task \"{}\" was ended before it was done", self.name))),
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_is_an_error_that_names_the_task() {
        let error = spawn::<(), _>("relay", async { panic!("secret row") }).join().await.unwrap_err();
        assert_eq!(error.kind, Kind::GiveUp);
        assert_eq!(error.message(), "bug: task \"relay\" panicked");
    }

    #[tokio::test]
    async fn a_result_comes_back_as_it_is() {
        assert_eq!(spawn("a", async { Ok(7) }).join().await.unwrap(), 7);
        let error = spawn::<(), _>("b", async { Err(Error::retry("gone")) }).join().await.unwrap_err();
        assert!(error.is_retry());
    }

    #[tokio::test]
    async fn a_dropped_task_ends() {
        let alive = Arc::new(());
        let held = alive.clone();
        let task = spawn("sleeper", async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            drop(held);
            Ok(())
        });
        tokio::task::yield_now().await;
        drop(task);
        for _ in 0..1000 {
            if Arc::strong_count(&alive) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("it still runs");
    }
}
