//! Our own tables: log retention, journal, settings, requests; what is installed, and that nothing of it stays.

use migrate::entry::{Epoch, Generation, Hash, Link, Mark, Position, TableId};
use migrate::error::Kind;
use migrate::store::{Role, Side, Work};

use crate::apply::key;
use crate::link::Wire;
use crate::rig::{On, Rig, pair};

pub async fn what_is_confirmed_is_kept_for_a_while(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let mut marks = vec![wire.head];
    for i in 0..10 {
        rig.source.run(&format!("INSERT INTO t VALUES ({i}, 'x')")).await;
        wire.drain().await;
        marks.push(wire.head);
    }
    let (store, m) = (&rig.source.store, rig.m());
    let known = async |mark: &Mark| store.knows(m, Link::Forward, mark).await.unwrap();
    for mark in &marks {
        assert!(known(mark).await);
        for other in [
            Mark { hash: Hash([1; 32]), ..*mark },
            Mark { position: Position(99), ..*mark },
            Mark { generation: Generation(2), ..*mark },
        ] {
            assert!(!known(&other).await);
        }
    }
    assert!(known(&Mark { position: Position(0), hash: Hash::default(), ..wire.head }).await, "the beginning");
    store.confirm(&rig.layout, &wire.lease, wire.head.position, 4).await.unwrap();
    let kept: Vec<bool> =
        [known(&marks[0]).await, known(&marks[6]).await, known(&marks[7]).await, known(&marks[10]).await].into();
    assert_eq!(kept, [false, false, true, true]);
    assert!(!known(&Mark { position: Position(0), hash: Hash::default(), ..wire.head }).await);
    let state = store.link_state(m, Link::Forward, Side::Source).await.unwrap();
    assert_eq!((state.confirmed, state.mark), (wire.head.position, wire.head));
    // A short rewind of the target can still be replayed.
    store.rewind(&rig.layout, &wire.lease, wire.head, marks[7]).await.unwrap();
    assert_eq!(store.backlog(&rig.layout, 100).await.unwrap(), [(TableId(1), 3)]);
    assert_eq!(store.backlog(&rig.layout, 2).await.unwrap(), [(TableId(1), 2)]);
}

pub async fn a_new_generation_forgets_what_was_confirmed(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    for i in 0..5 {
        rig.source.run(&format!("INSERT INTO t VALUES ({i}, 'x')")).await;
        wire.drain().await;
    }
    let work = Work::Begin { generation: Generation(2), mapping: crate::link::MAPPING, copied: false };
    wire.seal(work).await.unwrap();
    let state = rig.source.store.link_state(rig.m(), Link::Forward, Side::Source).await.unwrap();
    assert_eq!(state.mark.generation, Generation(2));
    assert!(state.confirmed <= state.mark.position, "confirmed {} of {}", state.confirmed, state.mark.position);
}

/// A verdict of an older generation must not stand in the way of the new one's.
pub async fn a_new_generation_forgets_old_verdicts(on: On) {
    use migrate::store::TaskKind;
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let task = wire.task(1, TaskKind::KeySet { buckets: 1 });
    let digest = wire.seal(Work::Compare(vec![task])).await.unwrap();
    let open = wire
        .seal(Work::Begin { generation: Generation(2), mapping: crate::link::MAPPING, copied: false })
        .await
        .unwrap();
    let both = [wire.entries(&digest), wire.entries(&open)].concat();
    wire.heard = Position(0);
    wire.apply(&both).await.unwrap();
    assert!(rig.target.store.verdicts(&rig.layout, Link::Forward).await.unwrap().is_empty());
    wire.backfill().await;
    for _ in 0..4 {
        wire.heard = Position(0);
        let task = wire.task(1, TaskKind::KeySet { buckets: 1 });
        let sealed = wire.seal(Work::Compare(vec![task])).await.unwrap();
        wire.deliver(&sealed).await;
    }
}

