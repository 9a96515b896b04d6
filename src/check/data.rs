//! MG03: rows of the source that the target would refuse, counted by query under the plan's filter; and rows that are
//! there already.

use super::{Check, Severity, catalogue};

catalogue! {
    NULLS "MG0301" "nulls" Error
        "Rows of the source have NULL where the target must have a value"
        "The target's column is NOT NULL and the source's is not. The rows were counted; the target would refuse each of \
         them and the run would stop there. As long as none is found nothing is said, but the source may still write one."
        "Fill the values at the source, exclude those rows with `where`, map `{ sql: \"coalesce(...)\" }`, or let the \
         target's column be null.";
    TOO_LONG "MG0302" "too-long" Error
        "Texts of the source are longer than the target's column"
        "Lengths are counted in characters. The target refuses such a text (or, where only spaces stick out, would cut \
         them off in silence)."
        "Widen the target's column, shorten the texts at the source, or map an expression that does.";
    OUT_OF_RANGE "MG0303" "out-of-range" Error
        "Integers of the source are beyond the target's type"
        "The target's integer type has fewer bits than these values need, and would refuse them."
        "Use a wider integer at the target.";
    TOO_MANY_DIGITS "MG0304" "too-many-digits" Error
        "Decimals of the source have more digits before the point than the target's type"
        "numeric(p,s) holds p - s digits before the point; the target would refuse these values."
        "Widen the precision of the target's column.";
    DUPLICATES "MG0305" "duplicates" Error
        "A unique index of the target meets equal rows of the source"
        "The target demands that these columns be unique and the source does not. Groups of rows with equal values were \
         counted, by the source's own equality; of each group the target would take one row and refuse the others."
        "Remove the doubles at the source, exclude them with `where`, or drop the index at the target.";
    UNIQUE_UNKNOWN "MG0306" "unique-unknown" Warning
        "A unique index of the target can't be checked beforehand"
        "The index is partial, is over an expression, or has a column that the plan does not fill, so equal rows can't be \
         counted at the source. A row that it refuses waits (`migrate dead-letters`)."
        "Compare the index with the source's by eye.";
    RULE_UNKNOWN "MG0307" "rule" Warning
        "A CHECK constraint of the target isn't one of the source"
        "The source has no constraint of the same text over the same columns, so it may hold rows that the target \
         refuses. The constraint is not tried on the source: it is another team's code. A row that it refuses waits \
         (`migrate dead-letters`)."
        "Give the source the same constraint, or test its condition there by a query of your own.";
    ORPHANS "MG0308" "orphans" Error
        "Rows of the source refer to parents that do not come along"
        "The target has a foreign key that the source lacks, does not enforce, or whose parents the plan filters. The rows \
         without a parent were counted, and the target would refuse them."
        "Remove or mend the rows, give both tables filters that agree, or drop the foreign key at the target.";
    NOT_COUNTED "MG0309" "not-counted" Warning
        "Rows could not be counted"
        "The query took longer than 30 seconds or failed, and was given up. So nobody knows yet whether the target takes \
         all rows; `apply` still refuses each that does not fit, with its key."
        "Count by a query of your own at a quiet time, or add an index that helps.";
    NUL_CHARACTERS "MG0310" "nul-characters" Error
        "Texts of the source have a NUL character"
        "PostgreSQL's text can hold every character but U+0000, and refuses the whole row. SQLite's text may have one in \
         the middle, behind which most tools show nothing."
        "Remove it at the source, or map an expression such as replace(v, char(0), '').";
    OTHER_CLASS "MG0311" "other-class" Error
        "Values of the source are not what their column declares"
        "SQLite keeps what it is given, so a column that is declared INTEGER may hold text. What such a value means is \
         not guessed, so it can't be read."
        "Repair those rows, or map an expression (a CAST) that says what is meant.";
    NOT_FINITE "MG0312" "not-finite" Error
        "Numbers of the source are NaN or infinite"
        "PostgreSQL's numbers may be NaN. SQLite turns it into NULL and MySQL refuses it, so the target can't hold the \
         value. Infinities, which PostgreSQL and SQLite have, MySQL refuses too."
        "Replace them at the source, exclude them with `where`, or map an expression.";
    NOT_EMPTY "MG0313" "not-empty" Error
        "The target holds rows already"
        "A first apply makes the target equal to the source, and would so remove rows that the source does not have. \
         That must be meant."
        "Empty the table, or say `on_existing: replace`: rows that the source does not have are then removed. Rows that \
         another constant of the plan sets apart do not count.";
    ROW_TOO_LARGE "MG0314" "row-too-large" Error
        "A row is larger than the stream may hold"
        "A row travels in one entry, which is cut into parts, but all of them must find room in the stream at once."
        "Raise `events.max_bytes`, or leave the large column behind with `skip`.";
    NOT_A_DATE "MG0315" "not-a-date" Error
        "Dates of the source are none"
        "MySQL and MariaDB let a column hold 0000-00-00, a date whose month or day is zero, and in some modes February 31. \
         No other engine has such dates, and what one stands for (unknown? never? some day of that month?) is not \
         guessed, so the row can't be read."
        "Repair those rows, exclude them with `where`, leave the column behind with `skip`, or map what is meant, as \
         { sql: \"if(year(d) = 0, null, d)\" }.";
    BEYOND_RANGE "MG0316" "beyond-range" Error
        "Dates or times of the source are beyond what can travel or what the target holds"
        "MySQL's dates are those of the years 1 to 9999, its `timestamp` begins in 1970 and ends on 2038-01-19; \
         PostgreSQL's may be BC, infinite, or later. And what MySQL calls a time may be negative or have more than 24 \
         hours, which is no time of the day anywhere else. The row would be refused."
        "Use `datetime(6)` in place of `timestamp` at the target, repair the rows, exclude them with `where`, leave the \
         column behind with `skip`, or map an expression (`sql:`) that says what is meant.";
    FINER_TIME "MG0317" "finer-time" Error
        "Times of the source are finer than the target's column keeps"
        "In MySQL a `time`, `datetime` or `timestamp` without a number keeps whole seconds, and would round what is finer \
         in silence. It is refused, since a rounded time compares as another one."
        "Give the target's column six digits, as in `datetime(6)`, or map an expression that rounds as you mean it.";
    OVER_PACKET "MG0318" "over-packet" Error
        "A row is larger than what the target's server takes in one statement"
        "A row is written by one statement, and MySQL ends the connection when a statement is larger than \
         `max_allowed_packet`: the run would stop there."
        "Raise `max_allowed_packet` on the target's server (1 GiB at most), or leave the large column behind with `skip`.";
    CHARACTERS "MG0319" "characters" Error
        "Texts of the source have characters that the target's column lacks"
        "In MySQL each column has a character set. `latin1` and `ascii` have few characters, and `utf8mb3` (also called \
         `utf8`) none beyond U+FFFF, so no emoji. The server would refuse such a text, or put a question mark there."
        "Give the target's column the character set utf8mb4, repair the rows, exclude them with `where`, or map an \
         expression (`sql:`) that says what stands for them.";
    ENDS_WITH_BLANK "MG0320" "ends-with-blank" Error
        "Texts of the source end with a blank that the target's column drops"
        "`char(n)` pads its values with blanks, so it can't tell which blanks belonged to the text. It would come back \
         without them."
        "Use `varchar(n)` at the target, or map an expression such as rtrim(v).";
    BYTE_LENGTH "MG0321" "byte-length" Error
        "Values of the source have more bytes, or fewer, than the target's column"
        "MySQL's text and blob types are bounded by bytes (`text` and `blob` by 65,535), and `binary(n)` holds exactly n: \
         shorter values would gain zeros."
        "Use `longtext`, `longblob` or a longer `varbinary(n)` at the target, or map an expression.";
    NO_MEMBER "MG0322" "no-member" Error
        "Texts of the source are no members of the target's enum or set"
        "Each text must be spelled as in the list, and those of a set must stand in its order. MySQL would take a text \
         in another case for the member, and a number for the member's place; it is refused before. An enum's empty \
         text, which MySQL puts in place of what it did not understand, is no member either. On PostgreSQL an enum goes \
         only into one of the same name, whose labels may be others (for texts make the column a text)."
        "Add the members at the target, repair the rows, or map an expression (`sql:`) that gives members.";
    NEGATIVE_ZERO "MG0323" "negative-zero" Error
        "Floats of the source are a negative zero, whose sign the target would lose"
        "A REAL column of SQLite keeps a zero as an integer, without a sign, and MySQL loses the sign where rows are \
         given as a list. It is equal to zero, but not the same value, so it would never verify."
        "Map { sql: \"v + 0.0\" }, which makes it a plain zero, or repair the rows.";
    COARSER "MG0324" "coarser" Warning
        "A unique index of the target compares texts by a collation that the source does not have"
        "It calls some different texts one (in most of MySQL's collations `A` is `a` and `é` is `e`, and in some `ß` is \
         `ss`). Texts that differ only in case, accents or blanks at the end were counted as equal, as far as this \
         collation is known to do so; a text that it calls equal for another reason is found when it comes, and \
         waits with its key."
        "Give the target's column a binary collation (utf8mb4_nopad_bin, in MySQL 8 utf8mb4_0900_bin), or compare the \
         texts by a query of your own.";
    KEY_FORM "MG0325" "key-form" Error
        "Keys of the source are not spelled as they must be to be found again"
        "SQLite keeps uuids, dates, times and long decimals as texts of any form. A key is looked up by its text, and only \
         by the one that migrate itself would write: 36 small characters for a uuid, `YYYY-MM-DD HH:MM:SS` without zeros \
         at the end of a fraction, `1.1` for `1.10`. Years that take more or less than four digits are not counted."
        "Spell these keys so at the source, or use another key.";
    BEYOND_ROUNDED "MG0326" "beyond-rounded" Error
        "Numbers of the source are beyond the target's type even when they are rounded"
        "`accept: lossy` lets a number lose digits, not become another one: what is too large for an integer, or would be \
         an infinity in a smaller float, is refused, and so is NaN where the target has only integers."
        "Use a wider type at the target, repair the rows, exclude them with `where`, or map an expression (`sql:`).";
    STRANGE_UUID "MG0327" "strange-uuid" Error
        "Uuids of the source are none for MariaDB's own type"
        "MariaDB's `uuid` takes no value that says a version beyond 7 (the third group begins with 8 to f) in a variant \
         before RFC 4122's (the fourth begins with 0 to 7). A random uuid is never such a one; 16 bytes of something else \
         may be."
        "Use `char(36)` or `binary(16)` at the target, or repair the rows.";
    CROSSES_SCOPES "MG0328" "crosses-scopes" Error
        "Rows refer to a row of another scope"
        "While the two scopes live on different sides, the row that is referred to may be deleted at one store while the \
         other takes a row that refers to it: neither refuses it, and then one can't be carried to the other."
        "Repair the rows, put the scope's column into the foreign key, or leave `scope_by` out.";
}
