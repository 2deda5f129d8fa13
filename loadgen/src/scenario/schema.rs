//! The JSON Schema of a scenario, for editors. It is derived from the types that read the file; what
//! their own checks know besides, such as patterns and limits, stands beside those checks.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::Scenario;

/// The schema as text: draft 7, which editors know best.
pub fn schema() -> String {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<Scenario>();
    schema.insert("title".into(), "Scenario of a coupon launch".into());
    // An alternate form of a value that cannot be formatted is no case that there is.
    format!("{:#}\n", Value::from(schema))
}

/// A text, also where YAML would take it for a number or a truth value.
pub(crate) struct Text;

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Exactly one of these keys is there.
pub(crate) fn one_of(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

/// Leaves out a default that is too long to be of use.
pub(super) fn without_default(schema: &mut Schema) {
    schema.remove("default");
}
