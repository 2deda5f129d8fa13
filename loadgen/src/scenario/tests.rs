//! The file as a whole: what is accepted, and the words for what is not.

use super::*;

const GOOD: &str = r#"name: launch
campaign:
  coupons: 100
  starts_in: 1s
  per_user_limit: 1
system:
  store: "sqlite:{run}/coupons.db"
  spawn:
    command: [coupon-server, --store, "{store}", --listen, "127.0.0.1:{port}"]
    instances: 5
load:
  begin: -500ms
  stages:
    - { for: 500ms, rate: 50 }
    - { for: 1s, rate: 500, to: 1000 }
  bursts:
    - { at: -5ms, requests: 20, over: 10ms }
"#;

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(Path::new("s.yaml"), text, &Overrides::default())
}

fn with(text: &str, overrides: &Overrides) -> Result<Scenario, String> {
    Scenario::parse(Path::new("s.yaml"), text, overrides).map_err(|e| e.to_string())
}

fn set(assignments: &[&str]) -> Result<Scenario, String> {
    let set: Vec<String> = assignments.iter().map(|&s| s.to_owned()).collect();
    with(GOOD, &Overrides { set, ..Overrides::default() })
}

fn start_at(instant: &str) -> Overrides {
    let start_at = Some(DateTime::parse_from_rfc3339(instant).unwrap().to_utc());
    Overrides { start_at, ..Overrides::default() }
}

#[test]
fn accepts_a_whole_scenario() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!(scenario.load.stages.len(), 2);
    assert_eq!(scenario.load.begin.nanos(), -500_000_000);
    assert_eq!(u32::from(scenario.load.max_in_flight), 4_096);
    let Origin::Spawn(spawn) = scenario.system.origin else { panic!("spawned") };
    assert_eq!(u16::from(spawn.instances), 5);
}

