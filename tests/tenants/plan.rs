//! What `plan` says of scopes: what can't be divided is refused before anything is installed.

use crate::support::product::{Place, Product, postgres, sqlite};

async fn refused(source: &Place, target: &Place, body: &str, check: &str, words: &str) {
    let product = Product::new("tn-plan", source, target, None, body);
    let planned = product.run(&["plan"]).await.expect(65);
    assert!(planned.stderr.contains(check) && planned.stderr.contains(words), "{}", planned.stderr);
}

const BY_TENANT: &str = "cutover: { scope_by: tenant }\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_divided_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    for (source, target, text) in [
        (sqlite(&dir, "s.db"), sqlite(&dir, "t.db"), "VARCHAR(20)"),
        (postgres("tn_plan_s").await, postgres("tn_plan_t").await, "char(20)"),
    ] {
        let schema = format!(
            "CREATE TABLE parent (tenant BIGINT NOT NULL, id BIGINT NOT NULL, other {text}, PRIMARY KEY (tenant, id), UNIQUE (id, tenant));
             CREATE TABLE child (tenant BIGINT NOT NULL, id BIGINT NOT NULL, parent BIGINT NOT NULL, PRIMARY KEY (tenant, id));
             CREATE TABLE single (id BIGINT NOT NULL PRIMARY KEY, tenant BIGINT NOT NULL);
             CREATE TABLE lone (id BIGINT NOT NULL PRIMARY KEY, email {text} UNIQUE);"
        );
        source.exec(&schema).await;
        target.exec(&schema).await;
        let both = |tables: &str| format!("{BY_TENANT}tables:\n{tables}");
        refused(&source, &target, &both("  - from: single\n"), "MG0129", "is unique in the source's").await;
        refused(&source, &target, &both("  - from: lone\n"), "MG0128", "the source has no such column").await;
        refused(&source, &target, &both("  - { from: parent, skip: [tenant], key: [id, tenant] }\n"), "MG01", "tenant")
            .await;
        let sql = "  - { from: parent, columns: { tenant: { sql: \"tenant\" }, id: id, other: other } }\n";
        refused(&source, &target, &both(sql), "MG01", "tenant").await;
        let own = "tables:\n  - { from: parent, scope_by: tenat }\n";
        refused(&source, &target, own, "MG0128", "did you mean \"tenant\"").await;
        let fine = Product::new("tn-plan", &source, &target, None, &both("  - from: parent\n  - from: child\n"));
        fine.run(&["plan"]).await.expect(0);
    }
    let (source, target) = (postgres("tn_char_s").await, postgres("tn_char_t").await);
    let schema = "CREATE TABLE padded (tenant char(4) NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant, id))";
    source.exec(schema).await;
    target.exec(schema).await;
    refused(&source, &target, &format!("{BY_TENANT}tables:\n  - from: padded\n"), "MG0128", "no text in common").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_refers_to_another_scope_is_counted() {
    let (source, target) = (postgres("tn_fk_s").await, postgres("tn_fk_t").await);
    let schema = "CREATE TABLE parent (tenant bigint NOT NULL, id uuid NOT NULL PRIMARY KEY);
        CREATE TABLE child (tenant bigint NOT NULL, id bigint NOT NULL, parent uuid REFERENCES parent, PRIMARY KEY (tenant, id));";
    source.exec(schema).await;
    target.exec(schema).await;
    let one = "00000000-0000-4000-8000-000000000001";
    source.exec(&format!("INSERT INTO parent VALUES (1, '{one}'); INSERT INTO child VALUES (1, 1, '{one}')")).await;
    let body = format!("{BY_TENANT}tables:\n  - from: parent\n  - from: child\n");
    Product::new("tn-plan", &source, &target, None, &body).run(&["plan"]).await.expect(0);
    source.exec(&format!("INSERT INTO child VALUES (2, 1, '{one}')")).await;
    refused(&source, &target, &body, "MG0328", "refers to a row that is of another scope").await;
}
