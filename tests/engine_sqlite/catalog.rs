//! What the catalogue says, and which expressions are pure.

use migrate::schema::Kind;
use migrate::store::engine::{Engine, Mode, Statement};
use migrate::value::Value;

use crate::world::{World, name, query};

#[tokio::test]
async fn a_table_is_described_as_it_is() {
    let world = World::new(
        "CREATE TABLE parent (a INT, b INT, PRIMARY KEY (b, a)) WITHOUT ROWID;
         CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT COLLATE NOCASE NOT NULL DEFAULT 'x' UNIQUE,
           n NVARCHAR(40), g TEXT GENERATED ALWAYS AS (lower(n)) STORED, pa INT, pb INT,
           FOREIGN KEY (pb, pa) REFERENCES parent ON DELETE SET NULL, FOREIGN KEY (pa) REFERENCES t (id));
         CREATE UNIQUE INDEX part ON t (n) WHERE n IS NOT NULL;
         CREATE UNIQUE INDEX other ON t (code COLLATE BINARY);
         CREATE UNIQUE INDEX whole ON t (pa, pb);",
    )
    .await;
    let t = world.engine.describe(&name("T")).await.unwrap().unwrap();
    assert_eq!(t.name.name, "t", "SQLite's names have no case; the catalogue's spelling comes back");
    assert_eq!(t.primary_key, ["id"]);
    let [id, code, n, g] = ["id", "code", "n", "g"].map(|c| t.column(c).unwrap());
    assert!(!id.nullable && id.has_default && id.binary_order && t.is_key(&["id".into()]));
    assert!(
        !code.binary_order && code.collation.as_deref() == Some("\"NOCASE\"") && code.has_default && !code.nullable
    );
    assert_eq!((n.type_name.as_str(), &n.kind), ("NVARCHAR(40)", &Kind::Text { max_chars: None }));
    assert!(g.generated && !n.generated);
    let whole: Vec<&[String]> = t.uniques.iter().filter(|u| !u.partial).map(|u| u.columns.as_slice()).collect();
    assert!(whole.len() == 2 && whole.contains(&["code".to_owned()].as_slice()), "{whole:?}");
    let to_parent = t.foreign_keys.iter().find(|f| f.references.name == "parent").unwrap();
    assert_eq!(
        (to_parent.columns.as_slice(), to_parent.referenced_columns.as_slice()),
        (["pb", "pa"].map(String::from).as_slice(), ["b", "a"].map(String::from).as_slice())
    );
    assert!(to_parent.on_delete_cascades && to_parent.deferrable);
    assert!(!t.foreign_keys.iter().find(|f| f.references.name == "t").unwrap().on_delete_cascades);
    assert!(t.obstacles.is_empty(), "{:?}", t.obstacles);
    let parent = world.engine.describe(&name("parent")).await.unwrap().unwrap();
    assert!(parent.primary_key == ["b", "a"] && parent.columns.iter().all(|c| !c.nullable));
}

#[tokio::test]
async fn a_key_that_may_be_null_is_no_key() {
    let world = World::new("CREATE TABLE t (k TEXT PRIMARY KEY); CREATE TABLE u (k INT PRIMARY KEY); CREATE TABLE v (k TEXT NOT NULL PRIMARY KEY)").await;
    for (table, usable) in [("t", false), ("u", false), ("v", true)] {
        let t = world.engine.describe(&name(table)).await.unwrap().unwrap();
        assert_eq!(t.is_key(&["k".into()]), usable, "{table}");
    }
}

