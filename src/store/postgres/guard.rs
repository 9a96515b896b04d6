//! The text of the gate's function: who passes, who is refused. Pure.
//!
//! A fence's deadline, and which scopes are named and which of them it covers, are literals in it: a row is what an older
//! snapshot may not see. Who owns a scope is read, and shared until the writer's transaction ends.

use super::gate::{Gate, Held};
use super::name::{literal, quote};
use super::{Postgres, capture};
use crate::store::engine::Engine;
use crate::store::gate::{OWNER, refusal};

impl Gate<'_> {
    pub(super) fn body(&self, grantee: &str, held: &Held) -> String {
        if self.scopes.is_empty() {
            self.whole_body(grantee, held.deadline_ms)
        } else {
            self.scoped_body(grantee, held)
        }
    }

    /// Which scopes are named is a literal too: a snapshot older than a scope's row finds none, and is refused.
    fn scoped_body(&self, grantee: &str, held: &Held) -> String {
        let (rows, now) = (&self.rows, Postgres::NOW_MS);
        let list = |only_covered: bool| {
            let named = held.scopes.iter().filter(|(_, covered)| *covered || !only_covered);
            let texts: Vec<String> = named.map(|(scope, _)| literal(scope)).collect();
            format!("ARRAY[{}]::text[]", texts.join(", "))
        };
        format!(
            "{}
    named CONSTANT text[] := {};
    covered CONSTANT text[] := {};
    rest CONSTANT boolean := {};
    scopes text[] := ARRAY[]::text[];
    scope_ text;
    shut bigint;
BEGIN
    IF session_user = {} AND current_setting('{}', true) = {} THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        IF {now} >= until_ms AND NOT EXISTS (SELECT FROM {rows} WHERE id >= {OWNER} AND closed <> 0) THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION {refusal}, TG_TABLE_NAME USING ERRCODE = 'MG002';
    END IF;
    IF TG_OP <> 'INSERT' THEN
        {}
    END IF;
    IF TG_OP <> 'DELETE' THEN
        {}
    END IF;
    IF cardinality(scopes) = 0 THEN
        RAISE EXCEPTION 'the gate does not know the scope of %', TG_TABLE_NAME USING ERRCODE = 'MG002';
    END IF;
    FOREACH scope_ IN ARRAY scopes LOOP
        IF {now} >= until_ms OR NOT (CASE WHEN scope_ = ANY (named) THEN scope_ = ANY (covered) ELSE rest END) THEN
            shut := NULL;
            IF scope_ = ANY (named) THEN
                SELECT closed INTO shut FROM {rows} WHERE scope = scope_;
                IF shut = 0 THEN
                    SELECT closed INTO shut FROM {rows} WHERE scope = scope_ FOR SHARE;
                END IF;
            ELSE
                SELECT closed INTO shut FROM {rows} WHERE id = {OWNER};
                IF shut = 0 THEN
                    SELECT closed INTO shut FROM {rows} WHERE id = {OWNER} FOR SHARE;
                END IF;
            END IF;
            IF shut = 0 THEN
                CONTINUE;
            END IF;
        END IF;
        RAISE EXCEPTION {refusal}, TG_TABLE_NAME USING ERRCODE = 'MG002';
    END LOOP;
    RETURN NULL;
END",
            until(held.deadline_ms),
            list(false),
            list(true),
            held.covers_rest,
            literal(grantee),
            capture::APPLIER,
            literal(self.migration),
            self.scope_of("OLD"),
            self.scope_of("NEW"),
            refusal = literal(&refusal("%")),
        )
    }

    /// The columns' names differ between the tables of a side; which one a trigger's table has is its argument.
    fn scope_of(&self, image: &str) -> String {
        let one = |column: &String| {
            let (name, text) = (literal(column), format!("{image}.{}", quote(column)));
            format!("IF TG_ARGV[0] = {name} THEN scopes := array_append(scopes, {text}::text); END IF;\n        ")
        };
        self.scopes.iter().map(one).collect()
    }

    /// The deadline stands first, so that it can be written anew without knowing the rest.
    fn whole_body(&self, grantee: &str, until_ms: i64) -> String {
        let (rows, now) = (&self.rows, Postgres::NOW_MS);
        format!(
            "{}
    shut bigint;
BEGIN
    IF session_user = {} AND current_setting('{}', true) = {} THEN
        RETURN NULL;
    END IF;
    IF {now} >= until_ms THEN
        SELECT closed INTO shut FROM {rows} WHERE id = {OWNER};
        IF shut = 0 THEN
            SELECT closed INTO shut FROM {rows} WHERE id = {OWNER} FOR SHARE;
            IF shut = 0 THEN
                RETURN NULL;
            END IF;
        END IF;
    END IF;
    RAISE EXCEPTION {}, TG_TABLE_NAME USING ERRCODE = 'MG002';
END",
            until(until_ms),
            literal(grantee),
            capture::APPLIER,
            literal(self.migration),
            literal(&refusal("%"))
        )
    }
}

fn until(until_ms: i64) -> String {
    format!("DECLARE\n    until_ms CONSTANT bigint := {until_ms};")
}

/// The same function with no deadline to wait for.
pub(super) fn without_deadline(body: &str) -> String {
    let rest = body.split_once(';').map_or(body, |(_, rest)| rest);
    until(0) + rest
}
