//! What the catalogue is said to hold, which expressions may stand in a plan, and which rights are missing.

use super::{Place, named};
use crate::support::{PgDatabase, exec, query_text};
use migrate::schema::{Column, Kind, TableName};
use migrate::store::Role;
use migrate::store::engine::Engine;
use migrate::store::postgres::Postgres;

fn column<'a>(columns: &'a [Column], name: &str) -> &'a Column {
    columns.iter().find(|c| c.name == name).unwrap()
}

#[tokio::test]
async fn columns_are_what_they_were_declared() {
    let ddl = "CREATE DOMAIN money2 AS numeric(12,2) NOT NULL; CREATE DOMAIN outer_money AS money2; CREATE DOMAIN padded AS char(4);
        CREATE TYPE mood AS ENUM ('a'); CREATE TABLE \"T \"\"able\" (
        id bigint GENERATED ALWAYS AS IDENTITY, sid serial, n numeric, nn numeric(30,0), neg numeric(5,-2), v varchar(160) NOT NULL,
        vu varchar, c char(3), d outer_money, p padded, m mood, ar text[], g int GENERATED ALWAYS AS (sid + 1) STORED, j jsonb, js json,
        tc text COLLATE \"C\", tp text COLLATE \"POSIX\", te text COLLATE \"en-x-icu\", t text, ts timestamp(3), dropped int, \"We\"\"ird\" time,
        PRIMARY KEY (v, id)); ALTER TABLE \"T \"\"able\" DROP COLUMN dropped";
    let place = Place::new("columns", ddl).await;
    let table = place.run.describe(&TableName { schema: None, name: "T \"able".into() }).await.unwrap().unwrap();
    assert_eq!(table.primary_key, ["v", "id"]);
    assert_eq!(table.columns.len(), 21);
    assert!(table.obstacles.is_empty(), "{:?}", table.obstacles);
    let decimal = |p, s| Kind::Decimal { precision: p, scale: s };
    for (name, kind, type_name) in [
        ("id", Kind::Int { bits: 64 }, "bigint"),
        ("n", decimal(None, None), "numeric"),
        ("nn", decimal(Some(30), Some(0)), "numeric(30,0)"),
        ("neg", Kind::Opaque("numeric(5,-2)".into()), "numeric(5,-2)"),
        ("v", Kind::Text { max_chars: Some(160) }, "character varying(160)"),
        ("vu", Kind::Text { max_chars: None }, "character varying"),
        ("c", Kind::Text { max_chars: Some(3) }, "character(3)"),
        ("d", decimal(Some(12), Some(2)), "outer_money"),
        ("p", Kind::Opaque("character(4)".into()), "padded"),
        ("m", Kind::Opaque("mood".into()), "mood"),
        ("ar", Kind::Opaque("text[]".into()), "text[]"),
        ("j", Kind::Json, "jsonb"),
        ("js", Kind::Opaque("json".into()), "json"),
        ("ts", Kind::Timestamp, "timestamp(3) without time zone"),
        ("We\"ird", Kind::Time, "time without time zone"),
    ] {
        let column = column(&table.columns, name);
        assert_eq!((&column.kind, column.type_name.as_str()), (&kind, type_name), "{name}");
    }
    let facts = |name| {
        let c = column(&table.columns, name);
        (c.nullable, c.has_default, c.generated, c.identity_always, c.binary_order, c.collation.clone())
    };
    assert_eq!(facts("id"), (false, true, false, true, true, None));
    assert_eq!(facts("sid"), (false, true, false, false, true, None));
    assert_eq!(facts("g"), (true, true, true, false, true, None));
    assert_eq!(facts("tc"), (true, false, false, false, true, Some("pg_catalog.\"C\"".into())));
    assert_eq!(facts("te"), (true, false, false, false, false, Some("pg_catalog.\"en-x-icu\"".into())));
    assert_eq!(facts("t"), (true, false, false, false, true, None), "the test's cluster is C.UTF-8");
    assert!(place.run.describe(&named("nowhere")).await.unwrap().is_none());
}

