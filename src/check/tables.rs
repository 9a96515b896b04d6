//! MG02: tables that can't be captured or written right, and what else touches them.

use super::{Check, Severity, catalogue};

catalogue! {
    NOT_A_TABLE "MG0201" "not-a-table" Error
        "It is a view or something else that is no ordinary table"
        "Capture is a trigger on the table that the rows live in. A view, a foreign table or a virtual table either takes \
         no row trigger or changes without firing it."
        "Name the tables behind it.";
    NOT_DURABLE "MG0202" "not-durable" Error
        "The table does not survive a crash, or knows no transactions"
        "An unlogged table is emptied by a crash and a non-transactional one keeps rows of a transaction that was rolled \
         back; in both cases what was captured and what the table holds part without a trace."
        "PostgreSQL: ALTER TABLE ... SET LOGGED. MySQL: ALTER TABLE ... ENGINE = InnoDB.";
    ROW_SECURITY "MG0203" "row-security" Error
        "Row security hides rows from this login"
        "A login that sees only some rows would copy only those, and a comparison by the same login would call that equal."
        "Use a login that owns the table or has BYPASSRLS; or state the subset with `where`.";
    INHERITANCE "MG0204" "inheritance" Error
        "The table inherits from another, or is inherited by one"
        "A parent shows the rows of its children as its own, but a trigger on the parent does not see them change. \
         (Declared partitions are fine: triggers on a partitioned table reach all of its partitions.)"
        "Take out the inheritance (ALTER TABLE ... NO INHERIT), or make it a partitioned table.";
    PARTITION "MG0205" "partition" Error
        "The plan names one partition, or a foreign table is one of its partitions"
        "Rows may move between partitions, and a plan that names only one of them would see that as a loss. Partitions \
         that are foreign tables change elsewhere, without a trigger."
        "Name the partitioned table itself, with `where` for a part of it; detach foreign partitions.";
    RULES "MG0206" "rules" Error
        "The table has rules that rewrite statements"
        "A rule turns what is written into something else, so that what arrives is not what was sent."
        "Replace the rule by a trigger, or drop it until the migration is finished.";
    DEFERRABLE_KEY "MG0207" "deferrable-key" Error
        "The primary key is deferrable"
        "A deferrable key may hold twice inside a transaction and can't be the target of an upsert."
        "Make the primary key NOT DEFERRABLE.";
    SYSTEM_TABLE "MG0208" "system-table" Error
        "The table belongs to the system"
        "A catalogue's tables take no triggers and change in ways of their own."
        "Remove it from the plan.";
    CONFLICT_CLAUSE "MG0209" "conflict-clause" Error
        "A constraint resolves conflicts by itself (ON CONFLICT)"
        "With ON CONFLICT REPLACE or IGNORE in its definition SQLite removes or drops rows in place of refusing them: a \
         collision would be hidden."
        "Make the table anew without the clause.";
    NEEDS_APPLICATION "MG0210" "needs-application" Error
        "The table needs a function or collation that only the application has"
        "SQLite lets an application bring functions and collations of its own. Without them its table can't be read or \
         ordered as the application does."
        "Use SQLite's own collations and functions in the table's definition.";
    UNFIT_TABLE "MG0211" "unfit-table" Error
        "The engine can't capture or write this table right"
        "Something about the table keeps changes from being seen, or rows from being written exactly; the message says \
         what."
        "Change it as the message says, or remove the table from the plan.";
    KEY_RING "MG0212" "key-ring" Error
        "Foreign keys of the target go round"
        "Rows are written parents first. In a ring of several tables no order has every parent before its children. (A \
         table that refers to itself is fine.)"
        "Drop one of the foreign keys at the target until the migration is finished.";
    TARGET_CASCADE "MG0213" "target-cascade" Error
        "A foreign key of the target changes rows by itself"
        "ON DELETE CASCADE, SET NULL or SET DEFAULT between migrated tables would change rows at the target that a later \
         entry still needs. The source's own deletes arrive by themselves, so nothing is lost without it."
        "Make the foreign key NO ACTION at the target until the migration is finished.";
    UNSEEN_CASCADE "MG0214" "unseen-cascade" Error
        "A foreign key of the source changes rows unseen by triggers"
        "On MySQL and MariaDB rows that a cascade deletes or changes fire no triggers, so capture would miss them. (On \
         PostgreSQL and SQLite cascades do fire triggers.)"
        "Make the foreign key NO ACTION at the source, and let the application delete the children.";
    TARGET_TRIGGER "MG0215" "target-trigger" Warning
        "A trigger of the target fires for the rows that migrate writes"
        "What it does was perhaps done at the source already, and then happens twice: a second mail, a second history \
         row, a counter that counts double. A trigger that alters the row makes the comparison fail."
        "Disable it at the target until the cut over, unless it may fire for every row that arrives.";
    ALL_TABLES_PUBLICATION "MG0216" "all-tables-publication" Warning
        "A publication FOR ALL TABLES takes migrate's own tables in"
        "Logical replication sends the control tables to its subscribers too, and a subscriber without those tables stops \
         with an error. At the target it also sends on every row that is copied."
        "Replace it by a publication of named tables or schemas, or make sure that its subscribers bear it.";
    SUBSCRIBED "MG0217" "subscribed" Warning
        "Logical replication writes this table too"
        "A subscription fills the table. At the source its rows are captured as anybody's; at the target two writers \
         would work on the same rows, and the comparison finds whatever differs."
        "At the target, end the subscription for this table before `apply`.";
    NUMBERING "MG0218" "numbering" Warning
        "The source numbers new rows by itself, the target does not"
        "The source fills this key column by a sequence, an identity or a rowid; at the target it has no default. \
         While rows come from the source nothing is missing; an application that inserts at the target later must bring \
         its own numbers."
        "Give the target's column an identity or a default before its application inserts there.";
    OUTSIDE_PARENT "MG0219" "outside-parent" Warning
        "A foreign key of the target refers to a table that the plan does not move"
        "A row is refused when its parent is not there, and the plan does not bring the parent."
        "Move the parent too, fill it before `apply`, or drop the foreign key until the migration is finished.";
    SAME_TABLE "MG0220" "same-table" Error
        "Source and target are the same table of the same store"
        "Each row that is applied would be captured as a change again, and rows outside the filter would be deleted from \
         the only copy there is."
        "Correct the URL or the name of the target.";
    NAME_TOO_LONG "MG0221" "name-too-long" Error
        "A table that is to be made has a name that the target can't have"
        "PostgreSQL cuts a name behind 63 bytes in silence, so that two names may become one; MySQL takes 64 characters, \
         none beyond U+FFFF, and no blank at the end."
        "Name it anew: `to:` for the table, `columns: { shorter: name }` for a column.";
}
