//! What the catalogue says, and which tables and expressions are refused.

use migrate::schema::Kind;
use migrate::store::engine::Engine;

use crate::{Place, named};

#[tokio::test]
async fn kinds_are_read_as_they_are() {
    let place = Place::new(
        "kinds_of",
        "CREATE TABLE t(a tinyint(1), b smallint unsigned, c int(11), d bigint unsigned, e decimal(20,5), f float, g double,
           h char(3), i varchar(9) CHARACTER SET latin1, j longtext COLLATE utf8mb4_nopad_bin, k binary(4), l datetime(3),
           m timestamp(6) NULL, n time, o year, p bit(5), q enum('x'), r json, s uuid, u point,
           v varchar(9) CHARACTER SET koi8r, id int NOT NULL AUTO_INCREMENT PRIMARY KEY, w int AS (c + 1) STORED)",
    )
    .await;
    let table = place.describe("t").await;
    let int = |bits| Kind::Int { bits };
    let text = |max_chars| Kind::Text { max_chars };
    for (name, kind, type_name) in [
        ("a", int(8), "tinyint(1)"),
        ("b", int(32), "smallint unsigned"),
        ("c", int(32), "int"),
        ("d", int(65), "bigint unsigned"),
        ("e", Kind::Decimal { precision: Some(20), scale: Some(5) }, "decimal(20,5)"),
        ("f", Kind::Float { bits: 32 }, "float"),
        ("h", text(Some(3)), "char(3)"),
        ("i", text(Some(9)), "varchar(9)"),
        ("j", text(None), "longtext"),
        ("k", Kind::Bytes, "binary(4)"),
        ("l", Kind::Timestamp, "datetime(3)"),
        ("m", Kind::TimestampTz, "timestamp(6)"),
        ("n", Kind::Time, "time"),
        ("o", int(16), "year(4)"),
        ("p", int(64), "bit(5)"),
        ("q", text(None), "enum('x')"),
        ("r", text(None), "longtext"),
        ("s", Kind::Uuid, "uuid"),
        ("u", Kind::Opaque("point".into()), "point"),
        ("v", Kind::Opaque("varchar(9) collate koi8r_general_ci".into()), "varchar(9)"),
    ] {
        let column = table.column(name).unwrap();
        assert_eq!((&column.kind, column.type_name.as_str()), (&kind, type_name), "{name}");
    }
    assert!(table.column("id").unwrap().has_default && table.column("w").unwrap().generated);
    assert!(table.column("j").unwrap().binary_order && !table.column("h").unwrap().binary_order);
    assert_eq!(table.column("i").unwrap().collation.as_deref(), Some("latin1_swedish_ci"));
    assert!(table.obstacles.is_empty(), "{:?}", table.obstacles);
}

#[tokio::test]
async fn what_can_not_be_captured_right_is_an_obstacle() {
    let place = Place::new(
        "obstacles",
        "CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE fine(id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p(id));
         CREATE TABLE isam(id int PRIMARY KEY) ENGINE = MyISAM; CREATE VIEW v AS SELECT * FROM p;
         CREATE TABLE child(id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p(id) ON DELETE CASCADE);
         CREATE TABLE setting(id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p(id) ON UPDATE SET NULL);
         CREATE TABLE history(id int PRIMARY KEY) WITH SYSTEM VERSIONING; CREATE TABLE e(k enum('a') PRIMARY KEY);
         CREATE TABLE prefixed(k text, PRIMARY KEY (k(10)));
         CREATE TABLE parts(id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3",
    )
    .await;
    for (table, word) in [
        ("p", ""),
        ("fine", ""),
        ("parts", ""),
        ("prefixed", ""),
        ("isam", "MyISAM"),
        ("v", "is a view"),
        ("child", "cascades"),
        ("setting", "cascades"),
        ("history", "system-versioned"),
        ("e", "ENUM"),
    ] {
        let found = place.describe(table).await.obstacles;
        assert_eq!(found.is_empty(), word.is_empty(), "{table}: {found:?}");
        assert!(found.iter().all(|o| o.text.contains(word)), "{table}: {found:?}");
    }
    assert!(place.describe("prefixed").await.primary_key.is_empty(), "the beginning of a text is no key");
    assert!(place.run.describe(&named("nothing")).await.unwrap().is_none());
}

#[tokio::test]
async fn only_functions_of_the_row_are_let_through() {
    let place =
        Place::new("expr", "CREATE TABLE t(id int PRIMARY KEY, name varchar(20), `select` int, at datetime)").await;
    let check = async |sql: &str, filter| place.run.expression(&named("t"), sql, filter).await.unwrap();
    for (sql, kind) in [
        ("lower(name)", Kind::Text { max_chars: None }),
        ("id + 1", Kind::Int { bits: 64 }),
        ("concat(name, ' (', `select`, ')')", Kind::Text { max_chars: None }),
        ("name || 'x'", Kind::Text { max_chars: None }),
        ("CASE WHEN id > 3 THEN 'many' ELSE 'few' END", Kind::Text { max_chars: None }),
        ("CAST(id AS CHAR)", Kind::Text { max_chars: None }),
        ("date(at)", Kind::Date),
        ("id * 1.5", Kind::Decimal { precision: Some(65), scale: Some(30) }),
    ] {
        assert_eq!(check(sql, false).await, Ok(Some(kind)), "{sql}");
    }
    for sql in ["name IS NOT NULL AND id BETWEEN 1 AND 9", "id IN (1, 2)", "name LIKE 'a%'"] {
        assert_eq!(check(sql, true).await, Ok(Some(Kind::Bool)), "{sql}");
    }
    for sql in [
        "now()",
        "rand()",
        "uuid()",
        "current_timestamp",
        "@@hostname",
        "@x",
        "(SELECT 1)",
        "(SELECT max(id) FROM t)",
        "missing",
        "lower(missing)",
        "id -- x",
        "id; DROP TABLE t",
        "id) OR (1",
        "?",
        "last_insert_id()",
        "load_file('/x')",
        "sleep(9)",
        "count(*)",
        "t.id",
        "id, name",
        "user()",
        "'x",
    ] {
        assert!(check(sql, false).await.is_err(), "{sql}");
    }
}
