//! Set-up by HTTP, SQL and Redis, against real services and a stand-in that remembers what it was
//! asked: users, tokens, sessions, secrets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/ended.rs"]
mod ended;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use e2e::{MariaDb, Postgres, Redis};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Names that get out of their place where somebody quotes badly.
const HOSTILE: [&str; 6] =
    [r"o'br\'; DROP TABLE member; --", r"\", "a\"b", "$$ {user} %s", "가 나", "x\ny"];
/// What none of the run's files and messages may have in it.
const PASSWORD: &str = "s@cret/pass word";

/// A request that the stand-in got.
#[derive(Clone, Debug)]
struct Heard {
    path: String,
    headers: HeaderMap,
    json: Value,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// A system whose every campaign has 5 coupons.
struct StandIn {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    _runtime: tokio::runtime::Runtime,
}

impl StandIn {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let ear = Arc::clone(&ear);
                let service = service_fn(move |request| answer(request, Arc::clone(&ear)));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, heard, _runtime: runtime }
    }

    /// What it was asked at paths that end like this.
    fn heard(&self, end: &str) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|h| h.path.ends_with(end)).cloned().collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    ear: Arc<Mutex<Vec<Heard>>>,
) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    let heard = Heard { path: head.uri.path().to_owned(), headers: head.headers, json };
    let claims = {
        let mut all = ear.lock().unwrap();
        all.push(heard.clone());
        all.iter().filter(|h| h.path.ends_with("/claims")).count()
    };
    let user = heard.json["user"].as_str().unwrap_or_default();
    let (status, body) = match heard.path.as_str() {
        "/login" => (200, json!({"token": "admin-token-1"})),
        "/members" if heard.header("authorization") == "Bearer admin-token-1" => {
            (201, json!({"id": format!("id-of-{user}"), "token": format!("token-of-{user}")}))
        }
        "/campaigns" => (201, json!({"id": 77})),
        "/time" => (200, json!({"now": chrono::Utc::now() + chrono::TimeDelta::hours(1)})),
        "/broken" => (500, json!({"echo": heard.json})),
        "/half" => (500, json!({"token": "captured-secret"})),
        path if path.ends_with("/claims") && claims <= 5 => (200, json!({"code": claims})),
        path if path.ends_with("/claims") => (409, json!({})),
        _ => (404, json!({})),
    };
    let response = Response::builder()
        .status(status)
        .header("set-cookie", format!("SID=session-of-{user}; Path=/; HttpOnly"));
    Ok(response.body(Full::from(body.to_string())).unwrap())
}

/// How a run of `loadgen` ended.
struct Ended {
    code: Option<i32>,
    text: String,
    run: PathBuf,
    _dir: TempDir,
}

impl Ended {
    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.run.join(name)).unwrap()
    }

    /// Everything that the run printed or wrote.
    fn everything(&self) -> String {
        fn read(dir: &Path, all: &mut String) {
            for entry in std::fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    read(&path, all);
                } else {
                    *all += &String::from_utf8_lossy(&std::fs::read(&path).unwrap());
                }
            }
        }
        let mut all = self.text.clone();
        read(&self.run, &mut all);
        all
    }
}

const LOAD: &str = "{ begin: 0s, stages: [{ for: 200ms, rate: 30 }] }";
const REQUEST: &str = "{ path: '/{campaign}/claims', json: { user: '{user}' } }";

/// A scenario of six arrivals with these lines in its mapping.
fn scenario(system: &str, users: &str, mapping: &str, request: &str) -> String {
    let indented: String = mapping.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "name: s\ncampaign: {{ coupons: 5, starts_in: 1s }}\nsystem: {system}\nload: {LOAD}\n\
         {users}\nmapping:\n{indented}  request: {request}\n  outcomes:\n    \
         - {{ status: 200, is: issued, code: $.code }}\n    - {{ status: 409, is: sold_out }}\n"
    )
}

fn targets(stand_in: &StandIn, store: Option<&str>) -> String {
    let store = store.map_or_else(String::new, |s| format!(", store: '{s}'"));
    format!("{{ targets: ['{}']{store} }}", stand_in.url)
}

