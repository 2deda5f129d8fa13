//! Other people's stores, each a real one, read by mappings of every shape.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use contract::store::Mapping;
use support::{Judged, judge, valid_with, wrong_with};

/// A Redis with these commands in it.
fn redis(commands: &[&[&str]]) -> e2e::Redis {
    let redis = e2e::Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    run(&redis, commands);
    redis
}

fn run(redis: &e2e::Redis, commands: &[&[&str]]) {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    for words in commands {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.query::<redis::Value>(&mut connection).unwrap();
    }
}

/// Each shape of Redis: commands that write a sound store, the mapping, and one more command after
/// which it is not, with the check that has to notice.
type Shape = (
    &'static str,
    &'static [&'static [&'static str]],
    &'static str,
    &'static [&'static str],
    &'static str,
);

const SHAPES: &[Shape] = &[
    (
        "counters up and down beside a set of users",
        &[
            &["SET", "issued:{7}", "3"],
            &["SET", "stock:7", "-4"],
            &["SADD", "claimed:7", "u1", "u2", "u4"],
        ],
        r#"
read:
  - { is: issued, redis: "issued:{{campaign}}" }
  - { is: remaining, redis: "stock:{campaign}", may_overshoot: true }
  - { is: ledger, redis: "claimed:{campaign}", value: "{user}" }
"#,
        &["SADD", "claimed:7", "u77"],
        "phantom",
    ),
    (
        "a counter that disagrees with the rows",
        &[&["SET", "stock:7", "0"], &["SADD", "claimed:7", "u1", "u2", "u4"]],
        r#"
read:
  - { is: remaining, redis: "stock:{campaign}" }
  - { is: ledger, redis: "claimed:{campaign}", value: "{user}" }
"#,
        &["SET", "stock:7", "-1"],
        "ledger-mismatch",
    ),
    (
        "one set of codes and owners over all campaigns",
        &[&["SADD", "all", "7/u1/가나1", "7/u4/다라2", "7/u2/사아3", "8/u1/하하9"]],
        r#"
read:
  - { is: ledger, redis: all, value: "{campaign}/{user}/{code}" }
"#,
        &["SREM", "all", "7/u4/다라2"],
        "lost",
    ),
    (
        "one hash for all campaigns",
        &[
            &[
                "HSET", "coupons", "7:u1", "가나1", "7:u4", "다라2", "7:u2", "사아3", "8:u1",
                "하하9",
            ],
            &["HSET", "counts", "7:issued", "3", "7:total", "3", "8:issued", "1"],
        ],
        r#"
read:
  - { is: ledger, redis: coupons, field: "{campaign}:{user}", value: "{code}" }
  - { is: issued, redis: counts, field: "{campaign}:issued" }
  - { is: total, redis: counts, field: "{campaign}:total" }
"#,
        &["HINCRBY", "counts", "7:issued", "1"],
        "ledger-mismatch",
    ),
    (
        "a key a user, with the code in it, and how many keys there are",
        &[
            &["SET", ":1:issued:7:u1", "가나1"],
            &["SET", ":1:issued:7:u4", "다라2"],
            &["SET", ":1:issued:7:u2", "사아3"],
            &["SET", ":1:issued:77:u2", "하하9"],
        ],
        r#"
read:
  - { is: ledger, redis: ":1:issued:{campaign}:{user}", value: "{code}" }
  - { is: issued, redis: ":1:issued:{campaign}:{_}" }
"#,
        &["SET", ":1:issued:7:u88", "마마8"],
        "phantom",
    ),
    (
        "a hash a user",
        &[
            &["HSET", "c:7:u1", "coupon", "가나1", "at", "1"],
            &["HSET", "c:7:u4", "coupon", "다라2", "at", "1"],
            &["HSET", "c:7:u2", "coupon", "사아3", "at", "1"],
        ],
        r#"
read:
  - { is: ledger, redis: "c:{campaign}:{user}", columns: { code: coupon } }
"#,
        &["DEL", "c:7:u1"],
        "lost",
    ),
    (
        "JSON in strings",
        &[
            &["SET", "doc:7:u1", r#"{"coupon":{"code":"가나1"},"owner":"u1"}"#],
            &["SET", "doc:7:u4", r#"{"coupon":{"code":"다라2"},"owner":"u4"}"#],
            &["SET", "doc:7:u2", r#"{"coupon":{"code":"사아3"},"owner":"u2"}"#],
            &["SET", "campaign:7", r#"{"sold":"3","total":3}"#],
        ],
        r#"
read:
  - { is: ledger, redis: "doc:{campaign}:{_}", columns: { code: $.coupon.code, user: $.owner } }
  - { is: issued, redis: "campaign:{campaign}", json: $.sold }
  - { is: total, redis: "campaign:{campaign}", json: $.total }
"#,
        &["SET", "campaign:7", r#"{"sold":2,"total":3}"#],
        "ledger-mismatch",
    ),
    (
        "a sorted set by rank",
        &[&["ZADD", "winners:7", "1", "u1", "2", "u4", "3", "u2"]],
        r#"
read:
  - { is: ledger, redis: "winners:{campaign}", value: "{user}", columns: { seq: score } }
"#,
        &["ZADD", "winners:7", "5", "u2"],
        "ledger-mismatch",
    ),
    (
        "a list of codes, which shows a duplicate, beside the pool that they came from",
        &[&["RPUSH", "out:7", "가나1", "다라2", "사아3"], &["RPUSH", "pool:8", "하하9"]],
        r#"
read:
  - { is: ledger, redis: "out:{campaign}", value: "{code}" }
  - { is: remaining, redis: "pool:{campaign}" }
"#,
        &["RPUSH", "out:7", "가나1"],
        "duplicate-code",
    ),
    (
        "a stream",
        &[
            &["XADD", "s:7", "1-0", "code", "가나1", "member", "u1"],
            &["XADD", "s:7", "2-0", "code", "다라2", "member", "u4"],
            &["XADD", "s:7", "3-0", "code", "사아3", "member", "u2"],
        ],
        r#"
read:
  - { is: ledger, redis: "s:{campaign}", columns: { code: code, user: member } }
"#,
        &["XADD", "s:7", "4-0", "user", "u9"],
        "ledger-mismatch",
    ),
];

#[test]
fn every_shape_of_redis_is_read() {
    for (name, commands, mapping, wrong, check) in SHAPES {
        let redis = redis(commands);
        valid_with(name, mapping, &redis.url());
        run(&redis, &[wrong]);
        wrong_with(name, mapping, &redis.url(), check);
    }
}

#[test]
fn a_queue_that_is_not_drained_is_no_settled_store() {
    let rows: &[&[&str]] = &[
        &["RPUSH", "out:7", "가나1", "다라2", "사아3"],
        &["XADD", "jobs", "1-0", "a", "b"],
        &["XGROUP", "CREATE", "jobs", "workers", "0"],
    ];
    let redis = redis(rows);
    let mapping = r#"
settle: { at_most: 700ms }
read:
  - { is: ledger, redis: "out:{campaign}", value: "{code}" }
  - { is: waiting, redis: jobs }
"#;
    let Judged { code, text, .. } = judge(mapping, &redis.url());
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("work still waits (1)"), "{text}");
    run(&redis, &[&["XREADGROUP", "GROUP", "workers", "me", "STREAMS", "jobs", ">"]]);
    assert_eq!(judge(mapping, &redis.url()).code, 3, "taken and not acknowledged");
    run(&redis, &[&["XACK", "jobs", "workers", "1-0"]]);
    assert_eq!(judge(mapping, &redis.url()).code, 0);
}

#[test]
fn another_database_and_a_password() {
    let redis = e2e::Redis::start_with(&["--requirepass", "s3cret/x"]);
    let url = format!("redis://:s3cret%2Fx@127.0.0.1:{}/5", redis.port());
    let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("RPUSH")
        .arg(&["out:7", "가나1", "다라2", "사아3"])
        .query::<i64>(&mut connection)
        .unwrap();
    let mapping = "read:\n  - { is: ledger, redis: 'out:{campaign}', value: '{code}' }\n";
    let judged = valid_with("database 5", mapping, &url);
    assert!(!judged.text.contains("s3cret"), "{}", judged.text);
    let other = url.replace("/5", "/0");
    let judged = judge(mapping, &other);
    assert_eq!(judged.code, 3, "{}", judged.text);
    assert!(judged.text.contains("has no campaign 7"), "{}", judged.text);
    assert!(!judged.text.contains("s3cret"), "{}", judged.text);
}

#[test]
fn a_cluster_is_read_on_all_its_masters() {
    let servers = e2e::RedisCluster::start();
    let url = servers.url();
    let seeds = servers.nodes().iter().map(e2e::Redis::url).collect::<Vec<_>>();
    let client = redis::cluster::ClusterClient::new(seeds).unwrap();
    let mut cluster = client.get_connection().unwrap();
    let rows = [("u1", "가나1"), ("u4", "다라2"), ("u2", "사아3")];
    for (user, code) in rows {
        let key = format!("won:7:{user}");
        redis::cmd("SET").arg(key).arg(code).query::<()>(&mut cluster).unwrap();
    }
    let rulers = rows.map(|(user, _)| servers.ruler_of(&format!("won:7:{user}")).port());
    assert!(rulers.iter().any(|port| *port != rulers[0]), "several masters hold some");
    let mapping = "read:\n  - { is: ledger, redis: 'won:{campaign}:{user}', value: '{code}' }\n";
    valid_with("cluster", mapping, &url);
    redis::cmd("DEL").arg("won:7:u1").query::<()>(&mut cluster).unwrap();
    wrong_with("cluster", mapping, &url, "lost");
}

#[test]
fn settings_that_let_redis_forget_are_told_and_change_no_verdict() {
    let forgetful = e2e::Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    run(&forgetful, &[&["RPUSH", "out:7", "가나1", "다라2", "사아3"], &["EXPIRE", "out:7", "100"]]);
    let mapping = "read:\n  - { is: ledger, redis: 'out:{campaign}', value: '{code}' }\n";
    let judged = valid_with("forgetful", mapping, &forgetful.url());
    for want in
        ["maxmemory-policy is allkeys-lru", "nothing is persisted", "out:7: the key expires in"]
    {
        assert!(judged.text.contains(want), "{want}: {}", judged.text);
    }
    let sound = redis(&[&["RPUSH", "out:7", "가나1", "다라2", "사아3"]]);
    let judged = valid_with("sound", mapping, &sound.url());
    assert!(!judged.text.contains("! store-settings"), "{}", judged.text);
    assert!(judged.text.contains(", read as its mapping says\n"), "{}", judged.text);
}

const TABLES: &str = "
CREATE TABLE campaign (id BIGINT PRIMARY KEY, total INT, left_over INT);
CREATE TABLE claims (id BIGINT PRIMARY KEY, campaign_id BIGINT, code CHAR(12), member VARCHAR(20),
    state VARCHAR(10));
INSERT INTO campaign VALUES (7, 3, 0), (8, 9, 9);
INSERT INTO claims VALUES (1, 7, '가나1', 'u1', 'DONE'), (2, 7, '다라2', 'u4', 'DONE'),
    (3, 7, '사아3', 'u2', 'DONE'), (4, 7, '하하9', 'u9', 'FAILED'), (5, 8, '하하9', 'u9', 'DONE');
";

const QUERIES: &str = r#"
read:
  - is: ledger
    sql: |
      SELECT code, member, id FROM claims -- those that failed hold nothing
      WHERE campaign_id = {campaign} AND state = 'DONE' ORDER BY id;
    columns: { code: code, user: member, order: id }
  - { is: total, sql: "SELECT total FROM campaign WHERE id = {campaign}" }
  - { is: remaining, name: left_over, sql: "SELECT left_over FROM campaign WHERE id = {campaign}" }
  - { is: waiting, sql: "SELECT count(*) FROM claims WHERE state = 'NEW'" }
"#;

/// A sound database; then what makes it wrong, and the check that notices.
fn sql(name: &str, url: &str, execute: &dyn Fn(&str)) {
    execute(TABLES);
    valid_with(name, QUERIES, url);
    execute("UPDATE campaign SET left_over = 1 WHERE id = 7");
    wrong_with(name, QUERIES, url, "ledger-mismatch");
    execute("UPDATE campaign SET left_over = 0 WHERE id = 7");
    execute("UPDATE claims SET member = 'u77' WHERE id = 3");
    wrong_with(name, QUERIES, url, "phantom");
    execute("UPDATE claims SET member = 'u2' WHERE id = 3");
    execute("DELETE FROM claims WHERE id = 2");
    wrong_with(name, QUERIES, url, "lost");
    let write = "read:\n  - { is: issued, sql: \"WITH x AS (SELECT 1) DELETE FROM claims\" }\n";
    let judged = judge(write, url);
    assert_eq!(judged.code, 2, "{name}: {}", judged.text);
    let unknown = "read:\n  - { is: ledger, sql: \"SELECT code, member FROM claims\" }\n";
    let judged = judge(unknown, url);
    assert_eq!(judged.code, 2);
    assert!(judged.text.contains("has a column member: expected code, user"), "{}", judged.text);
    let inspected = support::verifier(&["inspect", "--store", url]);
    assert!(
        inspected.contains("claims") && inspected.contains("4 rows: id, campaign_id"),
        "{inspected}"
    );
    assert!(inspected.contains("1  7  가나1  u1  DONE"), "{inspected}");
}

#[test]
fn postgres_is_read() {
    let postgres = e2e::Postgres::start();
    sql("PostgreSQL", &postgres.url(), &|statements| {
        postgres.sql(statements);
    });
}

#[test]
fn inspect_reads_as_the_judge_does() {
    let postgres = e2e::Postgres::start();
    postgres.sql("CREATE SEQUENCE numbers");
    let file = support::file("read:\n  - { is: issued, sql: \"SELECT nextval('numbers')\" }\n");
    let mut inspect = std::process::Command::new(env!("CARGO_BIN_EXE_verifier"));
    inspect.args(["inspect", "--store", &postgres.url(), "--campaign", "7", "--mapping"]);
    let output = inspect.arg(file.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("read-only transaction"), "{said}");
}

#[test]
fn mariadb_is_read() {
    let mariadb = e2e::MariaDb::start();
    mariadb.sql("ALTER DATABASE test CHARACTER SET utf8mb4");
    sql("MariaDB", &mariadb.url(), &|statements| {
        mariadb.sql(statements);
    });
}

#[test]
fn bytes_that_are_no_text_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(TABLES).unwrap();
    database.execute_batch("INSERT INTO claims VALUES (9, 7, x'ff', 'u9', 'DONE')").unwrap();
    let judged = judge(QUERIES, &format!("sqlite:{}", path.display()));
    assert!(judged.found.contains(&"ledger-mismatch".to_owned()), "{}", judged.text);
    assert!(judged.text.contains("is no text in UTF-8; hex(…)"), "{}", judged.text);
}

#[test]
fn sqlite_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let url = format!("sqlite:{}", path.display());
    sql("SQLite", &url, &|statements| {
        rusqlite::Connection::open(&path).unwrap().execute_batch(statements).unwrap();
    });
}

#[test]
fn postgres_takes_the_campaign_for_what_its_column_is() {
    let postgres = e2e::Postgres::start();
    postgres.sql(
        "CREATE SCHEMA shop; SET client_min_messages = error;
         CREATE TABLE shop.\"Coupon\" (\"couponCode\" CHAR(20), \"userId\" UUID, \"campaignId\" TEXT,
             \"issuedAt\" TIMESTAMP DEFAULT now());
         INSERT INTO shop.\"Coupon\" VALUES ('가나1', NULL, '7'), ('다라2', NULL, '7'),
             ('사아3', NULL, '7'), ('하하9', NULL, E'x'' OR ''1''=''1');",
    );
    for (column, extra) in [
        ("\"campaignId\"", ""),
        ("\"campaignId\"::int2", " AND \"campaignId\" = '7'"),
        ("(CASE \"campaignId\" WHEN '7' THEN 7 END)", ""),
    ] {
        let sql = format!("SELECT * FROM shop.\"Coupon\" WHERE {column} = {{campaign}}{extra}");
        let sql = sql.replace("::int2", "");
        let mapping = format!(
            "read:\n  - is: ledger\n    sql: |\n      {sql}\n    columns: {{ code: couponCode }}\n"
        );
        valid_with(column, &mapping, &postgres.url());
    }
}

#[test]
fn a_list_over_http_is_read_page_by_page() {
    for (path, next) in [
        ("/list?c={campaign}&page={page}", ""),
        ("/list?c={campaign}&offset={offset}", ""),
        ("/list?c={campaign}&next={next}", ", next: $.next"),
    ] {
        let server = support::Lists::start(&[("u1", "가나1"), ("u4", "다라2"), ("u2", "사아3")]);
        let mapping = format!(
            "read:\n  - {{ is: ledger, http: \"{path}\", rows: $.items, \
             headers: {{ x-token: \"${{PATH}}\" }}, columns: {{ code: $.code, user: user }}{next} }}\n  \
             - {{ is: remaining, http: \"/campaigns/{{campaign}}\", json: $.data.left }}\n"
        );
        let judged = valid_with(path, &mapping, &server.url());
        assert!(judged.text.contains("its rows tell no key, order, seq"), "{}", judged.text);
        let two = support::Lists::start(&[("u1", "가나1"), ("u2", "사아3")]);
        wrong_with(path, &mapping, &two.url(), "lost");
    }
    let server = support::Lists::start(&[]);
    let judged = judge("read:\n  - { is: remaining, http: /500, json: $ }\n", &server.url());
    assert_eq!(judged.code, 2);
    assert!(judged.text.contains("GET /500: answered 500"), "{}", judged.text);
    let mapping =
        "read:\n  - { is: ledger, http: '/same?{page}', rows: $, columns: { code: $ } }\n";
    let judged = judge(mapping, &server.url());
    assert!(judged.text.contains("two pages are the same"), "{}", judged.text);
}

#[test]
fn several_stores_are_held_against_each_other() {
    let redis = redis(&[&["SET", "stock:7", "0"]]);
    let postgres = e2e::Postgres::start();
    postgres.sql(TABLES);
    let mapping = |ledger: &str| {
        format!(
            "url: {}\nread:\n  - {{ is: remaining, redis: 'stock:{{campaign}}' }}\n  \
             - {{ is: ledger, url: '{}', sql: \"SELECT code FROM claims WHERE {ledger}\" }}\n",
            redis.url(),
            postgres.url()
        )
    };
    let good = mapping("campaign_id = {campaign} AND state = 'DONE'");
    assert_eq!(support::judge_alone(&good).code, 0);
    run(&redis, &[&["INCR", "stock:7"]]);
    let judged = support::judge_alone(&good);
    assert_eq!(judged.found, ["ledger-mismatch"], "{}", judged.text);
}

#[test]
fn a_store_without_names_is_counted() {
    let redis = redis(&[&["SET", "issued:7", "3"], &["SET", "stock:7", "0"]]);
    let mapping = "read:\n  - { is: issued, redis: 'issued:{campaign}' }\n  \
                   - { is: remaining, redis: 'stock:{campaign}' }\n";
    let judged = valid_with("counts", mapping, &redis.url());
    assert!(judged.text.contains("only counted; which coupons it holds"), "{}", judged.text);
    assert!(
        judged.text.contains("lost, resurrected, phantom, wrong-refusal: not run"),
        "{}",
        judged.text
    );
    run(&redis, &[&["SET", "issued:7", "1"]]);
    wrong_with("counts", mapping, &redis.url(), "ledger-mismatch");
}

#[test]
fn inspect_shows_keys_and_what_a_mapping_finds() {
    let redis = redis(SHAPES[0].1);
    let seen = support::verifier(&["inspect", "--store", &redis.url(), "--campaign", "7"]);
    for want in ["3 keys", "claimed:7\n  set, 3 elements\n", "stock:7\n  string, 2 bytes\n    -4\n"]
    {
        assert!(seen.contains(want), "{want}: {seen}");
    }
    let file = support::file(SHAPES[0].2);
    let path = file.path().display().to_string();
    let arguments = ["inspect", "--store", &redis.url(), "--campaign", "7", "--mapping", &path];
    let seen = support::verifier(&arguments);
    let rows = "ledger  claimed:{campaign}\n  3 rows\n  rows tell: user\n    user u";
    for want in ["issued  issued:{{campaign}}\n  3\n", "remaining  stock:{campaign}\n  -4\n", rows]
    {
        assert!(seen.contains(want), "{want}: {seen}");
    }
}

/// Of a Redis with more keys than are shown, the first in their order are, and nothing is held of the others.
#[test]
fn inspect_tells_about_how_many_keys_there_are_where_they_are_many() {
    let redis = redis(&[&["SET", "other:8", "1"]]);
    let fill = "for n = 1, 20000 do redis.call('SET', string.format('claim:7:%05d', n), n) end";
    run(&redis, &[&["EVAL", fill, "0"]]);
    let inspect =
        |more: &[&str]| support::verifier(&[&["inspect", "--store", &redis.url()], more].concat());
    let seen = inspect(&["--campaign", "claim:7:"]);
    let shown: Vec<&str> = seen.lines().filter(|line| line.starts_with("claim:7:")).collect();
    let first: Vec<String> = (1..=40).map(|n| format!("claim:7:{n:05}")).collect();
    assert_eq!(shown, first);
    for want in ["\nabout 20,000 keys\n", "\n… and about 19,960 more\n"] {
        assert!(seen.contains(want), "{want}: {seen}");
    }
    assert!(inspect(&["--campaign", "claim:7:0001"]).contains("\n10 keys\n"));
    assert!(inspect(&[]).contains("\nabout 20,001 keys\n"));
}

#[test]
fn a_pattern_of_keys_counts_what_is_in_them_where_it_is_named() {
    let redis = redis(&[
        &["HSET", "claim:7:u1", "status", "DONE", "code", "가나1"],
        &["HSET", "claim:7:u2", "status", "FAILED", "code", "다라2"],
        &["SET", "jobs:7:a", "2"],
        &["RPUSH", "jobs:7:b", "x", "y", "z"],
        &["HSET", "row:7", "code", "가나1", "user", "u1"],
    ]);
    let file = support::file(
        r#"
read:
  - { is: issued, name: done, redis: "claim:{campaign}:{user}", field: status, value: DONE }
  - { is: issued, name: keys, redis: "claim:{campaign}:{_}" }
  - { is: waiting, name: jobs, redis: "jobs:{campaign}:{_}" }
  - { is: ledger, name: row, redis: "row:{campaign}", columns: { code: code, user: user } }
"#,
    );
    let path = file.path().display().to_string();
    let arguments = ["inspect", "--store", &redis.url(), "--campaign", "7", "--mapping", &path];
    let seen = support::verifier(&arguments);
    for want in ["done\n  1\n", "keys\n  2\n", "jobs\n  5\n", "row\n  1 row\n"] {
        assert!(seen.contains(want), "{want}: {seen}");
    }
}

#[test]
fn bad_mappings_are_one_line_with_their_place() {
    for (mapping, want) in [
        ("", ": the file is empty, expected a store mapping (see docs/store-mapping.md)"),
        ("read: []", ":1:7: read: expected at least one reading"),
        (
            "read:\n  - { is: lodger, redis: a }",
            ":2:11: read[0].is: unknown value `lodger`; did you mean `ledger`?",
        ),
        (
            "read:\n  - { is: issued, radis: a }",
            ":2:19: read[0]: unknown key `radis`; did you mean `redis`?",
        ),
        ("read:\n  - { redis: a }", "read[0]: key `is` is missing"),
        ("read:\n  - { is: issued }", "read[0]: expected one of `redis`, `sql` and `http`"),
        (
            "read:\n  - { is: issued, redis: 'a{usr}' }",
            ":2:26: read[0].redis: `{usr}`: no such name",
        ),
        (
            "read:\n  - { is: issued, sql: 'DELETE FROM a' }",
            ":2:24: read[0].sql: expected one query that begins with SELECT",
        ),
        ("read:\n  - { is: ledger, redis: a }", "expected a ledger to tell something"),
        (
            "url: 'redis://h'\nread:\n  - { is: issued, sql: SELECT 1 }",
            ":3:24: read[0].sql: expected the URL of an SQL database",
        ),
        (
            "url: 'ftp://a:hush-hush@h'\nread:\n  - { is: issued, sql: SELECT 1 }",
            ":1:6: url: found \"ftp://a:***@h\", expected redis://",
        ),
        (
            "url: 'redis://:${NOT_THERE}@h'\nread:\n  - { is: issued, redis: a }",
            "url: `${NOT_THERE}`: expected the environment",
        ),
        (
            "read:\n  - { is: issued, http: /a, json: a }",
            ":2:35: read[0].json: found \"a\", expected a JSON path",
        ),
        (
            "read:\n  - { is: issued, redis: 'a:{user}', json: $.n }",
            "json: belongs to one key, and this is a pattern of keys",
        ),
        (
            "read:\n  - { is: issued, sql: SELECT 1, field: a }",
            "field: belongs to a reading with `redis`",
        ),
        ("settle: { still: 3 }\nread:\n  - { is: issued, redis: a }", ":1:18: settle.still: found"),
    ] {
        let judged = support::judge_alone(mapping);
        assert_eq!(judged.code, 2, "{mapping}: {}", judged.text);
        assert_eq!(judged.text.lines().count(), 1, "{}", judged.text);
        assert!(judged.text.contains(want), "\n  {}\nlacks\n  {want}", judged.text);
        assert!(!judged.text.contains("hush-hush"), "{}", judged.text);
    }
}

#[test]
fn every_example_of_the_docs_is_a_mapping() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/store-mapping.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 10, "{}", examples.len());
    for example in examples {
        let inner = example.strip_prefix("store:\n");
        let plain = inner.map(|inner| inner.replace("\n  ", "\n").trim_start().to_owned());
        let file = support::file(plain.as_deref().unwrap_or(example));
        Mapping::load(file.path()).unwrap_or_else(|e| panic!("{e}\n{example}"));
    }
}
