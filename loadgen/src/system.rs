//! What is put under load: instances that the run starts, or targets that run already.

use contract::run::RunTarget;

use crate::folder::Folder;
use crate::instances::{Instances, StartError, Surroundings};
use crate::scenario::{Origin, Scenario};

/// What is put under load.
#[derive(Debug)]
pub struct System {
    /// Those that the run started.
    pub instances: Instances,
    /// Where the load goes.
    pub targets: Vec<RunTarget>,
    /// The store's URL for `run.json`: no password, and relative where it lies in the run's folder.
    pub store: Option<String>,
}

impl System {
    /// Starts the system, or takes it as it runs.
    ///
    /// # Errors
    /// When an instance cannot be started or does not become ready.
    pub async fn start(scenario: &Scenario, folder: &Folder) -> Result<Self, StartError> {
        let run = folder.path().to_owned();
        let template = scenario.system.store.as_deref();
        let store = template.map(|s| s.replace("{run}", &run.to_string_lossy()));
        let public = template.map(|s| without_password(&s.replace("{run}/", "")));
        match &scenario.system.origin {
            Origin::Spawn(spawn) => {
                let instances = Instances::start(spawn, &Surroundings { run, store }).await?;
                Ok(Self { targets: instances.targets(), instances, store: public })
            }
            Origin::Targets(given) => {
                let named = (1_u32..).zip(given).map(|(number, target)| RunTarget {
                    name: format!("api-{number}"),
                    url: target.url(),
                    pid: None,
                });
                let instances = Instances::default();
                Ok(Self { targets: named.collect(), instances, store: public })
            }
        }
    }
}

/// `redis://user:secret@host` becomes `redis://user:***@host`.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let Some((login, host)) = rest.rsplit_once('@') else { return url.into() };
    match login.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_kept() {
        for (url, want) in [
            ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
            ("redis://me:sec@ret@h:1/0", "redis://me:***@h:1/0"),
            ("redis://h:1/0", "redis://h:1/0"),
            ("sqlite:a.db", "sqlite:a.db"),
        ] {
            assert_eq!(without_password(url), want);
        }
    }
}
