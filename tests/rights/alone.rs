//! One login that both installs and runs: on MariaDB it needs no right to give rights.

use crate::support::postgres::CANARY;
use crate::support::product::{Place, Product};
use crate::support::{MariaDb, MyDatabase, mysql_exec};

/// A login with nothing but the right to enter the database; its url.
async fn login(db: &MyDatabase, hint: &str) -> String {
    let name = format!("{hint}_{}", db.name);
    let sql = format!(
        "CREATE USER '{name}'@'%' IDENTIFIED BY '{CANARY}{name}'; GRANT SHOW VIEW ON `{}`.* TO '{name}'@'%'",
        db.name.replace('_', "\\_")
    );
    mysql_exec(&db.superuser_url, &sql).await;
    db.run_url.replace(&db.run, &name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_works_alone_needs_no_right_to_grant() {
    let server = MariaDb::shared();
    let (from, to) = (server.database("alone_from").await, server.database("alone_to").await);
    let (source, target) = (Place::MariaDb(from.clone()), Place::MariaDb(to.clone()));
    source.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')").await;
    target.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await;
    let before = (source.catalogue().await, target.catalogue().await);
    let tables = "tables:\n  - from: t\n";
    let mut product = Product::new("alone", &source, &target, None, tables);
    let two = product.run(&["grants"]).await.expect(0).stdout;
    assert_eq!(two.matches("WITH GRANT OPTION").count(), 2, "each side's installer gives the other rights:\n{two}");

    for (name, url) in [("SOURCE", login(&from, "one").await), ("TARGET", login(&to, "one").await)] {
        product.set(name, &url);
        product.set(&format!("{name}_ADMIN"), &url);
    }
    // Once as two urls of one login, once as one url.
    let one = product.run(&["grants"]).await.expect(0).stdout;
    let plan = std::fs::read_to_string(&product.plan).expect("the plan");
    let plan = plan.replace(", admin_url: \"${SOURCE_ADMIN}\"", "").replace(", admin_url: \"${TARGET_ADMIN}\"", "");
    std::fs::write(&product.plan, plan).expect("the plan");
    assert_eq!(product.run(&["grants"]).await.expect(0).stdout, one);
    assert!(one.contains("CREATE ROUTINE") && !one.contains("WITH GRANT OPTION"), "{one}");
    let lacking = product.run(&["plan"]).await.expect(65);
    assert!(lacking.stderr.contains("MG0401") && !lacking.stderr.contains("WITH GRANT OPTION"), "{}", lacking.stderr);

    // It is enough, from plan to abort, and what is missing says no more than that.
    mysql_exec(&server.superuser_url("mysql"), &one).await;
    product.run(&["plan"]).await.expect(0);
    product.run(&["apply"]).await.expect(0);
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    product.run(&["apply"]).await.expect(0);
    product.run(&["verify"]).await.expect(0);
    product.run(&["abort"]).await.expect(0);
    let ours = |rows: Vec<Vec<Option<String>>>| -> Vec<_> {
        rows.into_iter().filter(|row| row[0].as_deref() != Some("grant")).collect()
    };
    assert_eq!((ours(source.catalogue().await), ours(target.catalogue().await)), (ours(before.0), ours(before.1)));
}
