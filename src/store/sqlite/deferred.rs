//! The one call of SQLite's C interface that has no SQL: how many deferred foreign keys are violated right now.

use libsqlite3_sys::{SQLITE_DBSTATUS_DEFERRED_FKS, SQLITE_OK, sqlite3_db_status};
use sqlx::SqliteConnection;

/// Constant time. False where foreign keys are not enforced.
pub async fn is_violated(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let mut handle = connection.lock_handle().await?;
    let (mut now, mut high) = (0, 0);
    // SAFETY: the lock keeps the connection open and its own thread away from it; both integers outlive the call.
    let code = unsafe {
        sqlite3_db_status(handle.as_raw_handle().as_ptr(), SQLITE_DBSTATUS_DEFERRED_FKS, &mut now, &mut high, 0)
    };
    Ok(code != SQLITE_OK || now != 0)
}