#[tokio::test]
async fn what_cannot_be_captured_says_why() {
    let world = World::new(
        "CREATE TABLE t (a INTEGER PRIMARY KEY ON CONFLICT REPLACE); CREATE VIEW v AS SELECT 1 AS x;
         CREATE VIRTUAL TABLE f USING fts5(x);",
    )
    .await;
    for (table, reason) in [("t", "ON CONFLICT REPLACE"), ("v", "is a view"), ("f", "virtual table")] {
        let t = world.engine.describe(&name(table)).await.unwrap().unwrap();
        assert!(t.obstacles.iter().any(|o| o.text.contains(reason)), "{table}: {:?}", t.obstacles);
    }
    assert!(world.engine.describe(&name("nope")).await.unwrap().is_none());
    let names: Vec<_> = world.engine.tables().await.unwrap().into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["t"]);
}

#[tokio::test]
async fn sizes_are_counted() {
    let mut world = World::new("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)").await;
    world.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT i, 'xxxxxxxxxx' FROM n").await;
    let size = world.engine.size(&name("t")).await.unwrap();
    assert!(size.rows == 1000 && (13_000..20_000).contains(&size.bytes), "{size:?}");
}

#[tokio::test]
async fn only_pure_functions_of_a_row_are_fit() {
    let world = World::new(
        "CREATE TABLE other (z); CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT NOT NULL, at DATETIME, \"we\"\"ird\" INT, CHECK (id > 0))",
    )
    .await;
    let t = name("t");
    let check = async |sql: &str| world.engine.expression(&t, sql, false).await.unwrap();
    for fit in [
        "lower(email)",
        "email || 'now'",
        "julianday(at)",
        "date(at, '+1 day')",
        "\"we\"\"ird\" + 1",
        "[id] * 2",
        "CASE WHEN id > 1 THEN 'a;b' END",
        "email LIKE '%x'",
        "\"EMAIL\"",
    ] {
        assert_eq!(check(fit).await, Ok(None), "{fit}");
    }
    for unfit in [
        "random()",
        "changes()",
        "last_insert_rowid()",
        "date('now')",
        "date(at, 'localtime')",
        "strftime('%Y')",
        "date()",
        "CURRENT_TIMESTAMP",
        "(SELECT 1)",
        "EXISTS (SELECT 1 FROM other)",
        "count(*)",
        "sum(id)",
        "row_number() OVER ()",
        "nosuch",
        "\"nosuch\"",
        "`nosuch`",
        "z",
        "other.z",
        "t.email",
        "?1",
        ":a",
        "email -- x",
        "email /* x",
        "email); DROP TABLE t; --",
        "id, email",
        "id) , (email",
        "'open",
        "",
        "rowid",
        "nosuch(email)",
        "id; SELECT 1",
    ] {
        assert!(check(unfit).await.is_err(), "{unfit} was taken");
    }
    assert_eq!(world.engine.expression(&name("t"), "at IS NULL", true).await.unwrap(), Ok(Some(Kind::Bool)));
    assert!(world.engine.tables().await.unwrap().len() == 2, "nothing was made in the application's file");
}

const HOSTILE: &str = "se\"le`ct '; DROP TABLE x; -- FROM [Ünï]";

#[tokio::test]
async fn hostile_names_are_only_names() {
    let q = |s: &str| format!("\"{}\"", s.replace('"', "\"\""));
    let mut world = World::new(&format!(
        "CREATE TABLE {t} ({k} INTEGER PRIMARY KEY, \"group\" TEXT, {c} TEXT UNIQUE)",
        t = q(HOSTILE),
        k = q("Key ` \" FROM x"),
        c = q(HOSTILE)
    ))
    .await;
    let layout = world.install(&[HOSTILE], 100).await;
    let map = &layout.tables[0];
    let mut tx = world.engine.begin(Mode::Apply { layout: &layout, backfill: false }).await.unwrap();
    let row = |i: i128| vec![Value::Int(i), Value::Text("g".into()), Value::Text(format!("c{i}"))];
    world.engine.load(&mut tx, map, &[row(1), row(2)]).await.unwrap();
    world.engine.commit(tx).await.unwrap();
    assert_eq!(world.marked(1).await, ["1", "2"]);
    assert!(world.read(map, true).await.unwrap() == [row(1), row(2)]);
    world.sql(&format!("INSERT OR REPLACE INTO {} VALUES (3, 'h', 'c1')", q(HOSTILE))).await;
    assert_eq!(world.marked(1).await, ["1", "3"]);
    world.engine.remove(&layout.migration).await.unwrap();
}

