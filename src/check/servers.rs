//! MG04 and MG05: the two stores themselves, the rights of our logins, and the broker.

use super::{Check, Severity, catalogue};

catalogue! {
    RIGHTS "MG0401" "rights" Error
        "A login lacks rights"
        "Each login was checked for what its part needs, and no more: `url` reads the source and writes the target's rows, \
         `admin_url` installs and removes. The statements that give what is missing are listed."
        "Let the owner run the statements that are shown; `migrate grants PLAN` prints the whole least set.";
    OLD_SERVER "MG0402" "old-server" Error
        "The server's version is too old"
        "What capture or sealing stands on does not exist in this version, or behaves otherwise."
        "Upgrade the server. PostgreSQL: 12 or later; MariaDB: 10.6 or later; MySQL: 8.0 or later.";
    READ_ONLY "MG0403" "read-only" Error
        "The store can't be written, or is a replica"
        "Capture needs triggers and control tables where the application writes; a standby takes neither, and its primary \
         could go on without it. On a MySQL or MariaDB replica the rows that replication brings fire no triggers."
        "Give the primary's address in the plan; end what keeps the database or the login read-only.";
    ENCODING "MG0404" "encoding" Error
        "The target's encoding can't hold what the source may hold"
        "The source keeps text as Unicode, the target in an encoding with fewer characters, and it refuses the others."
        "Use a target database with the encoding UTF8.";
    NOT_SAFE "MG0405" "crash-safety" Warning
        "The server may lose acknowledged transactions in a crash"
        "With fsync or full_page_writes off (MySQL: innodb_flush_log_at_trx_commit other than 1) a power cut may lose or \
         damage what was committed. migrate carries what the store holds; it can't bring back what the store has \
         forgotten."
        "Switch fsync and full_page_writes on; MySQL: SET GLOBAL innodb_flush_log_at_trx_commit = 1, innodb_doublewrite on.";
    JOURNAL "MG0406" "journal-mode" Warning
        "The SQLite file keeps no write-ahead log yet"
        "Readers and the writer must not wait for each other, so `apply` switches the file to `journal_mode = WAL`, and \
         `abort` switches it back. It needs a local disk, and the file is then accompanied by -wal and -shm."
        "Nothing, if the application bears it; or switch it on beforehand.";
    FREE_SPACE "MG0407" "free-space" Warning
        "The target's disk may be too small"
        "Free bytes where the target's file lies are fewer than twice the estimated size of what comes. A full disk \
         stops the run; nothing is lost, but whoever shares the disk stops too."
        "Free space on that disk, or add some.";
    CLOCK "MG0408" "clock" Warning
        "Clocks differ"
        "Leases and lag are told by the databases' clocks, each by its own. Nothing depends on their agreement, but what \
         is shown as lag is off by the difference, and so is the order of times in the two journals."
        "Let all machines follow a time server.";
    SUPERUSER "MG0409" "superuser" Warning
        "A login is a superuser"
        "migrate needs no superuser. Whatever goes wrong can do no more damage than its login may; and checks of rights \
         and of row security say nothing for a login that may do everything."
        "Use logins with the least rights: `migrate grants PLAN` prints them.";
    EVENT_TRIGGER "MG0410" "event-trigger" Warning
        "An event trigger fires on DDL"
        "Installing and removing capture makes and drops a schema, tables and triggers. The event trigger sees that, may \
         refuse it, and may act on it."
        "Make sure that it lets objects of the schema `_migrate_...` pass.";
    PREPARED "MG0411" "prepared-transactions" Warning
        "Prepared transactions are open"
        "A transaction that was prepared and neither committed nor rolled back keeps its locks, for ever if need be. \
         Where it touched a table of the plan, installing waits for it in vain; its rows arrive when it commits."
        "COMMIT PREPARED or ROLLBACK PREPARED what is not needed any more (the view pg_prepared_xacts lists it). MySQL: \
         XA COMMIT or XA ROLLBACK what XA RECOVER lists.";
    LAX_MODE "MG0412" "lax-mode" Warning
        "The server's sql_mode is not strict"
        "Without STRICT_TRANS_TABLES the server cuts, rounds or zeroes what does not fit an application's column, and says \
         so in a warning that few read. migrate's own sessions are strict, so nothing that travels is altered. But the \
         source may get zero dates and empty strings in place of values at any time, and an application that comes to \
         the target would lose parts of values that its old store refused."
        "Set sql_mode with STRICT_TRANS_TABLES, NO_ZERO_DATE and NO_ZERO_IN_DATE, after a look at what the application does.";
    BROKER "MG0501" "broker" Error
        "The broker can't be reached, or refuses us"
        "Between the stores everything goes over NATS JetStream, unless the plan leaves `events` out."
        "Check `events.url` and the login.";
    JETSTREAM_OFF "MG0502" "jetstream-off" Error
        "JetStream is not enabled"
        "A plain subject forgets what nobody listens to; the log needs a stream."
        "Start the server with `--jetstream`, or enable it for this account.";
    PAYLOAD "MG0503" "payload" Error
        "The broker takes only tiny messages"
        "An entry is cut into parts, but a part has a header and must carry something."
        "Raise `max_payload` in the server's configuration; its default is 1 MiB.";
    STREAM_BOUND "MG0504" "stream-bound" Error
        "The stream can't hold the largest entry"
        "All parts of one entry must find room in the stream at once, or it would wait for room for ever."
        "Raise `events.max_bytes`, or lower `backfill.chunk_bytes`.";
    STORAGE "MG0505" "storage" Error
        "The account has too little storage for the stream"
        "The broker keeps the stream's bound reserved, and the account's limit leaves less than that."
        "Lower `events.max_bytes`, or raise the account's storage limit.";
    BROKER_RELEASE "MG0506" "broker-release" Warning
        "The broker's release has a known hole"
        "CVE-2026-33222 lets others of the same server act on streams that are not theirs. What comes out of a stream is \
         checked by its chain, so data stays right; the migration can be held up."
        "Upgrade to 2.11.15, 2.12.6 or later, or keep its JetStream API private.";
}