/// Writes the scenario and calls `loadgen` with it.
fn loadgen(command: &str, scenario: &str, files: &[(&str, &str)]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files.iter().chain(&[("s.yaml", scenario)]) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let run = dir.path().join("run");
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    // The scenario's folder is not the current one.
    std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
    loadgen.current_dir(dir.path().join("elsewhere")).env("TEST_PASSWORD", PASSWORD);
    loadgen.arg(command).arg(dir.path().join("s.yaml"));
    if command == "run" {
        loadgen.arg("--out").arg(&run);
    }
    let output = ended::in_time(&mut loadgen);
    let text = ended::text(&output);
    Ended { code: output.status.code(), text, run, _dir: dir }
}

/// Runs the scenario: six requests, five coupons, every answer understood.
fn runs(scenario: &str, files: &[(&str, &str)]) -> Ended {
    let ended = loadgen("run", scenario, files);
    ended::assert_sound(ended.code, &ended.text);
    let summary: Value = serde_json::from_str(&ended.file("summary.json")).unwrap();
    assert_eq!(summary["outcomes"]["issued"], 5, "{}", ended.text);
    ended
}

fn csv(users: &[&str]) -> String {
    let quoted = |user: &&str| format!("\"{}\",{}\n", user.replace('"', "\"\""), user.len());
    format!("user,weight\n{}", users.iter().map(quoted).collect::<String>())
}

/// Who asked for a coupon.
fn askers(stand_in: &StandIn) -> BTreeSet<String> {
    let claims = stand_in.heard("/claims");
    claims.iter().map(|h| h.json["user"].as_str().unwrap().to_owned()).collect()
}

fn hostile() -> BTreeSet<String> {
    HOSTILE.map(str::to_owned).into()
}

const FROM_FILE: &str = "users: { file: users.csv }";
const REGISTER: &str = "\
prepare:
  - each: user
    sql: { url: '{store}', run: 'INSERT INTO member (id, weight) VALUES ({user}, {weight:int})' }";