#[tokio::test]
async fn keys_references_and_obstacles_are_seen() {
    let ddl = "CREATE TABLE p (a int, b int, c int, PRIMARY KEY (b, a)); CREATE TABLE t (id int PRIMARY KEY, x int, y int, z int UNIQUE,
        CONSTRAINT two UNIQUE (y, x) INCLUDE (z), CONSTRAINT later UNIQUE (x) DEFERRABLE,
        CONSTRAINT one FOREIGN KEY (x, y) REFERENCES p (a, b) ON DELETE SET NULL, self int CONSTRAINT self REFERENCES t DEFERRABLE);
        CREATE UNIQUE INDEX part ON t (x) WHERE y > 0; CREATE UNIQUE INDEX expr ON t (abs(x), y);
        CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW mv AS SELECT * FROM t; CREATE UNLOGGED TABLE ul (id int);
        CREATE TABLE par (id int); CREATE TABLE kid () INHERITS (par); CREATE TABLE ok (id int) PARTITION BY LIST (id);
        CREATE TABLE ok1 PARTITION OF ok FOR VALUES IN (1); CREATE TABLE sec (id int); ALTER TABLE sec ENABLE ROW LEVEL SECURITY;
        CREATE TABLE latekey (id int PRIMARY KEY DEFERRABLE); CREATE TABLE ruled (id int);
        CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING";
    let place = Place::new("keys", ddl).await;
    let t = place.describe("t").await;
    let uniques: Vec<_> = t.uniques.iter().map(|u| (u.name.as_str(), u.columns.join(","), u.partial)).collect();
    assert_eq!(
        uniques,
        [
            ("expr", "y".into(), true),
            ("later", "x".into(), true),
            ("part", "x".into(), true),
            ("t_z_key", "z".into(), false),
            ("two", "y,x".into(), false)
        ]
    );
    let keys: Vec<_> = t
        .foreign_keys
        .iter()
        .map(|k| (k.name.as_str(), k.columns.join(","), k.references.to_string(), k.referenced_columns.join(",")))
        .collect();
    assert_eq!(
        keys,
        [
            ("one", "x,y".into(), "public.p".into(), "a,b".into()),
            ("self", "self".into(), "public.t".into(), "id".into())
        ]
    );
    assert!(t.foreign_keys[0].on_delete_cascades && !t.foreign_keys[1].on_delete_cascades);
    assert!(!t.foreign_keys[0].deferrable && t.foreign_keys[1].deferrable);
    assert_eq!(place.describe("p").await.primary_key, ["b", "a"]);
    for (name, obstacle) in [
        ("v", "is a view"),
        ("mv", "materialized"),
        ("ul", "unlogged"),
        ("kid", "inherits from par"),
        ("par", "inherited by kid"),
        ("ok1", "is a partition"),
        ("sec", "row security"),
        ("latekey", "deferrable primary key"),
        ("ruled", "rules"),
        ("pg_catalog.pg_class", "system"),
    ] {
        let found = place.describe(name).await.obstacles;
        assert!(found.iter().any(|o| o.text.contains(obstacle)), "{name}: {found:?}");
    }
    assert!(place.describe("ok").await.obstacles.is_empty());
    let owner = place.admin.describe(&named("sec")).await.unwrap().unwrap();
    assert!(owner.obstacles.is_empty(), "its owner sees all rows");
    let tables: Vec<_> = place.run.tables().await.unwrap().iter().map(|t| t.name.clone()).collect();
    assert_eq!(tables, ["kid", "latekey", "ok", "p", "par", "ruled", "sec", "t", "ul"]);
}

#[tokio::test]
async fn sizes_are_near() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'some text' FROM generate_series(1, 20000) i;
        CREATE TABLE fresh (id int); CREATE TABLE pt (id int) PARTITION BY RANGE (id);
        CREATE TABLE pt1 PARTITION OF pt FOR VALUES FROM (0) TO (50000); INSERT INTO pt SELECT generate_series(1, 20000)";
    let place = Place::new("size", ddl).await;
    let near = |rows: u64| (10_000..40_000).contains(&rows);
    for table in ["t", "pt"] {
        let before = place.run.size(&named(table)).await.unwrap();
        assert!(near(before.rows) && before.bytes > 500_000, "{table} {before:?}");
        exec(&place.db.owner_url, &format!("ANALYZE {table}")).await;
        let after = place.run.size(&named(table)).await.unwrap();
        assert!((19_000..21_000).contains(&after.rows), "{table} {after:?}");
    }
    assert_eq!(place.run.size(&named("fresh")).await.unwrap().rows, 0);
}

const PEOPLE: &str =
    "CREATE TABLE people (id int PRIMARY KEY, email text, first varchar(20), age int, price numeric(10,2),
        born date, seen timestamptz, g int GENERATED ALWAYS AS (id + 1) STORED, \"select\" int);
    CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
    CREATE FUNCTION draw(text) RETURNS text LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN $1; END'";

const FIT: [(&str, Kind); 9] = [
    ("lower(email)", Kind::Text { max_chars: None }),
    ("email || ' ' || first", Kind::Text { max_chars: None }),
    ("age + 1", Kind::Int { bits: 32 }),
    ("shout(email)", Kind::Text { max_chars: None }),
    ("coalesce(nullif(trim(email), ''), 'none')", Kind::Text { max_chars: None }),
    ("CASE WHEN age >= 18 THEN 'adult' ELSE 'minor' END", Kind::Text { max_chars: None }),
    ("\"select\" * 2", Kind::Int { bits: 32 }),
    ("g + 1", Kind::Int { bits: 32 }),
    ("age IS NOT NULL AND email LIKE '%@%'", Kind::Bool),
];

