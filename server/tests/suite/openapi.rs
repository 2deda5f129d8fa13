//! The interface is what its OpenAPI document says: requests are made up by the document's own schemas,
//! and every answer is held against it.

use std::collections::BTreeSet;

use contract::wire::ProblemCode;
use e2e::{Dice, mutated};
use jsonschema::Validator;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Map, Value, json};

use crate::instance::{Instance, Store};

/// How many requests are made up.
const REQUESTS: u64 = 2_000;
const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

/// The document, as a server gives it.
struct Document(Value);

/// One request that the document allows to ask.
struct Operation<'a> {
    path: &'a str,
    method: Method,
    says: &'a Value,
}

impl Document {
    async fn of(instance: &Instance) -> Self {
        let answer = instance.get("/openapi.yaml").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/yaml");
        Self(serde_saphyr::from_str(&answer.text().await.unwrap()).unwrap())
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap();
        let mut found = Vec::new();
        for (path, item) in paths {
            for method in METHODS {
                if let Some(says) = item.get(method.as_str().to_lowercase()) {
                    found.push(Operation { path, method, says });
                }
            }
        }
        found
    }

    /// What a reference leads to, or the value itself.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(place) => self.0.pointer(place.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    /// Judges by a schema of the document.
    fn validator(&self, schema: &Value) -> Validator {
        let mut all = schema.as_object().unwrap().clone();
        all.insert("components".into(), self.0["components"].clone());
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        options.build(&Value::Object(all)).unwrap()
    }

    /// A value that the schema describes, or nearly.
    fn made_up(&self, schema: &Value, dice: &mut Dice) -> Value {
        let schema = self.resolved(schema);
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(all) = schema["enum"].as_array() {
            return all[dice.below(all.len())].clone();
        }
        if schema["format"] == "date-time" {
            let years = [1969, 1970, 2020, 2026, 2254, 2255];
            let (year, fine) = (years[dice.below(6)], ["", ".5", ".123", ".1234"][dice.below(4)]);
            return format!("{year}-07-01T12:00:00{fine}Z").into();
        }
        let kind = &schema["type"];
        match kind.as_str().or_else(|| kind[0].as_str()).unwrap() {
            "string" => {
                let lengths = [0, 1, 7, 128, 129, 200, 201];
                let most = lengths[dice.below(lengths.len())];
                "가나다u1 -".chars().cycle().take(most).collect::<String>().into()
            }
            "integer" => [0, 1, 5, 100_000_000, 100_000_001][dice.below(5)].into(),
            "object" => {
                let mut object = Map::new();
                for (name, schema) in schema["properties"].as_object().unwrap() {
                    if dice.below(8) > 0 {
                        object.insert(name.clone(), self.made_up(schema, dice));
                    }
                }
                object.into()
            }
            other => panic!("no value of type {other}"),
        }
    }
}

impl Operation<'_> {
    fn name(&self) -> &str {
        self.says["operationId"].as_str().unwrap()
    }

    /// Whether a body may be sent with it, and what the document says of it.
    fn body<'d>(&'d self, document: &'d Document) -> Option<&'d Value> {
        let schema = self.says.pointer("/requestBody/content/application~1json/schema")?;
        Some(document.resolved(schema))
    }

    /// The answer is one of those that the document has for this request.
    async fn assert_documented(&self, document: &Document, answer: Response) -> u16 {
        let (status, name) = (answer.status().as_u16(), self.name());
        let says = &self.says["responses"][status.to_string()];
        assert!(says.is_object(), "{name} answers {status}: {:?}", answer.text().await);
        let says = document.resolved(says);
        let headers: HeaderMap = answer.headers().clone();
        for always in ["instance-id", "server-time", "x-request-id"] {
            assert!(headers.contains_key(always) && says["headers"][always].is_object(), "{name}");
        }
        let kind = headers["content-type"].to_str().unwrap().split(';').next().unwrap();
        let content = says["content"].as_object().unwrap();
        let schema = &content.get(kind).unwrap_or_else(|| panic!("{name}: {kind}"))["schema"];
        // A stream of events has no end.
        if kind.ends_with("json") {
            let text = answer.text().await.unwrap();
            let body: Value = serde_json::from_str(&text).unwrap();
            let validator = document.validator(schema);
            let errors: Vec<_> = validator.iter_errors(&body).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{name} {status}: {text}: {errors:?}");
        }
        status
    }
}

