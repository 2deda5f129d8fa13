//! JSON Web Tokens for systems that take the user from one: signed with HS256, or unsigned.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sha2::Sha256;

use crate::secrets;

/// How the token `{jwt}` is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The claims: any YAML, with holes in its texts.
    pub claims: Value,
    /// The key of the signature (HS256), which may be `${NAME}`; absent means an unsigned token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}

/// A text that is used and never shown: neither in `run.json` nor in a message.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Jwt {
    /// Whether the environment has what the secret names.
    pub(super) fn check(&self) -> Result<(), String> {
        self.secret.as_ref().map_or(Ok(()), |s| secrets::expanded(&s.0).map(|_| ()))
    }

    /// The token with these claims, which are JSON.
    pub fn token(&self, claims: &str) -> String {
        let header = match self.secret {
            Some(_) => r#"{"alg":"HS256","typ":"JWT"}"#,
            None => r#"{"alg":"none","typ":"JWT"}"#,
        };
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
        let signature = self.secret.as_ref().map_or_else(String::new, |s| s.sign(&signed));
        format!("{signed}.{signature}")
    }
}

impl Secret {
    fn sign(&self, text: &str) -> String {
        // What is missing was found when the scenario was read.
        let key = secrets::expanded(&self.0).unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())
            .unwrap_or_else(|e| unreachable!("HMAC takes keys of any length: {e}"));
        mac.update(text.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_others_do() {
        // The signature was computed with another program over exactly this header and these claims.
        let jwt = Jwt { claims: Value::Null, secret: Some(Secret("your-256-bit-secret".into())) };
        let claims = serde_json::json!({"sub": "u1"});
        let token = jwt.token(&claims.to_string());
        assert_eq!(
            token,
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSJ9.RMZQZH4lncMONkReTSi85_pOH_LcWQsl7tkuJ5HN7MI"
        );
        let unsigned = Jwt { claims: Value::Null, secret: None }.token(&claims.to_string());
        assert_eq!(unsigned, "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ1MSJ9.");
    }

    #[test]
    fn the_secret_is_never_shown() {
        let jwt: Jwt = serde_saphyr::from_str("{claims: {}, secret: hush}").unwrap();
        assert!(!format!("{jwt:?}{}", serde_json::to_string(&jwt).unwrap()).contains("hush"));
    }
}
