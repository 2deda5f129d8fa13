//! Where a SQLite file lies, as a URL says it.

/// The path in `sqlite:PATH` or `sqlite://PATH`, of which both are common; `None` where it is another
/// URL. `sqlite:///PATH` is absolute.
pub fn path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn slashes_before_the_path_are_not_part_of_it() {
        for (url, want) in [
            ("sqlite:a.db", Some("a.db")),
            ("sqlite://a.db", Some("a.db")),
            ("sqlite:/a.db", Some("/a.db")),
            ("sqlite:///a.db", Some("/a.db")),
            ("sqlite:", Some("")),
            ("redis://h", None),
        ] {
            assert_eq!(path(url), want, "{url}");
        }
    }
}
