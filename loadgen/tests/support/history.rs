//! The history of a run, as tests look at it.

use std::path::Path;

use contract::history::{Completion, Event, Invocation};

/// One request from its beginning to its end.
pub(crate) type Operation = (Invocation<'static>, Completion<'static>);

/// Every request of the run in the folder `run`, in order of their beginnings.
pub(crate) fn operations(run: &Path) -> Vec<Operation> {
    let mut begun: Vec<Invocation<'static>> = Vec::new();
    let mut ended = std::collections::HashMap::new();
    let integrity = contract::history::read(&run.join("history"), &mut |event| match event {
        Event::Campaign(_) => {}
        Event::Invoke(i) => begun.push(Invocation {
            campaign: i.campaign.into_owned().into(),
            user: i.user.map(|user| user.into_owned().into()),
            key: i.key.map(|key| key.into_owned().into()),
            ..i
        }),
        Event::Complete(c) => {
            ended.insert(c.op, Completion { outcome: c.outcome.into_owned(), ..c });
        }
    });
    assert_eq!(integrity.unwrap().gaps, Vec::<String>::new());
    begun.sort_by_key(|i| (i.at, i.op));
    begun.into_iter().map(|i| (i.clone(), ended.remove(&i.op).unwrap())).collect()
}