const UNFIT: [&str; 14] = [
    "now()",
    "current_date - born",
    "random()",
    "draw(email)",
    "to_char(seen, 'YYYY')",
    "count(*)",
    "row_number() OVER ()",
    "(SELECT max(id) FROM people)",
    "nowhere",
    "lower(email); DROP TABLE people",
    "id) FROM people; --",
    "$1",
    "generate_series(1, age)",
    "nosuch(email)",
];

#[tokio::test]
async fn only_immutable_expressions_over_one_row_are_fit() {
    let place = Place::new("fit", PEOPLE).await;
    let people = named("people");
    // The owner asks the server; the daily login may make no temporary table here, and goes by names.
    for engine in [&place.admin, &place.run] {
        for (sql, kind) in &FIT {
            assert_eq!(engine.expression(&people, sql, false).await.unwrap(), Ok(Some(kind.clone())), "{sql}");
        }
        for sql in UNFIT {
            let reason = engine.expression(&people, sql, false).await.unwrap().expect_err(sql);
            assert!(!reason.is_empty() && !reason.contains("_migrate"), "{sql}: {reason}");
        }
        assert!(engine.expression(&people, "age", true).await.unwrap().is_err());
        assert_eq!(engine.expression(&people, "age > 3", true).await.unwrap(), Ok(Some(Kind::Bool)));
        assert_eq!(engine.expression(&people, "email IS NULL", true).await.unwrap(), Ok(Some(Kind::Bool)));
    }
    let price = Kind::Decimal { precision: Some(12), scale: Some(2) };
    for (sql, kind) in [
        ("(price * 2)::numeric(12,2)", Some(price)),
        ("people.age", Some(Kind::Int { bits: 32 })),
        ("date_trunc('month', born::timestamp)", Some(Kind::Timestamp)),
        ("seen::date", None),
        ("date_trunc('month', seen)", None),
        ("born || email", None),
        ("seen > '2020-01-01'::date", None),
    ] {
        let found = place.admin.expression(&people, sql, false).await.unwrap();
        assert_eq!(found.clone().ok(), kind.map(Some), "{sql}: {found:?}");
        assert!(kind_or_hint(place.run.expression(&people, sql, false).await.unwrap()), "{sql}");
    }
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_migrate%' OR relpersistence = 't'";
    assert_eq!(query_text(&place.db.owner_url, left).await[0][0].as_deref(), Some("0"));
}

/// Without the right to ask the server, what can't be proved is refused, with the way out.
fn kind_or_hint(found: Result<Option<Kind>, String>) -> bool {
    found.is_err_and(|reason| reason.contains("grant TEMPORARY"))
}

async fn missing(db: &PgDatabase, place: &Place, role: Role) -> Vec<String> {
    let mut layout = place.layout("rights", &["public.t", "public.u"]).await;
    layout.tables[1].target = named("public.to_be_made");
    Postgres::connect(&db.app_url).unwrap().missing_rights(role, &layout).await.unwrap()
}

#[tokio::test]
async fn exactly_the_missing_rights_are_named() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t); CREATE TABLE u (id int PRIMARY KEY)";
    let place = Place::new("grants", ddl).await;
    let db = &place.db;
    let (app, owner) = (&db.app, &db.owner);
    exec(&db.owner_url, &format!("REVOKE ALL ON t, u FROM \"{app}\"")).await;
    exec(
        &db.superuser_url,
        &format!("REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO \"{}\"", db.run),
    )
    .await;
    let usage = format!("GRANT USAGE ON SCHEMA \"public\" TO \"{app}\"");
    let select = |table| format!("GRANT SELECT ON \"public\".\"{table}\" TO \"{app}\"");
    let create = format!("GRANT CREATE ON DATABASE \"{}\" TO \"{app}\"", db.name);
    let member = format!("GRANT \"{owner}\" TO \"{app}\"");
    let write = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON \"public\".\"t\" TO \"{app}\"");
    let make = format!("GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"{app}\"");
    for (role, expected) in [
        (Role::SourceRun, vec![usage.clone(), select("t"), select("u")]),
        (Role::TargetRun, vec![usage.clone(), write]),
        (Role::SourceInstall, vec![create.clone(), usage.clone(), member.clone()]),
        (Role::TargetInstall, vec![create, usage, member, make]),
    ] {
        let found = missing(db, &place, role).await;
        assert_eq!(found, expected, "{role:?}");
        // They do what they say.
        exec(&db.superuser_url, &found.join(";")).await;
        assert_eq!(missing(db, &place, role).await, Vec::<String>::new(), "{role:?}");
        let undo = format!(
            "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM \"{app}\"; REVOKE ALL ON SCHEMA public FROM \"{app}\";
            REVOKE CREATE ON DATABASE \"{}\" FROM \"{app}\"; REVOKE \"{owner}\" FROM \"{app}\"",
            db.name
        );
        exec(&db.superuser_url, &undo).await;
    }
}
