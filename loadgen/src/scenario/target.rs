//! Where a target is, and how it is spoken to.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secrets::without_password;

/// Base URL of a target that runs already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^https?://[^/?#@]+/?$"), example = &"http://127.0.0.1:8080")]
pub struct Target {
    /// Whether with TLS.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: String,
}

/// The beginning of a target's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As a URL begins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn usual_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Target {
    /// Base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.authority)
    }

    /// Its host, without port and brackets.
    pub fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(h, _)| h);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it is reached over the loopback interface.
    pub fn is_here(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl TryFrom<&str> for Target {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        let wrong = || {
            let found = without_password(text);
            format!("found {found:?}, expected http://HOST:PORT or https://HOST:PORT")
        };
        let uri: hyper::Uri = text.parse().map_err(|_| wrong())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(wrong()),
        };
        let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
        match uri.authority() {
            Some(a) if plain && !a.as_str().contains('@') => {
                let port = match a.as_str().strip_prefix(a.host()) {
                    Some("") => scheme.usual_port(),
                    Some(rest) => rest.strip_prefix(':').and_then(port).ok_or_else(wrong)?,
                    None => return Err(wrong()),
                };
                Ok(Self { scheme, authority: format!("{}:{port}", a.host()) })
            }
            _ => Err(wrong()),
        }
    }
}

fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::try_from(text.as_str())
    }
}

impl From<Target> for String {
    fn from(t: Target) -> Self {
        t.url()
    }
}

/// Which HTTP the load speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1: one request at a time on each connection.
    #[default]
    Http1,
    /// HTTP/2: with prior knowledge over `http://` (h2c), by ALPN over `https://`.
    Http2,
}

/// Whose certificates are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawTrust", into = "RawTrust")]
#[schemars(with = "RawTrust")]
pub enum Trust {
    /// Those that this machine trusts.
    #[default]
    Machine,
    /// Besides them those of the authorities in this file (PEM).
    Also(PathBuf),
    /// Anybody's: nothing is verified.
    Anybody,
}

/// `system.tls` as the file spells it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = { "required": ["ca", "insecure"], "properties": { "insecure": { "const": true } } }))]
struct RawTrust {
    #[serde(skip_serializing_if = "Option::is_none")]
    /// A file with certificates (PEM) of authorities that are trusted besides those of this
    /// machine; its path counts from the scenario's folder.
    ca: Option<PathBuf>,
    /// No certificate is verified, for tests; the run says so. Instead of `ca`.
    #[serde(default)]
    insecure: bool,
}

impl TryFrom<RawTrust> for Trust {
    type Error = String;

    fn try_from(raw: RawTrust) -> Result<Self, String> {
        match (raw.ca, raw.insecure) {
            (Some(_), true) => Err("expected `ca` or `insecure: true`, not both".into()),
            (Some(file), false) => Ok(Self::Also(file)),
            (None, true) => Ok(Self::Anybody),
            (None, false) => Ok(Self::Machine),
        }
    }
}

impl From<Trust> for RawTrust {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Machine => Self { ca: None, insecure: false },
            Trust::Also(file) => Self { ca: Some(file), insecure: false },
            Trust::Anybody => Self { ca: None, insecure: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_scheme_a_host_and_a_port() {
        for (text, url, host) in [
            ("http://h:8080", "http://h:8080", "h"),
            ("http://h/", "http://h:80", "h"),
            ("https://shop.example", "https://shop.example:443", "shop.example"),
            ("https://[::1]:8443", "https://[::1]:8443", "::1"),
        ] {
            let target = Target::try_from(text).unwrap();
            assert_eq!((target.url().as_str(), target.host()), (url, host));
        }
        let ports = ["http://h:99999", "http://h:80x", "http://h:", "http://h:0", "http://h:+80"];
        let others = ["ftp://h", "h:80", "https://h/x", "http://h?x", "http://me@h", "https://"];
        for text in others.into_iter().chain(ports) {
            let message = Target::try_from(text).unwrap_err();
            assert!(
                message.ends_with("expected http://HOST:PORT or https://HOST:PORT"),
                "{message}"
            );
        }
    }

    #[test]
    fn the_loopback_interface_is_this_machine() {
        let is_here = |url: &str| Target::try_from(url).unwrap().is_here();
        for url in ["http://127.0.0.1:1", "http://LocalHost", "http://[::1]:1", "http://127.9.9.9"]
        {
            assert!(is_here(url), "{url}");
        }
        for url in ["http://10.0.0.1:1", "http://localhost.example", "http://[fe80::1]:1"] {
            assert!(!is_here(url), "{url}");
        }
    }

    #[test]
    fn no_message_shows_a_password() {
        let message = Target::try_from("http://me:hush0@h").unwrap_err();
        assert!(message.starts_with("found \"http://me:***@h\", expected"), "{message}");
    }

    #[test]
    fn trust_is_one_of_three() {
        let parse = |yaml: &str| serde_saphyr::from_str::<Trust>(yaml).map_err(|e| e.to_string());
        assert_eq!(parse("{ca: a.pem}").unwrap(), Trust::Also("a.pem".into()));
        assert_eq!(parse("{insecure: true}").unwrap(), Trust::Anybody);
        assert_eq!(parse("{insecure: false}").unwrap(), Trust::Machine);
        assert!(parse("{ca: a.pem, insecure: true}").unwrap_err().contains("not both"));
        for trust in [Trust::Machine, Trust::Also("a.pem".into()), Trust::Anybody] {
            let json = serde_json::to_value(&trust).unwrap();
            assert_eq!(serde_json::from_value::<Trust>(json).unwrap(), trust);
        }
    }
}