/// Campaigns of all kinds, and what is none.
async fn campaigns(instance: &Instance) -> Vec<String> {
    let mut ids = Vec::new();
    for (coupons, starts_in, limited) in [
        (100_000, -1_000, false),
        (100_000, -1_000, true),
        (0, -1_000, false),
        (3, 3_600_000, true),
    ] {
        ids.push(instance.create(coupons, starts_in, limited).await.id);
    }
    let cancelled = instance.create(5, -1_000, false).await.id;
    let path = format!("/campaigns/{cancelled}/cancel");
    assert_eq!(instance.post(&path).send().await.unwrap().status(), 200);
    ids.extend([cancelled, "6644672".into(), "9999999".into()]);
    ids
}

#[tokio::test]
async fn every_answer_is_as_the_document_says() {
    let store = Store::sqlite();
    let instance = store.instance();
    let document = Document::of(&instance).await;
    let (operations, ids) = (document.operations(), campaigns(&instance).await);
    let mut seen = BTreeSet::new();
    for seed in 0..REQUESTS {
        let mut dice = Dice::new(seed);
        let operation = &operations[dice.below(operations.len())];
        // What is cancelled is of no further use here.
        let living = if operation.name() == "cancelCampaign" { 4 } else { 0 };
        let id = &ids[living + dice.below(ids.len() - living)];
        let mut path = operation.path.replace("{id}", id);
        if dice.below(4) == 0 {
            let queries =
                ["?after=3&limit=2", "?limit=0", "?after=-1", "?x=1", "?limit=1&limit=2", "?"];
            path += queries[dice.below(queries.len())];
        }
        let url = format!("{}{path}", instance.url);
        let mut request = instance.client.request(operation.method.clone(), url);
        if dice.below(3) == 0 {
            let keys: [&[u8]; 4] = [b"k", b"", b"a key", &[b'k'; 129]];
            let key = if dice.below(2) == 0 {
                format!("k{seed}").into_bytes()
            } else {
                keys[dice.below(keys.len())].to_vec()
            };
            request = request.header("idempotency-key", key);
        }
        let mut breaks_schema = false;
        if let Some(schema) = operation.body(&document) {
            let mut body = document.made_up(schema, &mut dice).to_string().into_bytes();
            if dice.below(2) == 0 {
                body = mutated(&body, seed);
            }
            let parsed: Option<Value> = serde_json::from_slice(&body).ok();
            let valid = |body: &Value| document.validator(schema).is_valid(body);
            // A body that is not there is an empty one where none is required.
            let is_empty = body.is_empty() && operation.says["requestBody"]["required"] == false;
            breaks_schema = !is_empty && !parsed.as_ref().is_some_and(valid);
            request = request.body(body);
        }
        let answer = request.send().await.unwrap();
        let status = operation.assert_documented(&document, answer).await;
        let what = format!("seed {seed}: {} answers {status}", operation.name());
        assert!(!breaks_schema || (400..500).contains(&status), "{what} to a wrong body");
        seen.insert((operation.name().to_owned(), status));
    }
    // Not only refusals.
    for operation in &operations {
        let name = operation.name().to_owned();
        assert!(
            [200, 201].iter().any(|ok| seen.contains(&(name.clone(), *ok))),
            "{name}: {seen:?}"
        );
    }
    for refusal in [400, 404, 409, 422] {
        assert!(seen.contains(&("issueCoupon".into(), refusal)), "{refusal}: {seen:?}");
    }
}

#[tokio::test]
async fn every_path_takes_what_the_document_says() {
    let instance = Instance::alone(&[]);
    let document = Document::of(&instance).await;
    let paths = document.0["paths"].as_object().unwrap();
    for (path, item) in paths {
        for method in METHODS {
            let url = format!("{}{}", instance.url, path.replace("{id}", "9999999"));
            let status =
                instance.client.request(method.clone(), url).send().await.unwrap().status();
            let documented = item.get(method.as_str().to_lowercase()).is_some();
            assert_eq!(documented, status != 405, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn every_problem_is_in_the_document() {
    let instance = Instance::alone(&[]);
    let document = Document::of(&instance).await;
    let known = &document.0["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let all: Vec<_> = ProblemCode::ALL.iter().map(|code| json!(code.name())).collect();
    let sorted = |mut names: Vec<Value>| {
        names.sort_by_key(ToString::to_string);
        names
    };
    assert_eq!(sorted(known.as_array().unwrap().clone()), sorted(all));
}
