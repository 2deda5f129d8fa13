//! Redis commands with holes. Each word is one argument, whatever is in it: nothing to escape.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::store_url::{self, Kind};
use super::template::Template;

/// Commands for one Redis database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Which database.
    pub url: RedisUrl,
    /// The commands, in order.
    #[schemars(extend("minItems" = 1))]
    pub run: Vec<Command>,
}

/// Which URLs are Redis's.
pub(super) const KIND: Kind =
    Kind { fits: |url| url.starts_with("redis://"), expected: "redis://HOST:PORT/DATABASE" };

/// URL of a Redis database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "Template", extend("pattern" = r"^(redis://|\{|\$\{)"))]
pub struct RedisUrl(pub Template);

impl TryFrom<String> for RedisUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        KIND.parse(text).map(Self)
    }
}

impl From<RedisUrl> for String {
    fn from(url: RedisUrl) -> Self {
        store_url::shown(url.0)
    }
}

/// A command and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Word>", into = "Vec<Template>")]
#[schemars(rename = "RedisCommand", with = "Vec<Word>", extend("minItems" = 1))]
pub struct Command(Vec<Template>);

impl Command {
    /// The words, the command first; never empty.
    pub fn words(&self) -> &[Template] {
        &self.0
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(with = "String", extend("type" = ["string", "integer"]))]
enum Word {
    Text(Template),
    Number(i64),
    Other(serde_json::Value),
}

impl TryFrom<Vec<Word>> for Command {
    type Error = String;

    fn try_from(words: Vec<Word>) -> Result<Self, String> {
        if words.is_empty() {
            return Err("expected a command and its arguments, such as [SET, key, value]".into());
        }
        let word = |word| match word {
            Word::Text(text) => Ok(text),
            Word::Number(number) => Ok(number.to_string().into()),
            // YAML has changed its spelling already.
            Word::Other(other) => Err(format!("found {other}, expected a text, in quotes")),
        };
        words.into_iter().map(word).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Command> for Vec<Template> {
    fn from(command: Command) -> Self {
        command.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(yaml: &str) -> Result<Redis, String> {
        serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
    }

    #[test]
    fn words_are_texts() {
        let found = redis("{url: 'redis://h', run: [[SET, 'a:{b}', 5], [DEL, \"x y\"]]}").unwrap();
        let words: Vec<Vec<String>> = found
            .run
            .iter()
            .map(|c| c.words().iter().map(|w| String::from(w.clone())).collect())
            .collect();
        assert_eq!(words, [vec!["SET", "a:{b}", "5"], vec!["DEL", "x y"]]);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(serde_json::from_value::<Redis>(json).unwrap(), found);
    }

    #[test]
    fn rejects_what_is_no_command() {
        for (yaml, want) in [
            ("{url: 'redis://h', run: [[]]}", "expected a command"),
            ("{url: 'redis://h', run: [[SET, x, true]]}", "in quotes"),
            ("{url: 'http://h', run: []}", "expected redis://"),
            ("{url: 'redis://h', rum: []}", "rum"),
        ] {
            let message = redis(yaml).unwrap_err();
            assert!(message.contains(want), "{yaml}: {message}");
        }
    }
}