pub async fn verdicts_are_kept_until_they_are_heard(on: On) {
    let rig = Rig::plain(on).await;
    let mut wire = Wire::synced(&rig).await;
    let start = wire.heard;
    let mut at = Vec::new();
    for _ in 0..3 {
        let tasks = vec![
            wire.task(1, migrate::store::TaskKind::KeySet { buckets: 1 }),
            wire.task(1, migrate::store::TaskKind::KeySet { buckets: 2 }),
        ];
        wire.heard = start;
        let sealed = wire.seal(Work::Compare(tasks)).await.unwrap();
        wire.deliver(&sealed).await;
        at.push(wire.at.mark.position);
    }
    let verdicts = rig.another_target_verdicts().await;
    assert_eq!(verdicts.iter().map(|v| v.position).collect::<Vec<_>>(), [at[0], at[0], at[1], at[1], at[2], at[2]]);
    wire.heard = at[1];
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    let sealed = wire.seal(Work::Nothing).await.unwrap();
    wire.deliver(&sealed).await;
    assert!(rig.another_target_verdicts().await.iter().all(|v| v.position == at[2]));
}

pub async fn settings_journal_and_requests(on: On) {
    let rig = Rig::plain(on).await;
    for (side, store) in [(Side::Source, &rig.source.store), (Side::Target, &rig.target.store)] {
        assert_eq!(store.get(rig.m(), side, "a").await.unwrap(), None);
        for value in ["", "x", "it's \u{1F600} \\ \n"] {
            store.put(rig.m(), side, "a", value).await.unwrap();
            assert_eq!(store.get(rig.m(), side, "a").await.unwrap().as_deref(), Some(value));
        }
        assert_eq!(store.get(rig.m(), side, "A").await.unwrap(), None);
    }
    let store = &rig.source.store;
    for i in 0..5 {
        store.journal(rig.m(), "phase", &format!("step {i}"), "detail").await.unwrap();
    }
    let lines = store.journal_lines(rig.m(), 3).await.unwrap();
    assert_eq!(lines.iter().map(|l| &l.step[..]).collect::<Vec<_>>(), ["step 2", "step 3", "step 4"]);
    let now = store.now_ms().await.unwrap();
    assert!(lines.iter().all(|l| (now - l.at_ms).abs() < 30_000));
    let first = store.ask(rig.m(), "verify", "{}").await.unwrap();
    let second = store.ask(rig.m(), "repair", "[1]").await.unwrap();
    store.answer(rig.m(), first, "done").await.unwrap();
    let open = store.open_requests(rig.m()).await.unwrap();
    assert_eq!(open.iter().map(|r| (r.id, &r.verb[..], &r.body[..])).collect::<Vec<_>>(), [(second, "repair", "[1]")]);
    let answered = store.request(rig.m(), first).await.unwrap().unwrap();
    assert_eq!(answered.answer.as_deref(), Some("done"));
    assert_eq!(store.request(rig.m(), 77).await.unwrap(), None);
}

/// Several processes write at one moment: each line stays, and whoever loses is told to try again.
pub async fn many_write_at_one_moment(on: On) {
    let rig = Rig::plain(on).await;
    let stores: Vec<_> = (0..6).map(|_| rig.source.another()).collect();
    for round in 0..4 {
        let writers = stores.iter().cloned().enumerate().map(|(i, store)| {
            let m = rig.m().to_owned();
            tokio::spawn(async move {
                let asked = store.ask(&m, "verb", &format!("{round} {i}")).await;
                let written = store.journal(&m, "p", &format!("{round} {i}"), "").await;
                let put = store.put(&m, Side::Source, &format!("round {round}"), &i.to_string()).await;
                (asked, written, put)
            })
        });
        let mut ids = Vec::new();
        for writer in writers.collect::<Vec<_>>() {
            let (asked, written, put) = writer.await.unwrap();
            for result in [asked.map(|id| ids.push(id)), written, put] {
                assert!(
                    result.as_ref().is_ok_and(|()| true) || result.as_ref().is_err_and(|e| e.is_retry()),
                    "{result:?}"
                );
            }
        }
        assert!(!ids.is_empty());
        for id in &ids {
            assert!(
                rig.source.store.request(rig.m(), *id).await.unwrap().unwrap().body.starts_with(&format!("{round} "))
            );
        }
        ids.dedup();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "each has an id of its own");
    }
}

