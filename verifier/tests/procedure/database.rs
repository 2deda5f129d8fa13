//! Databases as the reference server leaves them.

use std::path::Path;

/// A coupon's code, user and key.
pub(crate) type Row = (String, Option<String>, Option<String>);

/// Writes campaigns, each with so many coupons and with its rows, as those of their numbers.
pub(crate) fn write(path: &Path, campaigns: impl Iterator<Item = (i64, Vec<Row>)>) {
    let mut db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").unwrap();
    let all = db.transaction().unwrap();
    all.execute_batch(
        "CREATE TABLE campaigns(number INTEGER PRIMARY KEY, name, coupons, starts_at_us,
             per_user_limit, issued, created_at_us);
         CREATE TABLE coupons(campaign, seq, code, user NULL, key NULL, issued_at_us,
             PRIMARY KEY(campaign, seq));",
    )
    .unwrap();
    for (campaign, (coupons, rows)) in (0_i64..).zip(campaigns) {
        let insert = "INSERT INTO campaigns VALUES (?1, 'launch', ?2, 0, NULL, ?3, 0)";
        let issued = i64::try_from(rows.len()).unwrap();
        all.execute(insert, [campaign, coupons, issued]).unwrap();
        for (seq, (code, user, key)) in (1_i64..).zip(rows) {
            let row = rusqlite::params![campaign, seq, code, user, key];
            all.execute("INSERT INTO coupons VALUES (?1, ?2, ?3, ?4, ?5, 0)", row).unwrap();
        }
    }
    all.commit().unwrap();
}