#[test]
fn a_campaign_and_users_are_created_in_postgresql() {
    let (stand_in, postgres) = (StandIn::start(), Postgres::start());
    postgres.sql(
        "CREATE TABLE campaign (id serial PRIMARY KEY, name text, total int, starts_at timestamptz);
         CREATE TABLE member (id text PRIMARY KEY, weight int, \"bornAt\" timestamptz)",
    );
    let setup = "
setup:
  - sql:
      url: '{store}'
      run: >
        INSERT INTO campaign (name, total, starts_at) VALUES ({name}, {coupons}, {starts_at})
        RETURNING 'c' || id AS \"campaignId\"
    capture: { campaign: campaignId }";
    let system = targets(&stand_in, Some(&postgres.url()));
    let text = scenario(&system, FROM_FILE, &format!("{REGISTER}{setup}"), REQUEST);
    let ended = runs(&text, &[("users.csv", &csv(&HOSTILE))]);
    let rows = "SELECT name, total, starts_at - now() BETWEEN '-1 min' AND '1 min' FROM campaign";
    assert_eq!(postgres.sql(rows), "s|5|t");
    let members: Value =
        serde_json::from_str(&postgres.sql("SELECT json_object_agg(id, weight) FROM member"))
            .unwrap();
    let want: Value = HOSTILE.iter().map(|u| ((*u).to_owned(), json!(u.len()))).collect();
    assert_eq!(members, want);
    assert_eq!(askers(&stand_in), hostile());
    assert_eq!(stand_in.heard("/c1/claims").len(), 6);
    let run: Value = serde_json::from_str(&ended.file("run.json")).unwrap();
    assert_eq!(run["campaigns"][0]["id"], "c1");
}

#[test]
fn a_campaign_and_users_are_created_in_mariadb() {
    let (stand_in, mariadb) = (StandIn::start(), MariaDb::start());
    mariadb.sql(
        "CREATE TABLE campaign (id INT AUTO_INCREMENT PRIMARY KEY, name TEXT, total INT, \
         starts_at DATETIME(3));
         CREATE TABLE member (id VARCHAR(80) PRIMARY KEY, weight INT) COLLATE utf8mb4_bin",
    );
    let setup = "
setup:
  - sql:
      url: '{store}'
      run:
        - INSERT INTO campaign (name, total, starts_at) VALUES ('x-' || {name}, {coupons}, {starts_at_utc})
        - SELECT LAST_INSERT_ID() AS id, 'x' AS other
    capture: { campaign: ID }";
    let system = targets(&stand_in, Some(&mariadb.url()));
    let text = scenario(&system, FROM_FILE, &format!("{REGISTER}{setup}"), REQUEST);
    runs(&text, &[("users.csv", &csv(&HOSTILE))]);
    let rows = "SELECT name, total, ABS(TIMESTAMPDIFF(SECOND, starts_at, UTC_TIMESTAMP())) < 60 \
                FROM campaign";
    assert_eq!(mariadb.sql(rows), "x-s\t5\t1");
    let members = mariadb.sql("SELECT HEX(id), weight FROM member");
    let found: BTreeSet<&str> = members.lines().collect();
    let hex = |u: &str| u.bytes().map(|b| format!("{b:02X}")).collect::<String>();
    let want: Vec<String> = HOSTILE.iter().map(|u| format!("{}\t{}", hex(u), u.len())).collect();
    assert_eq!(found, want.iter().map(String::as_str).collect());
    assert_eq!(askers(&stand_in), hostile());
    assert_eq!(stand_in.heard("/1/claims").len(), 6);
}

#[test]
fn a_campaign_and_users_are_created_in_sqlite() {
    let stand_in = StandIn::start();
    let mapping = "\
prepare:
  - sql:
      url: '{store}'
      run: |
        CREATE TABLE campaign (id INTEGER PRIMARY KEY, name TEXT, total INTEGER);
        CREATE TABLE member (id TEXT PRIMARY KEY, weight INTEGER);
  - each: user
    sql: { url: '{store}', run: 'INSERT INTO member VALUES ({user}, {weight})' }
setup:
  - sql:
      url: '{store}'
      run: [ 'INSERT INTO campaign (name, total) VALUES ({name}, {coupons}) RETURNING 99 AS id',
             'SELECT max(id) AS id, typeof(total) AS type FROM campaign' ]
    capture: { campaign: id, type: type }";
    let system = targets(&stand_in, Some("sqlite:{run}/s.db"));
    let request = "{ path: '/{campaign}/{type}/claims', json: { user: '{user}' } }";
    let text = scenario(&system, FROM_FILE, mapping, request);
    let ended = runs(&text, &[("users.csv", &csv(&HOSTILE))]);
    assert_eq!(stand_in.heard("/1/integer/claims").len(), 6);
    assert_eq!(askers(&stand_in), hostile());
    let store = rusqlite::Connection::open(ended.run.join("s.db")).unwrap();
    let mut members =
        store.prepare("SELECT id FROM member WHERE typeof(weight) = 'integer'").unwrap();
    let found: BTreeSet<String> =
        members.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(found, hostile());
}

#[test]
fn a_campaign_and_users_are_created_in_redis() {
    let (stand_in, redis) = (StandIn::start(), Redis::start());
    let mapping = "\
prepare:
  - each: user
    redis: { url: '{store}', run: [[HSET, member, '{user}', '{weight}']] }
setup:
  - redis: { url: '{store}', run: [[INCRBY, 'next campaign', 42]] }
    capture: { campaign: reply }
  - redis: { url: '{store}', run: [[SET, 'campaign:{campaign}:stock', '{coupons}'], [PING]] }";
    let system = targets(&stand_in, Some(&redis.url()));
    runs(&scenario(&system, FROM_FILE, mapping, REQUEST), &[("users.csv", &csv(&HOSTILE))]);
    assert_eq!(stand_in.heard("/42/claims").len(), 6);
    assert_eq!(askers(&stand_in), hostile());
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let mut get = |command: &[&str]| -> redis::Value {
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection).unwrap()
    };
    assert_eq!(get(&["GET", "campaign:42:stock"]), redis::Value::BulkString(b"5".into()));
    assert_eq!(get(&["HLEN", "member"]), redis::Value::Int(6));
    let first = get(&["HGET", "member", HOSTILE[0]]);
    assert_eq!(first, redis::Value::BulkString(HOSTILE[0].len().to_string().into()));
}