/// Runs it and gives how many rows it touched or found; it must have used an index, and sorted nothing.
async fn indexed(w: &World, table: &str, s: &Statement) -> usize {
    let mut tx = w.engine.begin(Mode::Control).await.unwrap();
    let plan = Statement { sql: format!("EXPLAIN QUERY PLAN {}", s.sql), args: s.args.clone() };
    let plan = query(&w.engine, &mut tx, &plan, &[]).await.unwrap();
    let text = |r: Vec<Value>| if let Some(Value::Text(t)) = r.into_iter().last() { t } else { String::new() };
    let plan: Vec<String> = plan.into_iter().map(text).collect();
    let bad = |p: &String| p.starts_with(&format!("SCAN {table}")) || p.contains("TEMP B-TREE");
    assert!(plan.iter().any(|p| p.starts_with("SEARCH")) && !plan.iter().any(bad), "{}: {plan:?}", s.sql);
    match s.sql.contains("DELETE") {
        true => w.engine.execute(&mut tx, s).await.unwrap() as usize,
        false => query(&w.engine, &mut tx, s, &[]).await.unwrap().len(),
    }
}

/// The forms that the generic body writes, and how SQLite runs them.
#[tokio::test]
async fn the_bodys_statements_use_the_index() {
    let mut world = World::new(
        "CREATE TABLE t (a INTEGER NOT NULL, b TEXT NOT NULL, c TEXT, PRIMARY KEY (a, b));
         CREATE TABLE n (a TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, c NUMERIC(10,2)) WITHOUT ROWID;",
    )
    .await;
    world.sql("INSERT INTO t VALUES (1, 'x', ''), (1, 'y', ''), (2, 'x', '')").await;
    world.sql("INSERT INTO n VALUES ('A', 1.1), ('b', 2)").await;
    let text = |t: &str| Value::Text(t.into());
    let pairs = vec![vec![Value::Int(1), text("y")], vec![Value::Int(2), text("x")]];
    for (table, keys) in [("t", pairs), ("n", vec![vec![text("a")], vec![text("b")]])] {
        let map = world.map(1, table).await;
        let columns: Vec<_> = map.source_key.iter().collect();
        let quoted: Vec<String> = columns.iter().map(|c| world.engine.quote(&c.name)).collect();
        let names = (1..=columns.len()).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ");
        let with = |tail: String| {
            let mut s = Statement { sql: format!("WITH v({names}) AS ("), args: vec![] };
            let rows: Vec<Vec<&Value>> = keys.iter().map(|k| k.iter().collect()).collect();
            world.engine.rows(&mut s, &columns, &rows).unwrap();
            s.sql.push_str(&tail);
            s
        };
        let on: Vec<String> = (1..).zip(&quoted).map(|(i, c)| format!("s.{c} = v.c{i}")).collect();
        let join = with(format!(") SELECT s.c FROM v JOIN (SELECT * FROM {table}) s ON {}", on.join(" AND ")));
        assert_eq!(indexed(&world, table, &join).await, 2);
        let own = quoted.join(", ");
        let delete = with(format!(") DELETE FROM {table} WHERE ({own}) IN (SELECT {names} FROM v)"));
        assert_eq!(indexed(&world, table, &delete).await, 2);
        let places = (1..=columns.len()).map(|i| format!("?{i}")).collect::<Vec<_>>().join(", ");
        let after =
            format!("SELECT s.c FROM (SELECT * FROM {table}) s WHERE ({own}) > ({places}) ORDER BY {own} LIMIT 10");
        let after = Statement { sql: after, args: delete.args[..columns.len()].to_vec() };
        assert_eq!(indexed(&world, table, &after).await, 1);
    }
}
