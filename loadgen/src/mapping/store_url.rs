//! URLs of databases. One may begin with a hole; what it is can then only be told once that is
//! filled in, but for `{store}`, which the scenario knows.

use super::template::Template;
use crate::secrets;

/// Which URLs a step takes.
pub(super) struct Kind {
    pub(super) fits: fn(&str) -> bool,
    /// What such a URL looks like.
    pub(super) expected: &'static str,
}

impl Kind {
    /// The URL that a scenario spells.
    pub(super) fn parse(&self, text: String) -> Result<Template, String> {
        if begins_with_hole(&text) || (self.fits)(&text) {
            return Ok(text.into());
        }
        let shown = secrets::without_password(&text);
        Err(format!("found {shown:?}, expected {}", self.expected))
    }

    /// What the URL begins with, where that can be told.
    pub(super) fn check(
        &self,
        url: &Template,
        store: Option<&str>,
    ) -> Result<Option<String>, String> {
        let url = match store {
            Some(store) if url.begins_with("store") => store.to_owned(),
            _ => String::from(url.clone()),
        };
        match (self.fits)(&url) {
            true => Ok(Some(url)),
            false if begins_with_hole(&url) => Ok(None),
            false => Err(format!("it is {{store}}, expected system.store to be {}", self.expected)),
        }
    }
}

fn begins_with_hole(url: &str) -> bool {
    url.starts_with('{') || url.starts_with("${")
}

/// As it is written down.
pub(super) fn shown(url: Template) -> String {
    secrets::without_password(&String::from(url))
}
