//! What a story ends with as a database of the reference server.

use std::path::Path;

use super::database;
use super::story::{Ask, Row, Story, Told, code};

/// Writes all stories into one database, each as the campaign of its number.
pub(crate) fn write(path: &Path, stories: &[Story]) {
    let stored = |(campaign, story): (usize, &Story)| {
        let row = |row: &Row| {
            let (user, key) = (row.user.map(|u| format!("u{u}")), row.key.map(|k| format!("k{k}")));
            (code(campaign, row.code), user, key)
        };
        (story.coupons, story.rows.as_ref().unwrap().iter().map(row).collect())
    };
    database::write(path, stories.iter().enumerate().map(stored));
}

/// Whether the store is taken for that of another campaign: both sides have codes, and none in common.
pub(crate) fn is_strange(story: &Story, rows: &[Row]) -> bool {
    let told = |told: Told| match told {
        Told::Issued { code, .. } => Some(code),
        _ => None,
    };
    let answered = story.asks.iter().filter(|ask| ask.to.is_some());
    let told: Vec<u8> = answered.filter_map(|ask| told(ask.told)).collect();
    let common = rows.iter().any(|row| told.contains(&row.code));
    !rows.is_empty() && !told.is_empty() && !common
}

/// Whether each row that nobody was told about can only be that of one request, or of one user who has
/// no other such row, where all of them name users. Otherwise the verifier need not find every contradiction.
pub(crate) fn tells_apart(story: &Story, rows: &[Row]) -> bool {
    let lost = |ask: &&Ask| ask.to.is_none() || ask.told == Told::Unknown;
    let lost: Vec<&Ask> = story.asks.iter().filter(lost).filter(|a| !a.told.is_read()).collect();
    let told = |row: &&Row| {
        let own = |ask: &Ask| match ask.told {
            Told::Issued { code, .. } => ask.to.is_some() && code == row.code,
            _ => false,
        };
        story.asks.iter().any(own)
    };
    let untold: Vec<&Row> = rows.iter().filter(|row| !told(row)).collect();
    let agree = |a: Option<u8>, b: Option<u8>| a.is_none() || b.is_none() || a == b;
    let named = lost.iter().all(|ask| ask.user.is_some());
    untold.iter().all(|row| {
        let fits = lost.iter().filter(|a| agree(a.user, row.user) && agree(a.key, row.key)).count();
        let of_user = untold.iter().filter(|other| other.user == row.user).count();
        fits == 1 || named && row.user.is_some() && row.key.is_none() && of_user == 1
    })
}
