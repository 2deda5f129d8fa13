//! What is wrong with a scenario, to the letter: one line with file, line and column, the key, what
//! was found and what was expected.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

use tempfile::{TempDir, tempdir};

const GOOD: &str = include_str!("good.yaml");

/// What is replaced in a valid scenario, by what, and the message from line and column on.
type Case = (&'static str, &'static str, &'static str);

/// What is no YAML, or more of it than one scenario.
const YAML: &[Case] = &[
    (
        "  coupons: 100",
        "	coupons: 100",
        "4:2: no YAML: a tab stands here, expected spaces (tabs disallowed within this context \
         (block indentation))",
    ),
    (
        "path: /members, json",
        "path: \"/members, json",
        "14:48: no YAML: a text goes on behind its closing quote; is a quote before it not \
         closed? (invalid trailing content after double-quoted scalar)",
    ),
    (
        "[{ status: 200, is: pending }]",
        "[{ status: 200, is: pending }",
        "38:10: no YAML: is a bracket or a brace before it not closed? (illegal placement of ':' \
         indicator)",
    ),
    (
        "  starts_in: 1s",
        "  starts_in: 1s\n  starts_in: 2s",
        "6:3: key `starts_in` stands here a second time",
    ),
    ("is: sold_out", "status: 1", "32:60: key `status` stands here a second time"),
    ("load:", "---\nload:", "44:1: expected one YAML document, found another one"),
    (
        "name: launch",
        "name: *x",
        "2:7: a text that begins with * has to stand in quotes (it would be a YAML alias)",
    ),
    (
        "  - { weight: 1,",
        "  - weight: 1\n  x: [{",
        "55:3: no YAML: does this line begin too far to the left or to the right? (while parsing \
         a block collection, did not find expected '-' indicator)",
    ),
    (
        "name: launch",
        "name: |\n  two\n  lines",
        "3:3: name: found \"two\\nlines\\n\", expected 1 to 60 letters, digits, '-' or '_'",
    ),
];

/// Keys that there are not, at every level.
const UNKNOWN_KEYS: &[Case] = &[
    (
        "name: launch",
        "nmae: launch",
        "2:1: unknown key `nmae`; did you mean `name`? (expected name, seed, campaign, system, \
         users, mapping, store, load, buyers, thresholds)",
    ),
    (
        "coupons: 100",
        "cuopons: 100",
        "4:3: campaign: unknown key `cuopons`; did you mean `coupons`? (expected coupons, \
         starts_in, starts_at, count, apart, restock, read_lag, per_user_limit, precedence)",
    ),
    (
        "  targets:",
        "  target:",
        "9:3: system: unknown key `target`; did you mean `targets`? (expected spawn, targets, \
         store, protocol, tls)",
    ),
    (
        "count: 1000",
        "cuont: 1000",
        "10:10: users: unknown key `cuont`; did you mean `count`? (expected file, count, reuse)",
    ),
    (
        "  outcomes:\n    - { status: 201",
        "  outcome:\n    - { status: 201",
        "28:3: mapping: unknown key `outcome`; did you mean `outcomes`? (expected prepare, setup, \
         request, outcomes, poll, confirm, reads, clock)",
    ),
    (
        "expect: 201",
        "expects: 201",
        "18:7: mapping.setup[0]: unknown key `expects`; did you mean `expect`? (expected each, \
         request, sql, redis, expect, capture)",
    ),
    (
        "method: POST",
        "methd: POST",
        "23:5: mapping.request: unknown key `methd`; did you mean `method`? (expected method, \
         path, query, headers, json, body, jwt)",
    ),
    (
        "code: $.code",
        "cod: $.code",
        "29:34: mapping.outcomes[0]: unknown key `cod`; did you mean `code`? (expected status, \
         header, json, body, empty, connect, is, code, seq, remaining, order, capture)",
    ),
    (
        "{ matches: sold }",
        "{ matchs: sold }",
        "32:41: mapping.outcomes[3].json.$.error: unknown key `matchs`; did you mean `matches`? \
         (expected exists, matches, above, below)",
    ),
    (
        "every: 50ms",
        "evry: 50ms",
        "36:5: mapping.poll: unknown key `evry`; did you mean `every`? (expected request, \
         outcomes, every, give_up)",
    ),
    (
        "rate: 50 ",
        "rat: 50 ",
        "46:21: load.stages[0]: unknown key `rat`; did you mean `rate`? (expected for, rate, to)",
    ),
    (
        "to: 900",
        "too: 900",
        "47:29: load.stages[1]: unknown key `too`; did you mean `to`? (expected for, rate, to)",
    ),
    (
        "over: 10ms",
        "ovr: 10ms",
        "49:33: load.bursts[0]: unknown key `ovr`; did you mean `over`? (expected at, requests, \
         over)",
    ),
    (
        "connections: 2",
        "conections: 2",
        "51:14: load.warm_up: unknown key `conections`; did you mean `connections`? (expected \
         connections, rate, path)",
    ),
    (
        "weight: 2",
        "wieght: 2",
        "53:7: buyers[0]: unknown key `wieght`; did you mean `weight`? (expected weight, \
         requests, apart, to, key, hang_up, retry, confirm)",
    ),
    (
        "at_most: 2",
        "at_mots: 2",
        "53:53: buyers[0].retry[0]: unknown key `at_mots`; did you mean `at_most`? (expected on, \
         at_most, after, factor, jitter, retry_after, key, to)",
    ),
    (
        "figure:",
        "figur:",
        "56:7: thresholds[0]: unknown key `figur`; did you mean `figure`? (expected figure, of, \
         below, above)",
    ),
    (
        "claims:",
        "claim:",
        "27:12: mapping.request.jwt: unknown key `claim`; did you mean `claims`? (expected \
         claims, secret)",
    ),
    (
        "run: \"INS",
        "rum: \"INS",
        "20:34: mapping.setup[1].sql: unknown key `rum`; did you mean `run`? (expected url, run)",
    ),
    (
        "name: launch",
        "name: launch\n\"a\\nb\": 1",
        "3:1: unknown key `a\\nb` (expected name, seed, campaign, system, users, mapping, store, \
         load, buyers, thresholds)",
    ),
    (
        "- { status: 409, json",
        "- { status: 409, header: { x: { abov: 1 } }, json",
        "32:37: mapping.outcomes[3].header.x: unknown key `abov`; did you mean `above`? (expected \
         exists, matches, above, below)",
    ),
    (
        "name: launch",
        "name: launch\nextra: [1, 2]",
        "3:1: unknown key `extra` (expected name, seed, campaign, system, users, mapping, store, \
         load, buyers, thresholds)",
    ),
];

/// Keys that have to be there.
const MISSING_KEYS: &[Case] = &[
    ("  starts_in: 1s\n", "", "4:3: campaign: key `starts_in` is missing"),
    ("name: launch\n", "", "2:1: key `name` is missing"),
    ("path: /sales, ", "", "17:16: mapping.setup[0].request: key `path` is missing"),
    (", is: indeterminate", "", "33:7: mapping.outcomes[4]: key `is` is missing"),
    ("rate: 50 }", "}", "46:7: load.stages[0]: key `rate` is missing"),
    ("on: [busy], ", "", "53:39: buyers[0].retry[0]: key `on` is missing"),
    ("figure: response.p99, ", "", "56:5: thresholds[0]: key `figure` is missing"),
    (
        "  targets: [\"http://127.0.0.1:8080\"]\n",
        "",
        "8:3: system: expected one of `spawn` and `targets`",
    ),
    (
        "    - redis: {",
        "    - request: { path: / }\n      redis: {",
        "21:7: mapping.setup[2]: expected one of `request`, `sql` and `redis`",
    ),
    (
        "below: 200ms",
        "below: 1s, above: 1s",
        "56:5: thresholds[0]: expected one of `below` and `above`",
    ),
    (", below: 200ms", "", "56:5: thresholds[0]: expected one of `below` and `above`"),
    ("count: 1000", "count: 5, file: a.csv", "10:8: users: expected one of `file` and `count`"),
    ("count: 1000", "reuse: true", "10:8: users: expected one of `file` and `count`"),
];

/// Words that there are not.
const UNKNOWN_VALUES: &[Case] = &[
    (
        "see: { remaining",
        "see: { remainin",
        "42:55: mapping.reads[0].see: unknown value `remainin`; did you mean `remaining`? \
         (expected issued, remaining, codes)",
    ),
    (
        "{ after: 20ms }",
        "{ afer: 20ms }",
        "54:29: buyers[1].confirm: unknown value `afer`; did you mean `after`? (expected now, \
         after, never)",
    ),
    (
        "  targets:",
        "  protocol: http3\n  targets:",
        "9:13: system.protocol: unknown value `http3`; did you mean `http1`? (expected http1, \
         http2)",
    ),
    (
        "is: issued, code: $",
        "is: isued, code: $",
        "29:26: mapping.outcomes[0].is: unknown value `isued`; did you mean `issued`? (expected \
         issued, sold_out, not_started, not_found, ended, already_issued, failed, busy, \
         indeterminate, accepted, reserved, pending)",
    ),
    (
        "- each: user",
        "- each: buyer",
        "13:13: mapping.prepare[0].each: unknown value `buyer`; did you mean `user`? (expected \
         user)",
    ),
    (
        "figure: response.p99",
        "figure: respone.p99",
        "56:15: thresholds[0].figure: unknown figure \"respone.p99\"; did you mean response.p99? \
         (expected response, service, lag or queue with .p50, .p90, .p99, .p99.9 or .max; issued, \
         failed, indeterminate or dropped, also with .share; start_delay; time_to_sell_out; \
         issue_rate)",
    ),
    (
        "of: issued, b",
        "of: everybody, b",
        "56:33: thresholds[0].of: unknown value `everybody` (expected all, issued, refused)",
    ),
    (
        "on: [busy]",
        "on: [bussy]",
        "53:46: buyers[0].retry[0].on[0]: unknown value `bussy`; did you mean `busy`? (expected \
         timeout, disconnected, indeterminate, not_connected, busy, failed, not_started, \
         not_found, sold_out)",
    ),
    (
        "{ after: 20ms }",
        "later",
        "54:27: buyers[1].confirm: unknown value `later`; did you mean `after`? (expected now, \
         after, never)",
    ),
    (
        "weight: 2,",
        "weight: 2, key: old,",
        "53:23: buyers[0].key: unknown value `old` (expected same, new)",
    ),
    (
        "weight: 2,",
        "weight: 2, to: nowhere,",
        "53:22: buyers[0].to: unknown value `nowhere` (expected next_target, same_target)",
    ),
    (
        "  setup:",
        "  clock: mine\n  setup:",
        "16:10: mapping.clock: unknown value `mine` (expected load_host, asked)",
    ),
    (
        "reads: 5",
        "reads: 5\n  arrivals: posson",
        "51:13: load.arrivals: unknown value `posson`; did you mean `poisson`? (expected \
         constant, poisson)",
    ),
];

/// Values of another kind.
const TYPES: &[Case] = &[
    (
        "coupons: 100",
        "coupons: many",
        "4:12: campaign.coupons: found many, expected a whole number, 0 or more",
    ),
    (
        "coupons: 100",
        "coupons: -1",
        "4:12: campaign.coupons: found -1, expected a whole number, 0 or more",
    ),
    (
        "coupons: 100",
        "coupons: 1.5",
        "4:12: campaign.coupons: found 1.5, expected a whole number, 0 or more",
    ),
    (
        "coupons: 100",
        "coupons: [1]",
        "4:12: campaign.coupons: found a list, expected a single value",
    ),
    (
        "coupons: 100",
        "coupons: 99999999999999999999999",
        "4:12: campaign.coupons: found 99999999999999999999999, expected a whole number, 0 or more",
    ),
    (
        "campaign:\n",
        "campaign: 5\nx:\n",
        "3:11: campaign: expected keys and values, such as `coupons: 100`",
    ),
    ("stages:\n", "stages: 5\n  x:\n", "45:11: load.stages: expected a list, such as `[a, b]`"),
    (
        "starts_in: 1s",
        "starts_in: {a: b}",
        "5:14: campaign.starts_in: found keys and values, expected a single value",
    ),
    ("starts_in: 1s", "starts_in:", "5:12: campaign.starts_in: found nothing, expected a text"),
    ("name: launch", "name: [a]", "2:7: name: found a list, expected a single value"),
    (
        "count: 1000",
        "reuse: maybe, count: 1000",
        "10:17: users.reuse: found maybe, expected true or false",
    ),
    ("rate: 50 ", "rate: fast ", "46:27: load.stages[0].rate: found fast, expected a number"),
    (
        "name: launch",
        "name: launch\nseed: -1",
        "3:7: seed: found -1, expected a whole number, 0 or more",
    ),
    (
        "name: launch",
        "name: launch\nseed: x",
        "3:7: seed: found x, expected a whole number, 0 or more",
    ),
    (
        "[\"http://127.0.0.1:8080\"]",
        "\"http://127.0.0.1:8080\"",
        "9:12: system.targets: expected a list, such as `[a, b]`",
    ),
    (
        "targets: [\"http://127.0.0.1:8080\"]",
        "spawn: { command: \"a {port}\" }",
        "9:21: system.spawn.command: expected a list, such as `[a, b]`",
    ),
    (
        "[[SET, stock, \"{coupons}\"]]",
        "[SET, x]",
        "21:42: mapping.setup[2].redis.run[0]: expected a list, such as `[a, b]`",
    ),
    (
        "below: 200ms",
        "below: -1",
        "56:48: thresholds[0].below: found -1, expected a number from 0 on",
    ),
    ("on: [busy]", "on: busy", "53:45: buyers[0].retry[0].on: expected a list, such as `[a, b]`"),
    (
        "path: /left }",
        "path: /left, headers: [] }",
        "42:55: mapping.reads[0].request.headers: expected keys and values, such as `coupons: 100`",
    ),
    (
        "$.error: { matches: sold }",
        "$.error: [a]",
        "32:39: mapping.outcomes[3].json.$.error: found a list, expected a single value or a \
         comparison, such as {above: 0}",
    ),
    (
        "$.error: { matches: sold }",
        "$.error: null",
        "32:39: mapping.outcomes[3].json.$.error: found nothing, expected a single value or a \
         comparison, such as {above: 0}",
    ),
    ("name: launch", "? [a]\n: b\nname: launch", "2:3: found a list, expected a single value"),
    (
        "jitter: 0.5",
        "jitter: lots",
        "53:84: buyers[0].retry[0].jitter: found lots, expected a number",
    ),
];

/// Values of campaign, system and load that are not possible.
const VALUES: &[Case] = &[
    (
        "starts_in: 1s",
        "starts_in: 1",
        "5:14: campaign.starts_in: found \"1\", expected a duration with its unit, like 250ms, 3s \
         or 1m30s",
    ),
    (
        "starts_in: 1s",
        "starts_in: -1s",
        "5:14: campaign.starts_in: found -1s, expected 0s or later",
    ),
    (
        "starts_in: 1s",
        "starts_in: 3sec",
        "5:14: campaign.starts_in: found \"3sec\", expected a duration with its unit, like 250ms, \
         3s or 1m30s",
    ),
    (
        "for: 1s",
        "for: 25h",
        "47:14: load.stages[1].for: found 25h, expected more than 0s, at most 24h",
    ),
    (
        "for: 1s",
        "for: -1s",
        "47:14: load.stages[1].for: found -1s, expected more than 0s, at most 24h",
    ),
    (
        "for: 1s",
        "for: 0s",
        "47:14: load.stages[1].for: found 0s, expected more than 0s, at most 24h",
    ),
    (
        "begin: -500ms",
        "begin: soon",
        "44:10: load.begin: found \"soon\", expected a duration with its unit, like 250ms, 3s or \
         1m30s",
    ),
    (
        "begin: -500ms",
        "begin: 99999h",
        "44:10: load.begin: found \"99999h\", expected at most 31 days, which is 744h",
    ),
    (
        "rate: 50 ",
        "rate: -50 ",
        "46:27: load.stages[0].rate: found -50, expected 0 to 1,000,000 arrivals a second",
    ),
    (
        "rate: 50 ",
        "rate: 2000000 ",
        "46:27: load.stages[0].rate: found 2000000, expected 0 to 1,000,000 arrivals a second",
    ),
    (
        "requests: 20",
        "requests: 0",
        "49:29: load.bursts[0].requests: found 0, expected 1 to 1,000,000",
    ),
    (
        "name: launch",
        "name: a/b",
        "2:7: name: found \"a/b\", expected 1 to 60 letters, digits, '-' or '_'",
    ),
    (
        "name: launch",
        "name: workflow 1",
        "2:7: name: found \"workflow 1\", expected 1 to 60 letters, digits, '-' or '_'",
    ),
    (
        "name: launch",
        "name: a b at line 5",
        "2:7: name: found \"a b at line 5\", expected 1 to 60 letters, digits, '-' or '_'",
    ),
    (
        "name: launch",
        "name: ''",
        "2:7: name: found \"\", expected 1 to 60 letters, digits, '-' or '_'",
    ),
    (
        "\"http://127.0.0.1:8080\"",
        "\"ftp://h\"",
        "9:13: system.targets[0]: found \"ftp://h\", expected http://HOST:PORT or \
         https://HOST:PORT",
    ),
    (
        "\"http://127.0.0.1:8080\"",
        "\"http://127.0.0.1:99999\"",
        "9:13: system.targets[0]: found \"http://127.0.0.1:99999\", expected http://HOST:PORT or \
         https://HOST:PORT",
    ),
    (
        "\"http://127.0.0.1:8080\"",
        "\"localhost:80\"",
        "9:13: system.targets[0]: found \"localhost:80\", expected http://HOST:PORT or \
         https://HOST:PORT",
    ),
    (
        "[\"http://127.0.0.1:8080\"]",
        "[]",
        "9:12: system.targets: found 0 URLs, expected 1 to 1,000",
    ),
    (
        "targets: [\"http://127.0.0.1:8080\"]",
        "spawn: { command: [a, b] }",
        "9:21: system.spawn.command: expected program and arguments with {port} in one of them",
    ),
    (
        "targets: [\"http://127.0.0.1:8080\"]",
        "spawn: { command: [\"{port}\"], instances: 101 }",
        "9:44: system.spawn.instances: found 101, expected 1 to 100",
    ),
    (
        "targets: [\"http://127.0.0.1:8080\"]",
        "spawn: { command: [\"{port}\"], instances: 99999 }",
        "9:44: system.spawn.instances: found 99999, expected 1 to 100",
    ),
    (
        "targets: [\"http://127.0.0.1:8080\"]",
        "spawn: { command: [\"{port}\"], ready: readyz }",
        "9:40: system.spawn.ready: found \"readyz\", expected a path like /readyz",
    ),
    (
        "  targets:",
        "  tls: { ca: x, insecure: true }\n  targets:",
        "9:8: system.tls: expected `ca` or `insecure: true`, not both",
    ),
    ("over: 10ms", "over: -10ms", "49:39: load.bursts[0].over: found -10ms, expected 0s or more"),
    (
        "per_user_limit: 1",
        "per_user_limit: 2",
        "6:19: campaign.per_user_limit: found 2, only 1 is supported",
    ),
    (
        "coupons: 100",
        "coupons: 100\n  count: 20000",
        "5:10: campaign.count: found 20000, expected 1 to 10,000",
    ),
    (
        "warm_up: { connections: 2",
        "warm_up: { connections: 70000",
        "51:27: load.warm_up.connections: found 70000, expected 1 to 65,536",
    ),
    (
        "warm_up: { connections: 2",
        "warm_up: { rate: 0, connections: 2",
        "51:20: load.warm_up.rate: found 0, expected 1 to 1,000,000",
    ),
    (
        "warm_up: { connections: 2",
        "warm_up: { rate: 0.5, connections: 2",
        "51:20: load.warm_up.rate: found 0.5, expected a whole number from 1 to 1,000,000",
    ),
    (
        "connections: 2, path: /",
        "connections: 2, path: x",
        "51:36: load.warm_up.path: found \"x\", expected a path like /readyz",
    ),
    (
        "over: 10ms",
        "over: 10",
        "49:39: load.bursts[0].over: found \"10\", expected a duration with its unit, like 250ms, \
         3s or 1m30s",
    ),
    (
        "targets: [\"http://127.0.0.1:8080\"]",
        "spawn: { command: [a, \"{port}\"], each: [{ env: { A: \"${NO_SUCH_VAR}\" } }] }",
        "9:55: system.spawn.each[0].env.A: `${NO_SUCH_VAR}`: expected the environment to have \
         this variable",
    ),
    (
        "  bursts:",
        "  saturate: { connections: 0, for: 1s }\n  bursts:",
        "48:28: load.saturate.connections: found 0, expected 1 to 65,536",
    ),
];

/// Values of the mapping that are not possible.
const MAPPING: &[Case] = &[
    (
        "status: 201, is",
        "status: 99, is",
        "29:17: mapping.outcomes[0].status: found 99, expected 100 to 599, a range like 500-599, \
         or a list of them",
    ),
    (
        "status: 201, is",
        "status: [], is",
        "29:17: mapping.outcomes[0].status: found an empty list, expected 100 to 599, a range \
         like 500-599, or a list of them",
    ),
    (
        "is: issued, code: $.code",
        "is: issued",
        "29:7: mapping.outcomes[0]: `issued` needs `code`, which says where the coupon's code is",
    ),
    (
        "is: issued, code: body",
        "is: issued",
        "40:16: mapping.confirm.outcomes[0]: `issued` needs `code`, which says where the coupon's \
         code is",
    ),
    (
        "capture: { ticket:",
        "capture: { orderId:",
        "30:56: mapping.outcomes[1].capture.orderId: found \"orderId\", expected a name of a-z, \
         0-9 and _",
    ),
    (
        "is: sold_out }",
        "is: sold_out, capture: { a: body } }",
        "32:83: mapping.outcomes[3].capture: nothing follows `sold_out` that could name it; it \
         belongs to `accepted` and `reserved`",
    ),
    (
        "is: pending }",
        "is: pending }, { status: 201, is: busy, capture: { a: body } }",
        "37:80: mapping.poll.outcomes[1].capture: nothing follows `busy` that could name it; it \
         belongs to `accepted` and `reserved`",
    ),
    (
        "{ status: 203, is: reserved }",
        "{ status: 203, is: accepted }",
        "35:35: mapping.poll.request.path: `{ticket}`: no such name (there are name, coupons, \
         per_user_limit, starts_at, starts_at_utc, starts_at_s, starts_at_ms, starts_at_local, \
         campaign, target, user, user_n, key, n, uuid, token)",
    ),
    (
        "path: /confirm",
        "path: \"/{ticket}\"",
        "39:22: mapping.confirm.request.path: `{ticket}`: no such name (there are name, coupons, \
         per_user_limit, starts_at, starts_at_utc, starts_at_s, starts_at_ms, starts_at_local, \
         campaign, target, user, user_n, key, n, uuid, token)",
    ),
    (
        "{ authorization: \"Bearer {jwt}\" }",
        "{ authorization: \"Bearer\\n{jwt}\" }",
        "25:31: mapping.request.headers.authorization: the text has a control character, such as \
         a line end; no header has one",
    ),
    (
        "[[SET, stock, \"{coupons}\"]]",
        "[]",
        "21:41: mapping.setup[2].redis.run: expected a command",
    ),
    (
        "url: \"redis://h:1\"",
        "url: \"{store}\"",
        "21:21: mapping.setup[2].redis.url: it is {store}, expected system.store to be \
         redis://HOST:PORT/DATABASE",
    ),
    (
        "status: 201, is",
        "status: 600-700, is",
        "29:17: mapping.outcomes[0].status: found 600-700, expected 100 to 599, a range like \
         500-599, or a list of them",
    ),
    (
        "status: 201, is",
        "status: [201, x], is",
        "29:17: mapping.outcomes[0].status: found x, expected 100 to 599, a range like 500-599, \
         or a list of them",
    ),
    (
        "status: 201, is",
        "status: ok, is",
        "29:17: mapping.outcomes[0].status: found ok, expected 100 to 599, a range like 500-599, \
         or a list of them",
    ),
    (
        "status: 201, is",
        "status: {a: 1}, is",
        "29:17: mapping.outcomes[0].status: expected a status like 201, a range like 500-599, or \
         a list of them",
    ),
    (
        "status: 201, is",
        "status: -1, is",
        "29:17: mapping.outcomes[0].status: expected a status like 201, a range like 500-599, or \
         a list of them",
    ),
    (
        "expect: 201",
        "expect: 2xx",
        "18:15: mapping.setup[0].expect: found 2xx, expected 100 to 599, a range like 500-599, or \
         a list of them",
    ),
    (
        "matches: sold",
        "matches: 'sold('",
        "32:50: mapping.outcomes[3].json.$.error.matches: found \"sold(\", expected a regular \
         expression: unclosed group",
    ),
    (
        "json: { $.error:",
        "json: { error:",
        "32:37: mapping.outcomes[3].json.error: found \"error\", expected a JSON path like \
         $.data.code (RFC 9535); this is none from character 1 on",
    ),
    (
        "code: $.code",
        "code: code",
        "29:40: mapping.outcomes[0].code: found \"code\", expected $.path, header:NAME, \
         cookie:NAME or body",
    ),
    (
        "code: $.code",
        "code: '$.a[b'",
        "29:40: mapping.outcomes[0].code: found \"$.a[b\", expected a JSON path like $.data.code \
         (RFC 9535); this is none from character 4 on",
    ),
    (
        "{ campaign: $.id }",
        "{ campaign: id }",
        "19:28: mapping.setup[0].capture.campaign: found \"id\", expected $.path, header:NAME, \
         cookie:NAME or body",
    ),
    (
        "remaining: $.left",
        "remaining: left",
        "42:66: mapping.reads[0].see.remaining: found \"left\", expected a JSON path like \
         $.data.code (RFC 9535); this is none from character 1 on",
    ),
    (
        "path: /confirm",
        "path: confirm",
        "39:22: mapping.confirm.request.path: found \"confirm\", expected it to begin with /",
    ),
    (
        "method: POST",
        "method: FETCH",
        "23:13: mapping.request.method: found \"FETCH\", expected GET, POST, PUT, PATCH or DELETE",
    ),
    (
        "{ authorization:",
        "{ 'a b':",
        "25:16: mapping.request.headers: found \"a b\", expected a header's name like X-User-Id",
    ),
    (
        "url: \"sqlite:x.db\"",
        "url: \"oracle://x\"",
        "20:19: mapping.setup[1].sql.url: found \"oracle://x\", expected postgres://…, mysql://…, \
         mariadb://… or sqlite:PATH",
    ),
    (
        "url: \"redis://h:1\"",
        "url: \"http://h\"",
        "21:21: mapping.setup[2].redis.url: found \"http://h\", expected \
         redis://HOST:PORT/DATABASE",
    ),
    (
        "[[SET, stock",
        "[[SET, 1.5",
        "21:42: mapping.setup[2].redis.run[0]: found 1.5, expected a text, in quotes",
    ),
    (
        "[[SET, stock, \"{coupons}\"]]",
        "[[]]",
        "21:42: mapping.setup[2].redis.run[0]: expected a command and its arguments, such as \
         [SET, key, value]",
    ),
    (
        "{ token: $.token }",
        "{ Token: $.token }",
        "15:25: mapping.prepare[0].capture.Token: found \"Token\", expected a name of a-z, 0-9 \
         and _",
    ),
    (
        "run: \"INSERT INTO sale VALUES ({coupons})\"",
        "run: []",
        "20:39: mapping.setup[1].sql.run: expected a statement",
    ),
    (
        "run: \"INSERT INTO sale VALUES ({coupons})\"",
        "run: {a: b}",
        "20:39: mapping.setup[1].sql.run: expected a statement, or a list of them",
    ),
    (
        "$.error:",
        "'$.er ror[':",
        "32:43: mapping.outcomes[3].json.$.er ror[: found \"$.er ror[\", expected a JSON path \
         like $.data.code (RFC 9535); this is none from character 5 on",
    ),
    (
        "  setup:",
        "  clock: { asked: { request: { path: /now }, now: time } }\n  setup:",
        "16:51: mapping.clock.asked.now: found \"time\", expected $.path, header:NAME, \
         cookie:NAME or body",
    ),
];

/// The same of buyers and thresholds.
const BUYERS_AND_THRESHOLDS: &[Case] = &[
    (
        "below: 200ms",
        "below: 200",
        "56:48: thresholds[0].below: response.p99 needs a duration with its unit, like 250ms",
    ),
    (
        "below: 200ms",
        "below: soon",
        "56:48: thresholds[0].below: found \"soon\", expected a duration like 250ms, a share like \
         1%, or a number",
    ),
    (
        "response.p99",
        "service.p99",
        "56:32: thresholds[0].of: it belongs to response times only, not to service.p99",
    ),
    ("weight: 2", "weight: 0", "53:15: buyers[0].weight: found 0, expected 1 to 1,000,000"),
    (
        "weight: 2, requests: 1",
        "weight: 2, requests: 1001",
        "53:28: buyers[0].requests: found 1001, expected 1 to 1,000",
    ),
    (
        "on: [busy]",
        "on: []",
        "53:45: buyers[0].retry[0].on: found an empty list, expected an outcome, such as busy",
    ),
    ("factor: 2", "factor: 0.5", "53:73: buyers[0].retry[0].factor: found 0.5, expected 1 to 10"),
    ("jitter: 0.5", "jitter: 1.5", "53:84: buyers[0].retry[0].jitter: found 1.5, expected 0 to 1"),
    (
        "{ after: 20ms }",
        "{ after: 0s }",
        "54:36: buyers[1].confirm.after: found 0s, expected more than 0s, at most 24h",
    ),
    ("weight: 2,", "weight: 2, apart: 2h,", "53:25: buyers[0].apart: found 2h, expected 0s to 1h"),
];

/// What contradicts something else.
const TOGETHER: &[Case] = &[
    (
        "rate: 50 ",
        "rate: .inf ",
        "46:27: load.stages[0].rate: found inf, expected 0 to 1,000,000 arrivals a second",
    ),
    (
        "targets: [\"http://127.0.0.1:8080\"]",
        "spawn: { command: [\"{port}\"], each: [{}, {}] }",
        "9:39: system.spawn.each: settings for 2 instances, expected at most 1, which is \
         system.spawn.instances",
    ),
    (
        "/sales/{campaign}/claims",
        "/sales/{campain}/claims",
        "24:11: mapping.request.path: `{campain}`: no such name; did you mean `{campaign}`? \
         (there are name, coupons, per_user_limit, starts_at, starts_at_utc, starts_at_s, \
         starts_at_ms, starts_at_local, campaign, target, user, user_n, key, n, uuid, token, jwt)",
    ),
    (
        "json: { user: \"{user}\" }",
        "json: { user: \"{usr}\" }",
        "26:19: mapping.request.json.user: `{usr}`: no such name; did you mean `{user}`? (there \
         are name, coupons, per_user_limit, starts_at, starts_at_utc, starts_at_s, starts_at_ms, \
         starts_at_local, campaign, target, user, user_n, key, n, uuid, token, jwt)",
    ),
    (
        "INTO sale VALUES ({coupons})",
        "INTO sale VALUES ('{coupons}')",
        "20:39: mapping.setup[1].sql.run: `{coupons}` stands inside quotes: expected it alone, it \
         becomes a quoted text by itself",
    ),
    (
        "json: { user",
        "body: x\n    json: { user",
        "26:11: mapping.request.body: a request has `json` or `body`, not both",
    ),
    (
        "{ token: $.token }",
        "{ key: $.token }",
        "15:23: mapping.prepare[0].capture.key: this name has a meaning already",
    ),
    (
        "    - request: { path: /sales",
        "    - each: user\n      request: { path: /sales",
        "17:13: mapping.setup[0].each: it has its place in prepare only",
    ),
    (
        "jwt: { claims: { sub: \"{user}\" } }",
        "jwt: { claims: { sub: \"{user}\" }, secret: \"${NO_SUCH_VAR}\" }",
        "27:47: mapping.request.jwt.secret: `${NO_SUCH_VAR}`: expected the environment to have \
         this variable",
    ),
    (
        "outcomes: [{ status: 200, is: pending }]",
        "outcomes: [{ status: 200, is: accepted }]",
        "37:35: mapping.poll.outcomes[0].is: `accepted` means nothing here; `accepted` and \
         `reserved` stand in outcomes, `pending` in poll.outcomes",
    ),
    (
        "is: sold_out }",
        "is: pending }",
        "32:64: mapping.outcomes[3].is: `pending` means nothing here; `accepted` and `reserved` \
         stand in outcomes, `pending` in poll.outcomes",
    ),
    (
        "starts_in: 1s",
        "starts_in: 1s\n  starts_at: 2030-01-01T00:00:00.0005Z",
        "6:14: campaign.starts_at: found 2030-01-01T00:00:00.000500Z, expected a whole \
         millisecond: it is told to the system",
    ),
    ("count: 1000", "count: 0", "10:17: users.count: found 0, expected 1 to 10,000,000"),
    (
        "count: 1000",
        "count: 10",
        "10:8: users: there are 745 buyers and 10 users: expected a user for each buyer, or \
         users.reuse: true to let them ask again",
    ),
    (
        "count: 1000",
        "file: nowhere.csv",
        "10:16: users.file: nowhere.csv: No such file or directory (os error 2)",
    ),
    (
        "users: { count: 1000 }\n",
        "",
        "12:13: mapping.prepare[0].each: expected `users` with a file or a count",
    ),
    (
        "  bursts:",
        "  saturate: { connections: 2, for: 1s }\n  bursts:",
        "48:13: load.saturate: expected no stages and no bursts beside it",
    ),
    (
        "begin: -500ms",
        "begin: -5s",
        "44:10: load.begin: found -5s, which is before the campaign is created: expected -1s or \
         later, by campaign.starts_in",
    ),
    (
        "  reads:\n    - { request: { method: GET, path: /left }, see: { remaining: $.left } }\n",
        "",
        "48:10: load.reads: expected mapping.reads to say what is read",
    ),
    (
        "coupons: 100",
        "coupons: 100\n  apart: 1500us",
        "5:10: campaign.apart: expected whole milliseconds, and whole seconds where mapping.setup \
         names {starts_at_s}: each start is told to the system",
    ),
    (
        "sqlite:{run}",
        "${NO_SUCH_VAR}",
        "8:10: system.store: `${NO_SUCH_VAR}`: expected the environment to have this variable",
    ),
    (
        "capture: { ticket:",
        "capture: { user:",
        "30:53: mapping.outcomes[1].capture.user: this name has a meaning already",
    ),
];

/// Validates a file of a folder; gives what is said about it.
fn validate(dir: &Path, file: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let output = command.args(["validate", file]).current_dir(dir).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{file} is taken");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim_end_matches('\n').to_owned()
}

fn with(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn hold(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (from, to, want) in cases {
        let broken = GOOD.replacen(from, to, 1);
        assert_ne!(broken, GOOD, "{from}");
        let dir = with(&[("s.yaml", broken.as_bytes())]);
        let (found, want) = (validate(dir.path(), "s.yaml"), format!("loadgen: s.yaml:{want}"));
        if found != want {
            wrong.push(format!("{to:?}\n  found    {found}\n  expected {want}"));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{to}: a file was written");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scenario_that_is_broken_here_is_whole() {
    let dir = with(&[("s.yaml", GOOD.as_bytes())]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let output = command.args(["validate", "s.yaml"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "s.yaml: ok\n", "{output:?}");
}

#[test]
fn what_is_no_yaml() {
    hold(YAML);
}

#[test]
fn unknown_keys() {
    hold(UNKNOWN_KEYS);
}

#[test]
fn missing_keys() {
    hold(MISSING_KEYS);
}

#[test]
fn unknown_values() {
    hold(UNKNOWN_VALUES);
}

#[test]
fn values_of_another_kind() {
    hold(TYPES);
}

#[test]
fn values_of_campaign_system_and_load() {
    hold(VALUES);
}

#[test]
fn values_of_the_mapping() {
    hold(MAPPING);
}

#[test]
fn values_of_buyers_and_thresholds() {
    hold(BUYERS_AND_THRESHOLDS);
}

#[test]
fn what_contradicts_something_else() {
    hold(TOGETHER);
}

#[test]
fn files_that_are_none() {
    let users = GOOD.replace("count: 1000", "file: users.csv");
    let dir = with(&[
        ("latin.yaml", b"name: a\ncamp\xe9: 1\n"),
        ("empty.yaml", b""),
        ("twice.yaml", users.as_bytes()),
        ("users.csv", b"user\na\na\n"),
    ]);
    for (file, want) in [
        ("none.yaml", "none.yaml: No such file or directory (os error 2)"),
        (".", ".: Is a directory (os error 21)"),
        ("latin.yaml", "latin.yaml:2:5: found the byte 0xe9, expected UTF-8"),
        ("empty.yaml", "empty.yaml:1:1: the file is empty, expected a scenario (see loadgen init)"),
        ("twice.yaml", "users.csv:3: user \"a\" stands on line 2 already"),
    ] {
        assert_eq!(validate(dir.path(), file), format!("loadgen: {want}"));
    }
}