#[test]
fn accepts_the_shipped_scenarios() {
    for entry in std::fs::read_dir(shipped()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            Scenario::load(&path, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn refuses_a_saturating_load_that_would_ignore_what_is_asked_for() {
    let load = "load.saturate={connections: 2, for: 1s}";
    for also in ["campaign.count=2", "buyers=[{}, {requests: 2}]"] {
        let message = set(&["load.stages=[]", "load.bursts=[]", load, also]).unwrap_err();
        assert!(message.contains("expected one campaign, and no buyers with"), "{message}");
    }
}

#[test]
fn campaigns_start_when_the_system_can_be_told() {
    assert!(set(&["campaign.count=3", "campaign.apart=5ms"]).is_ok());
    let message = set(&["campaign.apart=1500us"]).unwrap_err();
    assert!(message.contains("campaign.apart: expected whole milliseconds"), "{message}");
    let in_seconds = "mapping={setup: [{request: {path: /x, json: {at: '{starts_at_s:int}'}}}], \
                      request: {path: /y}, outcomes: [{is: sold_out}]}";
    assert!(set(&[in_seconds, "campaign.apart=2s"]).is_ok());
    assert!(set(&[in_seconds, "campaign.apart=1500ms"]).is_err());
}

#[test]
fn a_scenario_survives_json() {
    let scenario = parse(GOOD).unwrap();
    let json = serde_json::to_value(&scenario).unwrap();
    assert_eq!(serde_json::from_value::<Scenario>(json).unwrap(), scenario);
}

#[test]
fn an_empty_file_is_called_so() {
    for text in ["", "\n", "# only a comment\n"] {
        assert_eq!(
            parse(text).unwrap_err().to_string().split_once(": ").unwrap().1,
            "the file is empty, expected a scenario (see loadgen init)"
        );
    }
}

#[test]
fn system_is_spawned_or_given() {
    let targets = "system:\n  targets: [\"http://127.0.0.1:80\"]\nload:\n  begin: 0s\n  stages: [{for: 1s, rate: 1}]\n";
    let head = "name: a\ncampaign: {coupons: 1, starts_in: 1s}\n";
    let scenario = parse(&format!("{head}{targets}")).unwrap();
    let Origin::Targets(found) = scenario.system.origin else { panic!("given") };
    assert_eq!(found[0].url(), "http://127.0.0.1:80");
    let neither = targets.replace("targets: [\"http://127.0.0.1:80\"]", "store: x");
    let message = parse(&format!("{head}{neither}")).unwrap_err().to_string();
    assert!(message.contains("expected one of `spawn` and `targets`"), "{message}");
    let ftp = targets.replace("http:", "ftp:");
    let message = parse(&format!("{head}{ftp}")).unwrap_err().to_string();
    assert!(message.starts_with("s.yaml:4:13: system.targets[0]: found \"ftp:"), "{message}");
}

#[test]
fn protocol_and_trust_are_part_of_the_system() {
    let found = set(&["system.protocol=http2", "system.tls={ca: own.pem}"]).unwrap().system;
    assert_eq!((found.protocol, &found.tls), (Protocol::Http2, &Trust::Also("own.pem".into())));
    let message = set(&["system.protocol=http3"]).unwrap_err();
    assert!(message.contains("unknown value `http3`; did you mean `http1`?"), "{message}");
    let message = set(&["system.tls={ca: x, insecure: true}"]).unwrap_err();
    assert!(message.contains("expected `ca` or `insecure: true`, not both"), "{message}");
    let scenario = Scenario { system: found, ..parse(GOOD).unwrap() };
    let beside = scenario.beside(Path::new("some/s.yaml"));
    assert_eq!(beside.system.tls, Trust::Also("some/own.pem".into()));
}

/// The verifier finds it in `run.json`, where no password may stand.
#[test]
fn a_store_mapping_is_checked_and_written_down_without_passwords() {
    let store =
        "store:\n  url: 'redis://:pw0@h'\n  read:\n    - { is: issued, redis: 'a:{campaign}' }\n";
    let scenario = parse(&format!("{GOOD}{store}")).unwrap();
    let json = serde_json::to_value(&scenario).unwrap();
    assert_eq!(json["store"]["url"], "redis://:***@h");
    assert_eq!(json["store"]["read"][0]["redis"], "a:{campaign}");
    serde_json::from_value::<Scenario>(json).unwrap();
    let variable = store.replace("pw0", "${PATH}");
    let json = serde_json::to_value(parse(&format!("{GOOD}{variable}")).unwrap()).unwrap();
    assert_eq!(json["store"]["url"], "redis://:${PATH}@h");
    for (from, to, want) in [
        ("issued", "isued", "store.read[0].is: unknown value `isued`; did you mean `issued`?"),
        ("pw0", "${NOT_THERE}", "store.url: `${NOT_THERE}`: expected the environment"),
        ("a:{campaign}", "a:{usr}", "store.read[0].redis: `{usr}`: no such name"),
    ] {
        let message = parse(&format!("{GOOD}{}", store.replace(from, to))).unwrap_err().to_string();
        assert!(message.starts_with("s.yaml:") && message.contains(want), "{message}");
    }
}

#[test]
fn no_message_about_flags_shows_a_password() {
    for assignments in [
        &["system.stor=redis://:hush0@h"][..],
        &["system.store=: [redis://:hush0@h"],
        &["system.store=redis://:hush0@h", "campaign.starts_in=100ms"],
        &["system.targets=[http://me:hush0@h]"],
    ] {
        let message = set(assignments).unwrap_err();
        assert!(message.contains("***") && !message.contains("hush0"), "{message}");
    }
}

#[test]
fn set_changes_one_value() {
    let scenario =
        set(&["campaign.coupons=7", "load.stages.1.to=2000", "load.timeout=1s"]).unwrap();
    assert_eq!(scenario.campaign.coupons, 7);
    assert_eq!(scenario.load.stages[1].to.unwrap().per_second(), 2000.0);
    assert_eq!(scenario.load.timeout.span().nanos(), 1_000_000_000);
}

#[test]
fn what_belongs_together_may_be_set_in_any_order() {
    assert!(set(&["campaign.starts_in=100ms", "load.begin=-50ms"]).is_ok());
    let message = set(&["campaign.starts_in=100ms", "seed=2"]).unwrap_err();
    let want = "--set campaign.starts_in=100ms --set seed=2: load.begin: found -500ms, which is";
    assert!(message.starts_with(want), "{message}");
}

#[test]
fn flags_are_applied_before_anything_is_judged() {
    let early = GOOD.replace("begin: -500ms", "begin: -10m");
    assert!(parse(&early).is_err());
    let found = with(&early, &start_at("2030-01-01T00:00:00Z")).unwrap();
    assert_eq!(found.load.begin.nanos(), -600_000_000_000);
    // What the file has wrong by itself is said of the file.
    let seed = Overrides { seed: Some(2), ..Overrides::default() };
    let message = with(&early, &seed).unwrap_err();
    assert!(message.starts_with("s.yaml:12:10: load.begin: found -10m"), "{message}");
    let store = Overrides { store: Some("${NOT_THERE_AT_ALL}".into()), ..seed };
    let message = with(GOOD, &store).unwrap_err();
    assert!(message.starts_with("--store --seed: system.store: `${NOT_THERE"), "{message}");
}

#[test]
fn an_instant_is_one_that_the_system_can_be_told() {
    let seconds = "mapping: {setup: [{request: {path: '/{starts_at_s}'}}], request: {path: /}, \
                   outcomes: [{is: sold_out}]}";
    let in_seconds = format!("{GOOD}{seconds}\n");
    for (text, instant, want) in [
        (GOOD, "2030-01-01T00:00:00.25Z", None),
        (&in_seconds, "2030-01-01T00:00:01Z", None),
        (GOOD, "2030-01-01T00:00:00.0005Z", Some("00.000500Z, expected a whole millisecond")),
        (&in_seconds, "2030-01-01T00:00:00.25Z", Some("00.250Z, expected a whole second")),
    ] {
        let found = with(text, &start_at(instant));
        match want {
            None => assert!(found.is_ok(), "{found:?}"),
            Some(want) => {
                let message = found.unwrap_err();
                let begin = "--start-at: campaign.starts_at: found 2030-01-01T00:00:";
                assert!(message.starts_with(&format!("{begin}{want}")), "{message}");
            }
        }
    }
}

#[test]
fn what_is_not_set_is_read_as_in_the_file() {
    let text = GOOD
        .replace("name: launch", "name: 2026")
        .replace("    instances: 5", "    instances: 5\n    env: { N: 7, V: 1.50, ON: true }");
    let body = "mapping: {request: {path: /, body: 007}, outcomes: [{json: {$.a: 007}, is: busy}]}";
    let text = format!("{text}{body}\n");
    let alone = parse(&text).unwrap();
    let set = Overrides { set: vec!["seed=2".into()], ..Overrides::default() };
    assert_eq!(with(&text, &set).unwrap(), Scenario { seed: 2, ..alone });
}

#[test]
fn set_says_what_is_wrong() {
    for (assignment, want) in [
        (
            "campaign.cupons=7",
            "--set campaign.cupons=7: unknown key `cupons`; did you mean `coupons`?",
        ),
        ("campaign.coupons=-1", "--set campaign.coupons=-1: "),
        ("campaign", "--set campaign: expected KEY=VALUE"),
        ("seed=: [", "--set seed=: [: \": [\" is not YAML"),
        ("load.stages.9.rate=1", "--set load.stages.9.rate=1: \"9\" is no place in this list"),
        ("name.first=x", "--set name.first=x: \"first\" is inside a single value"),
    ] {
        let message = set(&[assignment]).unwrap_err();
        assert!(message.starts_with(want), "\n  {message}\nlacks\n  {want}");
    }
}