/// All of the catalogue that an application could see.
pub async fn catalogue(end: &crate::rig::End) -> Vec<String> {
    let sql = match end.on {
        On::Sqlite => "SELECT type || name || tbl_name || coalesce(sql, '') FROM sqlite_master ORDER BY 1".to_owned(),
        On::MariaDb => return mariadb_catalogue(end).await,
        On::Postgres => "SELECT 'rel ' || n.nspname || '.' || c.relname || coalesce(c.relacl::text, '') || c.relkind::text || c.relreplident::text FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
            UNION ALL SELECT 'trigger ' || tgname::text || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL SELECT 'constraint ' || conname || pg_get_constraintdef(oid) || convalidated FROM pg_constraint WHERE connamespace <> 11 AND connamespace <> 'information_schema'::regnamespace
            UNION ALL SELECT 'schema ' || nspname || coalesce(nspacl::text, '') FROM pg_namespace
            UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p WHERE pronamespace > 13000 AND pronamespace <> 'information_schema'::regnamespace
            UNION ALL SELECT 'default ' || defaclacl::text FROM pg_default_acl
            UNION ALL SELECT 'role setting ' || setconfig::text FROM pg_db_role_setting ORDER BY 1"
            .to_owned(),
    };
    let mut app = end.superuser().await;
    let mut all = app.query(&sql).await;
    if end.on == On::Sqlite {
        all.extend(app.query("PRAGMA journal_mode").await);
    }
    app.close().await;
    all
}