const TOKENS: &str = "\
prepare:
  - request: { path: /login, json: { password: '${TEST_PASSWORD}' } }
    capture: { admin: $.token }
  - each: user
    request:
      path: /members
      headers: { authorization: 'Bearer {admin}' }
      json: { user: '{user}', n: '{user_n:int}' }
    expect: 201
    capture: { token: $.token, session: 'cookie:SID', member: $.id }
setup:
  - request: { path: /campaigns, headers: { authorization: 'Bearer {admin}' } }
    capture: { campaign: $.id }";
const WITH_TOKENS: &str = "{ path: '/{campaign}/claims', \
    headers: { authorization: 'Bearer {token}', cookie: 'SID={session}' }, \
    json: { user: '{user}', member: '{member}', n: '{user_n:int}' } }";

#[test]
fn users_are_registered_and_ask_with_their_own_tokens_and_sessions() {
    let stand_in = StandIn::start();
    let text = scenario(&targets(&stand_in, None), "users: { count: 40 }", TOKENS, WITH_TOKENS);
    let ended = runs(&text, &[]);
    let mut numbers: Vec<u64> =
        stand_in.heard("/members").iter().map(|h| h.json["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<u64>>());
    assert_eq!(stand_in.heard("/login")[0].json["password"], PASSWORD);
    let mut claims = stand_in.heard("/77/claims");
    claims.sort_by_key(|claim| claim.json["n"].as_u64());
    assert_eq!(claims.len(), 6);
    for (claim, number) in claims.iter().zip(1..) {
        let user = claim.json["user"].as_str().unwrap();
        assert_eq!(claim.header("authorization"), format!("Bearer token-of-{user}"));
        assert_eq!(claim.header("cookie"), format!("SID=session-of-{user}"));
        let want = json!({"user": format!("u{number:07}"), "member": format!("id-of-{user}"), "n": number});
        assert_eq!(claim.json, want);
    }
    let everything = ended.everything();
    for secret in [PASSWORD, "admin-token-1", "token-of-", "session-of-"] {
        assert!(!everything.contains(secret), "{secret}");
    }
}

#[test]
fn a_user_may_be_called_what_the_system_says() {
    let stand_in = StandIn::start();
    let mapping = TOKENS.replace("member: $.id", "user: $.id");
    let request = "{ path: '/{campaign}/claims', json: { user: '{user}' } }";
    runs(&scenario(&targets(&stand_in, None), "users: { count: 6 }", &mapping, request), &[]);
    let want: BTreeSet<String> = (1..=6).map(|n| format!("id-of-u{n:07}")).collect();
    assert_eq!(askers(&stand_in), want);
}

#[test]
fn users_of_a_file_ask_again_only_where_they_may() {
    let stand_in = StandIn::start();
    let file = "user,token\na,ta-secret\nb,tb-secret\n";
    let request = "{ path: '/{campaign}/claims', headers: { authorization: 'Bearer {token}' }, \
                   json: { user: '{user}' } }";
    let with = |users| scenario(&targets(&stand_in, None), users, "setup: []", request);
    for command in ["run", "plan"] {
        let ended = loadgen(command, &with(FROM_FILE), &[("users.csv", file)]);
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        assert!(ended.text.contains("there are 6 buyers and 2 users"), "{}", ended.text);
        assert!(!ended.run.exists());
    }
    assert!(stand_in.heard("").is_empty());
    let again = with("users: { file: users.csv, reuse: true }");
    let ended = runs(&again, &[("users.csv", file)]);
    let tokens: Vec<String> =
        stand_in.heard("/claims").iter().map(|h| h.header("authorization").to_owned()).collect();
    assert_eq!(tokens, ["Bearer ta-secret", "Bearer tb-secret"].repeat(3));
    assert!(!ended.everything().contains("-secret"));
}

#[test]
fn what_is_wrong_is_said_in_one_line_before_anything_starts() {
    let stand_in = StandIn::start();
    let step = |step: &str| format!("setup:\n  - {step}");
    let sql = |run: &str| step(&format!("sql: {{ url: 'mysql://h/d', run: \"{run}\" }}"));
    for (users, mapping, want) in [
        (
            "",
            step("request: { path: '/${NOT_THERE}' }"),
            "s.yaml:8:24: mapping.setup[0].request.path: `${NOT_THERE}`",
        ),
        (
            "",
            step("redis: { url: 'redis://:${NOT_THERE}@h', run: [[PING]] }"),
            "s.yaml:8:21: mapping.setup[0].redis.url: `${NOT_THERE}`: expected the environment to have",
        ),
        (
            "",
            sql("SELECT '{name}'"),
            "s.yaml:8:39: mapping.setup[0].sql.run: `{name}` stands inside quotes",
        ),
        ("", sql("SELECT {user}"), "s.yaml:8:39: mapping.setup[0].sql.run: `{user}`: no such name"),
        (
            "",
            step("sql: { url: 'mysql://h/d', rum: x }"),
            "s.yaml:8:34: mapping.setup[0].sql: unknown key `rum`; did you",
        ),
        (
            "",
            step("sql: { url: 'http://h', run: x }"),
            "s.yaml:8:19: mapping.setup[0].sql.url: found \"http://h\", expected postgres",
        ),
        (
            "",
            step("request: { path: / }\n    expect: 20"),
            "s.yaml:9:15: mapping.setup[0].expect: found 20,",
        ),
        (
            "",
            step("request: { path: / }\n    capture: { a: 'cookei:b' }"),
            "s.yaml:9:21: mapping.setup[0].capture.a: found \"cookei:b\"",
        ),
        (
            "",
            step("requets: { path: / }"),
            "s.yaml:8:7: mapping.setup[0]: unknown key `requets`; did you mean `request`",
        ),
        (
            FROM_FILE,
            step("request: { path: / }"),
            "users.csv:3: user \"a\" stands on line 2 already",
        ),
        (
            "users: { count: 0 }",
            "setup: []".into(),
            "s.yaml:5:17: users.count: found 0, expected 1 to",
        ),
    ] {
        let text = scenario(&targets(&stand_in, None), users, &mapping, REQUEST);
        for command in ["validate", "run"] {
            let ended = loadgen(command, &text, &[("users.csv", "user\na\na\n")]);
            assert_eq!(ended.code, Some(2), "{mapping}: {}", ended.text);
            assert!(ended.text.contains(want), "\n  {}\nlacks\n  {want}", ended.text);
            assert_eq!(ended.text.lines().count(), 1, "{}", ended.text);
            assert!(!ended.run.exists());
        }
    }
    assert!(stand_in.heard("").is_empty());
}

#[test]
fn no_message_has_a_secret_in_it() {
    let (stand_in, postgres) = (StandIn::start(), Postgres::start());
    postgres.sql("CREATE TABLE t (n int)");
    let users = "users: { file: users.csv, reuse: true }";
    let login = "\
prepare:
  - request: { path: /login }
    capture: { admin: $.token }
  - each: user
    ";
    let database =
        format!("postgres://postgres:${{TEST_PASSWORD}}@127.0.0.1:{}/postgres", postgres.port());
    let gone = format!("postgres://me:${{TEST_PASSWORD}}@127.0.0.1:{}/x", e2e::free_port());
    for (step, want) in [
        (
            "request: { path: /broken, json: { a: '{admin}', p: '${TEST_PASSWORD}', u: '{mail}' } }",
            "prepare[1], user \"a\": POST http://",
        ),
        (
            "request: { path: /half }\n    expect: 500\n    capture: { t: $.token, u: $.x }",
            "\"token\":\"***\"",
        ),
        ("request: { path: '/x/{admin}' }", "/x/*** answered 404"),
        (
            &format!("sql: {{ url: '{database}', run: 'INSERT INTO t VALUES ({{admin}})' }}"),
            "postgres:***@127.0.0.1",
        ),
        (&format!("sql: {{ url: '{gone}', run: 'SELECT 1' }}"), "me:***@127.0.0.1"),
        (
            "redis: { url: 'redis://:${TEST_PASSWORD}@127.0.0.1:1', run: [[PING]] }",
            ":***@127.0.0.1",
        ),
    ] {
        let mapping = format!("{login}{step}\nsetup: []");
        let text = scenario(&targets(&stand_in, None), users, &mapping, REQUEST);
        for command in ["run", "probe"] {
            let ended = loadgen(command, &text, &[("users.csv", "user,mail\na,secret@example\n")]);
            assert_eq!(ended.code, Some(2), "{step}: {}", ended.text);
            assert!(ended.text.contains(want), "\n  {}\nlacks\n  {want}", ended.text);
            assert_eq!(ended.text.lines().count(), 1, "{}", ended.text);
            for secret in ["admin-token", "s@cret", "s%40cret", "captured-secret", "secret@exa"] {
                assert!(!ended.text.contains(secret), "{secret}: {}", ended.text);
            }
        }
    }
}

#[test]
fn a_password_in_a_url_and_a_jwt_key_are_used_and_not_written_down() {
    let stand_in = StandIn::start();
    let redis = Redis::start_with(&["--requirepass", PASSWORD]);
    let store = format!("redis://:${{TEST_PASSWORD}}@127.0.0.1:{}/0", redis.port());
    let mapping = "\
setup:
  - redis: { url: '{store}', run: [[SET, stock, '{coupons}'], [GET, stock]] }
    capture: { stock: reply }";
    let request = "{ path: '/{campaign}/claims', headers: { authorization: 'Bearer {jwt}' }, \
                   json: { stock: '{stock:int}' }, jwt: { claims: { sub: '{user}' }, secret: '${TEST_PASSWORD}' } }";
    let ended = runs(&scenario(&targets(&stand_in, Some(&store)), "", mapping, request), &[]);
    let everything = ended.everything();
    for secret in [PASSWORD, "s%40cret"] {
        assert!(!everything.contains(secret));
    }
    let run: Value = serde_json::from_str(&ended.file("run.json")).unwrap();
    // Where it is a variable it stays one: the verifier has to find the store.
    assert_eq!(run["store"], store);
    // It is signed with the variable's value.
    let other = StandIn::start();
    let plain = request.replace("${TEST_PASSWORD}", PASSWORD);
    runs(&scenario(&targets(&other, Some(&store)), "", mapping, &plain), &[]);
    assert_eq!(stand_in.heard("/claims")[0].json, json!({"stock": 5}));
    let token = |s: &StandIn| s.heard("/claims")[0].header("authorization").to_owned();
    assert!(token(&stand_in).starts_with("Bearer ey"));
    assert_eq!(token(&stand_in), token(&other));
}

#[test]
fn a_probe_prepares_too_and_hides_what_is_captured() {
    let stand_in = StandIn::start();
    let text = scenario(&targets(&stand_in, None), "users: { count: 6 }", TOKENS, WITH_TOKENS);
    let ended = loadgen("probe", &text, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    for want in ["{admin} is captured, 13 characters", "{campaign} is 77", "=> issued, code \"1\""]
    {
        assert!(ended.text.contains(want), "{}\nlacks {want}", ended.text);
    }
    for secret in ["admin-token-1", "token-of-", "session-of-", "id-of-"] {
        assert!(!ended.text.contains(secret), "{secret}: {}", ended.text);
    }
    assert!(stand_in.heard("/claims")[0].header("cookie").starts_with("SID=session-of-"));
}

/// A server that answers everything with what makes this instance another one than the others.
const PARTICULAR: &str = "echo \"$CLOCK $BUG $*\"; exec \"$SERVER\" --store \"$1\" --listen \"$2\"";

#[test]
fn an_instance_may_have_settings_of_its_own() {
    let server = e2e::binary("coupon-server");
    let each = "each: [{ env: { CLOCK: '-2s', BUG: '{instance}' } }, { args: [more, '{port}'] }]";
    let with = |each: &str| {
        let command = format!("[sh, -c, '{PARTICULAR}', x, '{{store}}', '127.0.0.1:{{port}}']");
        let env = format!("{{ SERVER: '{}', CLOCK: none, BUG: '' }}", server.display());
        let spawn = format!("{{ command: {command}, instances: 3, env: {env}, {each} }}");
        format!(
            "name: s\ncampaign: {{ coupons: 5, starts_in: 1s }}\nload: {LOAD}\n\
             system: {{ store: 'sqlite:{{run}}/s.db', spawn: {spawn} }}\n"
        )
    };
    let ended = loadgen("run", &with(each), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let first = |name: &str| {
        let log = ended.file(&format!("instances/{name}.log"));
        let line = log.lines().next().unwrap_or_default().to_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let port = words.iter().find_map(|w| w.strip_prefix("127.0.0.1:")).unwrap().to_owned();
        line.replace(&port, "PORT").replace(&ended.run.display().to_string(), "RUN")
    };
    assert_eq!(first("api-1"), "-2s api-1 sqlite:RUN/s.db 127.0.0.1:PORT");
    assert_eq!(first("api-2"), "none  sqlite:RUN/s.db 127.0.0.1:PORT more PORT");
    assert_eq!(first("api-3"), "none  sqlite:RUN/s.db 127.0.0.1:PORT");
    for (each, want) in [
        ("each: [{}, {}, {}, {}]", "each: settings for 4 instances, expected at most 3"),
        ("each: [{ evn: {} }]", "unknown key `evn`; did you mean `env`?"),
        ("each: [{ env: { A: '${NOT_THERE}' } }]", "`${NOT_THERE}`: expected the environment"),
    ] {
        let ended = loadgen("validate", &with(each), &[]);
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        assert!(ended.text.contains(want), "{}\nlacks {want}", ended.text);
    }
}

#[test]
fn a_probe_asks_as_the_same_user_and_around_a_start_of_its_own() {
    let stand_in = StandIn::start();
    let request =
        "{ path: '/{campaign}/claims', json: { user: '{user}', n: '{user_n}', key: '{key}' } }";
    let text = scenario(&targets(&stand_in, None), "users: { count: 6 }", "setup: []", request);
    let later = "starts_in: 1s, starts_at: 2100-01-01T00:00:00Z";
    let ended = loadgen("probe", &text.replace("starts_in: 1s", later), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(!ended.text.contains("2100-"), "{}", ended.text);
    let claims: Vec<Value> = stand_in.heard("/claims").into_iter().map(|h| h.json).collect();
    assert_eq!((claims.len(), &claims[1]), (6, &claims[2]));
    let (same, again) = (&claims[1], &claims[3]);
    assert_eq!((&same["user"], &same["n"]), (&again["user"], &again["n"]));
    assert_ne!(same["key"], again["key"]);
}

#[test]
fn what_a_probe_was_told_in_secret_is_not_shown_where_nobody_answers() {
    let system = format!("{{ targets: ['http://127.0.0.1:{}'] }}", e2e::free_port());
    let text = scenario(&system, "", "setup: []", "{ path: '/x/${TEST_PASSWORD}' }");
    let ended = loadgen("probe", &text, &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("/x/***: "), "{}", ended.text);
    assert!(!ended.text.contains("cret"), "{}", ended.text);
}

#[test]
fn the_log_of_an_instance_is_shown_without_what_it_was_told_in_secret() {
    let log = "log {port} ${TEST_PASSWORD} {store}";
    let system = format!(
        "{{ store: 'redis://:hush-hush@127.0.0.1:1/0', spawn: {{ command: [sh, -c, 'echo {log}; exit 7'] }} }}"
    );
    let ended = loadgen("run", &scenario(&system, "", "setup: []", REQUEST), &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.trim_end().ends_with(" *** redis://:***@127.0.0.1:1/0"), "{}", ended.text);
}

#[test]
fn the_start_follows_a_clock_that_is_far_ahead() {
    let stand_in = StandIn::start();
    let clock = "clock: { asked: { request: { method: GET, path: /time }, now: $.now } }";
    let mapping = format!(
        "{clock}\nsetup:\n  - request: {{ path: /campaigns }}\n    capture: {{ campaign: $.id }}"
    );
    runs(&scenario(&targets(&stand_in, None), "", &mapping, REQUEST), &[]);
}
