//! MG00 and MG01: the plan's file, and the plan against both catalogues.

use super::{Check, Severity, catalogue};

catalogue! {
    PLAN_FILE "MG0001" "plan-file" Error
        "The plan file can't be read as a plan"
        "The file is no YAML, has an unknown or doubled key, a value of the wrong type, a variable that is not set, or a \
         secret written out. Nothing is guessed: a key with a typing error would otherwise be silently without effect."
        "Mend the line that is shown; docs/plan.md lists every key.";
    NO_KEY "MG0101" "no-key" Error
        "The source table has no key"
        "Capture writes down which keys changed, and the relay reads the rows of those keys. Without a key no row can be \
         named, so no change of it could be carried, compared or repaired."
        "Give the table a primary key, or a unique index over columns that are NOT NULL and name it with `key: [...]`.";
    KEY_NULLABLE "MG0102" "key-nullable" Error
        "A key column may be null"
        "NULL equals nothing, not even another NULL: two rows may have the same key with a NULL in it, and a look-up \
         finds neither."
        "Declare the column NOT NULL at the source, or choose another key with `key: [...]`.";
    KEY_NOT_UNIQUE "MG0103" "key-not-unique" Error
        "The key that the plan names is no key of the source"
        "The columns are neither the primary key nor a whole unique index (not partial, not over expressions, checked at \
         once). Only an index that the source itself enforces makes one row of one key."
        "Name the columns of an existing unique index, all of them, or make one at the source.";
    KEY_KIND "MG0104" "key-kind" Error
        "A key column is of a kind that can't be looked up exactly"
        "Floats, JSON and an engine's own types have no single spelling that both engines compare alike, so a row might \
         not be found by its own key."
        "Use a key of integers, text, uuid, bytes, decimals, dates or times.";
    KEY_LOSSY "MG0105" "key-lossy" Error
        "A key column would lose values"
        "Where a key is rounded or cut on its way, two rows of the source can become one at the target, and one of them \
         would overwrite the other."
        "Widen the target's column. `accept: lossy` is not possible for a key.";
    KEY_NOT_MAPPED "MG0106" "key-not-mapped" Error
        "A key column isn't mapped by its name"
        "The target finds a row by the source's key. A key column that stays behind, or that travels only inside an \
         expression, leaves the target without it."
        "Map it by name, `columns: { id: id }`; the target's column may be called otherwise.";
    TARGET_KEY "MG0107" "target-key" Error
        "The mapped key is no key of the target"
        "For each row of the source the target must hold exactly one, which its own catalogue guarantees only by a \
         primary key or a whole unique index over the mapped key columns (constants of the plan may be part of it). \
         Without one an upsert could hit several rows or none."
        "At the target, make these columns the primary key, or NOT NULL with a unique index over exactly them.";
    KEY_SPELLING "MG0108" "key-spelling" Warning
        "A key column is text that travels as another kind"
        "Two spellings of one value (a uuid in capitals and in small letters) are two keys at the source and one key at \
         the target. The run stops at the first row that is not in the usual spelling."
        "Nothing, if all keys are spelled alike; else bring them to one spelling at the source.";
    SOURCE_TABLE "MG0110" "source-table" Error
        "The source has no such table"
        "Names are as the catalogue spells them. On PostgreSQL a name without a schema means `public`."
        "Correct `from`, or write `schema.table`.";
    TARGET_TABLE "MG0111" "target-table" Error
        "The target has no such table"
        "The plan says nothing of making it. Names are as the catalogue spells them."
        "Correct `to`, make the table, or let migrate make it: `create_tables: true`.";
    SOURCE_COLUMN "MG0112" "source-column" Error
        "The source table has no such column"
        "A column that `columns`, `key` or `skip` names does not exist in the source's catalogue."
        "Correct the name; the hint shows what is near.";
    TARGET_COLUMN "MG0113" "target-column" Error
        "The target table has no such column"
        "A column is mapped to one that the target's catalogue does not have."
        "Correct the name, skip the source's column, or add the column to the target.";
    SAME_TARGET "MG0114" "same-target" Error
        "Two tables of the plan go to one target table, and their rows could meet"
        "Each of them would take the other's rows for rows that the source does not have. They may share a table only \
         where a column of the target's key has another constant in each (and, of a collation that folds, one that it \
         tells apart for sure): every statement is bounded by it, and no key of one is a key of the other."
        "Give each its own target table, or `{ const: ... }` with different values in a column of the target's key.";
    LEFT_OVER "MG0115" "left-over" Error
        "A source column is neither mapped nor skipped"
        "Where the plan lists `columns`, a column that it forgets would stay behind without a word; that loss must be \
         meant."
        "Map it, use it in an expression, or say `skip: [...]`.";
    MUST_HAVE_VALUE "MG0116" "must-have-value" Error
        "A target column must have a value, and none is mapped"
        "The column is NOT NULL without a default, so the target would refuse every row."
        "Map a source column or an expression to it, a constant (`{ const: ... }`), or give it a default at the target.";
    GENERATED "MG0117" "generated" Error
        "A target column is computed by the target itself"
        "A generated column takes no value from outside. It is computed anew from the other columns, as its definition \
         at the target says."
        "Skip the source's column; compare the two definitions by eye.";
    EXPRESSION "MG0118" "expression" Error
        "An expression of the plan can't be used"
        "Rows are read once for a change, once for the backfill and again for a comparison, and each time the value must \
         be the same. So an expression must be an immutable function of its one row: no clock, no chance, no setting, no \
         other table, no aggregate. The source itself was asked, with a syntax check or a temporary copy of the table's \
         definition that is rolled back."
        "Write it with immutable functions over columns of the row, such as lower(email).";
    FILTER "MG0119" "filter" Error
        "The filter of a table can't be used"
        "A row of the source is ours as long as `where` holds for it, and one of the target as long as `owns` does. That \
         must depend on the row alone, or rows would enter and leave without being captured: no clock, no chance, no \
         other table."
        "Write an immutable condition over columns of the row, such as deleted_at IS NULL.";
    CONSTANT "MG0120" "constant" Error
        "A constant does not fit its column"
        "Constants bound which rows of the target are ours, so they must be held exactly by the target's column."
        "Write it in the form that the hint shows.";
    LOSSY "MG0121" "lossy" Error
        "Values would change on their way into the target's type"
        "The target's type would round, cut or reinterpret values without an error, and the data would silently differ."
        "Widen the target's column, or say that it is meant: `accept: lossy`. What is accepted is rounded once, at the \
         source, and compared in the rounded form.";
    LOSSY_ACCEPTED "MG0122" "lossy-accepted" Warning
        "Values change on their way, as the plan accepts"
        "The plan says `accept: lossy` for a column whose type at the target is narrower. Going back to the source later \
         does not bring the lost digits back."
        "Nothing, if it is meant.";
    LOSSY_NEEDLESS "MG0123" "lossy-needless" Warning
        "`accept: lossy` is not needed"
        "The two types hold the same values. The word would hide a loss that a later change of the target brings."
        "Remove `accept: lossy`.";
    NO_MEANING "MG0124" "no-meaning" Error
        "Two types have no meaning for each other"
        "No conversion is defined between these types, and none is guessed."
        "Convert with an expression of the source, `{ sql: ... }`, or skip the column.";
    ROLLBACK_LOSES "MG0125" "rollback-loses" Warning
        "Rolling back would lose what a column of the source holds"
        "After a cut over the target is the store that is written, and the source is kept current from it. A column that \
         stays behind, or that only an expression reads, gets no value from there: rows that exist keep what they had, \
         and new rows have none. A column by its name, and one by a cast that keeps every value, go back by themselves."
        "Nothing, if it is meant; or say how it comes back, in SQL of the target: `reverse: { column: \"...\" }`.";
    REVERSE "MG0126" "reverse" Error
        "A reverse expression can't be used"
        "`reverse` gives a source column back from one row of the target table. It must be an immutable expression of \
         the target's engine over columns of that row, of a type that the source's column takes without loss. A key goes \
         back by its name only: its values must stay one to one."
        "Write it over the target's columns, with a cast where types differ; or leave it out, and the column is lost.";
    TOLERANCE "MG0127" "tolerance" Error
        "A tolerance can't be used"
        "A tolerance says how far two numbers may lie apart and still count as equal when they are compared. It is for \
         numbers that travel, and never for a key: another key is another row."
        "Declare it for a column of numbers outside the key, by its name at the target.";
    SCOPE "MG0128" "scope" Error
        "A table can't be divided by the plan's scope"
        "`scope_by` names the column by whose value a part of the rows changes its owner before the others. Both stores \
         decide by it who may write a row, so each table has it, it travels by itself, and its value has one text on \
         both: an integer, a text of varying length, or a native uuid."
        "Name another column in the table's own `scope_by`, or leave `scope_by` out and cut over everything at once.";
    SCOPE_UNIQUE "MG0129" "scope-unique" Error
        "A unique key has no scope in it, so that rows of two scopes could meet"
        "While some scopes live on each side both stores take new rows. Two of them with one key would be two rows under \
         one name, of which each store has another. A key is told apart by the scope in it, by a uuid, or by a number that \
         each store takes from a range of its own: for that both must number the column by themselves, one of them by a \
         PostgreSQL sequence (the other's numbers would move any other kind), and SQLite with AUTOINCREMENT."
        "Add the scope's column to the key, use a uuid, let both stores number it (one of them PostgreSQL), or leave \
         `scope_by` out and cut over everything at once.";
}