async fn mariadb_catalogue(end: &crate::rig::End) -> Vec<String> {
    let rows = end.maria.as_ref().unwrap().catalogue().await;
    let cell = |c: Option<String>| c.unwrap_or_default();
    rows.into_iter().map(|r| r.into_iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
}

const FAMILY: &str = "CREATE TABLE p(id {int} NOT NULL PRIMARY KEY, boss {int} REFERENCES p(id), v {text});
    CREATE TABLE c(id {int} NOT NULL PRIMARY KEY, p {int} REFERENCES p(id))";

pub async fn removing_leaves_the_catalogue_as_it_was(on: On) {
    let rig = Rig::bare(on, FAMILY, FAMILY, &[pair("p", "p"), pair("c", "c")]).await;
    rig.source.run("INSERT INTO p VALUES (1, NULL, 'a'), (2, 1, 'b'); INSERT INTO c VALUES (1, 1)").await;
    let before = (catalogue(&rig.source).await, catalogue(&rig.target).await);
    for complete in [true, false] {
        rig.install().await;
        assert!(rig.source.store.is_installed(rig.m(), Side::Source).await.unwrap());
        assert!(rig.target.store.is_installed(rig.m(), Side::Target).await.unwrap());
        assert!(!rig.target.store.is_installed("other", Side::Target).await.unwrap());
        let restore = rig.target.admin.relax(&rig.layout).await.unwrap();
        assert_eq!(rig.target.admin.relax(&rig.layout).await.unwrap(), restore, "written down, and the same again");
        let mut wire = Wire::synced(&rig).await;
        wire.assert_digests_equal().await;
        if complete {
            rig.target.admin.restore(&restore).await.unwrap();
            rig.target.admin.restore(&restore).await.unwrap();
        }
        drop(wire);
        for end in [&rig.source, &rig.target] {
            assert!(!end.admin.remove(rig.m()).await.unwrap().is_empty());
            assert!(end.admin.remove(rig.m()).await.unwrap().is_empty(), "nothing was left to remove");
        }
        assert_eq!(catalogue(&rig.source).await, before.0);
        assert_eq!(catalogue(&rig.target).await, before.1);
        assert!(!rig.source.store.is_installed(rig.m(), Side::Source).await.unwrap());
        assert_eq!(rig.target.rows("p", "id, boss, v").await, ["1|NULL|a", "2|1|b"], "data stays");
        rig.target.run("DELETE FROM c; DELETE FROM p WHERE id = 2; DELETE FROM p").await;
    }
}

pub async fn installing_twice_is_the_same_as_once(on: On) {
    let rig = Rig::same(on, FAMILY, &["p", "c"]).await;
    rig.source.run("INSERT INTO p VALUES (1, NULL, 'a')").await;
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("INSERT INTO p VALUES (2, 1, 'b')").await;
    let before = (catalogue(&rig.source).await, catalogue(&rig.target).await);
    let fingerprint = rig.source.store.fingerprint(&rig.layout).await.unwrap();
    let (head, dirty) = (wire.head, rig.source.store.backlog(&rig.layout, 10).await.unwrap());
    rig.install().await;
    assert_eq!((catalogue(&rig.source).await, catalogue(&rig.target).await), before);
    assert_eq!(rig.source.store.fingerprint(&rig.layout).await.unwrap(), fingerprint);
    assert_eq!(rig.source.store.backlog(&rig.layout, 10).await.unwrap(), dirty);
    let state = rig.source.store.link_state(rig.m(), Link::Forward, Side::Source).await.unwrap();
    assert_eq!((state.mark, state.lease_epoch), (head, wire.lease.epoch));
    wire.drain().await;
    rig.assert_equal("p", "id, boss, v").await;
}

/// Two migrations of one store do not meet.
pub async fn two_migrations_side_by_side(on: On) {
    let rig = Rig::plain(on).await;
    let mut other = rig.layout.clone();
    other.migration = "m".to_owned();
    let before = (rig.layout.migration.clone(), rig.source.store.fingerprint(&rig.layout).await.unwrap());
    let login = rig.source.store.who().await.unwrap();
    rig.source.admin.install_control(&other, Side::Source, &login).await.unwrap();
    rig.source.admin.capture(&other, TableId(1), &login).await.unwrap();
    assert_eq!(rig.source.store.fingerprint(&rig.layout).await.unwrap(), before.1, "the first does not see the second");
    let mut wire = Wire::synced(&rig).await;
    rig.source.run("INSERT INTO t VALUES (1, 'a')").await;
    wire.drain().await;
    assert_eq!(rig.source.store.backlog(&other, 10).await.unwrap(), [(TableId(1), 1)], "each has its own marks");
    rig.source.admin.remove("m").await.unwrap();
    rig.source.run("INSERT INTO t VALUES (2, 'b')").await;
    wire.drain().await;
    rig.assert_equal("t", "id, v").await;
}

/// The daily login has what it needs, and says what it lacks.
pub async fn rights_are_complete(on: On) {
    let rig = Rig::plain(on).await;
    for (store, role) in [
        (&rig.source.store, Role::SourceRun),
        (&rig.source.admin, Role::SourceInstall),
        (&rig.target.store, Role::TargetRun),
        (&rig.target.admin, Role::TargetInstall),
    ] {
        assert!(store.missing_rights(role, &rig.layout).await.unwrap().is_empty(), "{role:?}");
    }
    if on != On::Sqlite {
        let missing = rig.source.another().missing_rights(Role::SourceInstall, &rig.layout).await.unwrap();
        assert!(!missing.is_empty());
    }
}

/// Nothing is installed: an error that says so, not a surprise.
pub async fn without_control_tables_all_is_refused(on: On) {
    let ddl = "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {text})";
    let rig = Rig::bare(on, ddl, ddl, &[pair("t", "t")]).await;
    let store = &rig.source.store;
    assert!(!store.is_installed(rig.m(), Side::Source).await.unwrap());
    let lease = store.take_lease(rig.m(), Link::Forward, Side::Source, "x", 1000).await;
    assert!(lease.is_err_and(|e| !e.is_retry()));
    assert!(store.mark_dirty(&rig.layout, TableId(1), &[key(1)]).await.is_err());
    let lease = migrate::store::Lease {
        link: Link::Forward,
        side: Side::Source,
        epoch: Epoch(0),
        holder: "x".into(),
        ttl_ms: 1,
    };
    assert!(store.confirm(&rig.layout, &lease, Position(1), 0).await.is_err_and(|e| e.kind != Kind::Retry));
    assert!(store.remove(rig.m()).await.unwrap().is_empty());
}
