//! What is put under load: instances that the run starts, or targets that run already.

use contract::run::RunTarget;

use crate::client::reach::Reach;
use crate::folder::Folder;
use crate::instances::{Instances, StartError, Surroundings};
use crate::scenario::{Origin, Scenario, Scheme, Target};
use crate::secrets::{expanded_url, recorded, variables};

/// What is put under load.
#[derive(Debug)]
pub struct System {
    /// Those that the run started.
    pub instances: Instances,
    /// Where the load goes.
    pub targets: Vec<RunTarget>,
    /// The same as addresses.
    pub addresses: Vec<Target>,
    /// How they are reached.
    pub reach: Reach,
    /// The store's URL for `run.json`: no password, and relative where it lies in the run's folder.
    pub store: Option<String>,
    /// The store's URL as the set-up uses it.
    pub(crate) store_url: Option<String>,
}

impl System {
    /// Starts the system, or takes it as it runs.
    ///
    /// # Errors
    /// When an instance cannot be started or does not become ready.
    pub async fn start(scenario: &Scenario, folder: &Folder) -> Result<Self, StartError> {
        let run = folder.path().to_owned();
        let template = scenario.system.store.as_deref();
        // What is missing was found when the scenario was read.
        let store_url = template
            .and_then(|s| expanded_url(s).ok())
            .map(|s| s.replace("{run}", &run.to_string_lossy()));
        let public = template.map(|s| recorded(&s.replace("{run}/", "")));
        let reach = Reach::of(&scenario.system)?;
        let (instances, targets, addresses) = match &scenario.system.origin {
            Origin::Spawn(spawn) => {
                let variables = variables(template.unwrap_or_default());
                let variables = variables.into_iter().map(str::to_owned).collect();
                let around = Surroundings { run, store: store_url.clone(), variables };
                let instances = Instances::start(spawn, &around).await?;
                let targets = instances.targets();
                let addresses = targets.iter().map(address).collect();
                (instances, targets, addresses)
            }
            Origin::Targets(given) => {
                for target in given {
                    reach.check(target).await?;
                }
                let named = (1_u32..).zip(given).map(|(number, target)| RunTarget {
                    name: format!("api-{number}"),
                    url: target.url(),
                    pid: None,
                });
                (Instances::default(), named.collect(), given.clone())
            }
        };
        Ok(Self { instances, targets, addresses, reach, store: public, store_url })
    }
}

/// Where an instance that the run started answers, without TLS.
fn address(instance: &RunTarget) -> Target {
    let authority = instance.url.trim_start_matches("http://").to_owned();
    Target { scheme: Scheme::Http, authority }
}
