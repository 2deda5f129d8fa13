//! TLS between the server and its store: who the store is gets checked, by the authority that one names.

use std::path::PathBuf;

use crate::instance::{Instance, command, refused};

/// A file with the authority's certificate.
fn file(tls: &e2e::Tls) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, &tls.authority).unwrap();
    (dir, file)
}

async fn issues(url: &str, flags: &[&str]) {
    let instance = Instance::start(command(url).args(flags));
    let id = instance.create(1, -1, false).await.id;
    instance.issue(&id, None, None).await.coupon();
}

#[tokio::test]
async fn a_redis_is_reached_by_tls_and_has_to_be_who_it_says() {
    let tls = e2e::Tls::new();
    let redis = e2e::Redis::start_with_tls(&tls);
    let ((_dir, ours), (_other_dir, other)) = (file(&tls), file(&e2e::Tls::new()));
    let url = redis.tls_url();
    issues(&url, &["--store-ca", ours.to_str().unwrap()]).await;

    let by_name = url.replace("127.0.0.1", "localhost");
    for (url, ca) in [(&url, Some(&other)), (&url, None), (&by_name, Some(&ours))] {
        let mut command = command(url);
        if let Some(ca) = ca {
            command.arg("--store-ca").arg(ca);
        }
        let line = refused(&mut command);
        assert!(line.contains("no store at rediss://") && line.contains("certificate"), "{line}");
    }
}

#[tokio::test]
async fn a_cluster_and_sentinels_are_reached_by_tls_and_have_to_be_who_they_say() {
    let tls = e2e::Tls::new();
    let ((_dir, ours), (_other_dir, other)) = (file(&tls), file(&e2e::Tls::new()));
    let cluster = e2e::RedisCluster::start_with_tls(&tls);
    let servers = e2e::RedisSentinel::start_with_tls(&tls);
    for url in [cluster.tls_url(), format!("rediss-sentinel://{}", servers.place())] {
        issues(&url, &["--store-ca", ours.to_str().unwrap()]).await;
        for ca in [Some(&other), None] {
            let mut command = command(&url);
            if let Some(ca) = ca {
                command.arg("--store-ca").arg(ca);
            }
            let line = refused(&mut command);
            let place = url.split("://").next().unwrap();
            assert!(line.contains(&format!("no store at {place}://")), "{line}");
        }
    }
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own() {
    let servers = e2e::RedisSentinel::start_with_passwords("of@servers", "of@sentinel");
    let url = |login: &str, parameters: &str| {
        format!("redis-sentinel://{login}{}{parameters}", servers.place())
    };
    let (login, parameters) = (":of%40servers@", "?sentinel_password=of%40sentinel");
    issues(&url(login, parameters), &[]).await;
    let named = "?sentinel_user=default&sentinel_password=of%40sentinel";
    issues(&url(login, named), &[]).await;
    for (login, parameters) in [
        (login, ""),
        (login, "?sentinel_password=of%40servers"),
        ("", parameters),
        (":of%40sentinel@", parameters),
    ] {
        let line = refused(&mut command(&url(login, parameters)));
        assert!(line.contains("no store at redis-sentinel://127.0.0.1"), "{line}");
        assert!(!line.contains("of%40") && !line.contains("of@"), "{line}");
    }
}

#[tokio::test]
async fn a_postgres_is_reached_by_tls_and_has_to_be_who_it_says() {
    let tls = e2e::Tls::new();
    let server = e2e::Postgres::start_with_tls(&tls);
    let ((_dir, ours), (_other_dir, other)) = (file(&tls), file(&e2e::Tls::new()));
    let url = |mode: &str| format!("{}?sslmode={mode}", server.url());
    let by_name = url("verify-full").replace("127.0.0.1", "localhost");
    // Whoever it is: nobody listens in, and that is all.
    issues(&url("require"), &[]).await;
    let ca = ours.to_str().unwrap();
    issues(&format!("{}&sslrootcert={ca}", url("verify-full")), &[]).await;
    let instance = Instance::start(command(&url("verify-full")).args(["--store-ca", ca]));
    instance.create(1, -1, false).await;
    let plain = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) > 0 \
                 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'coupon-server'";
    let told = server.sql(plain);
    assert!(told.ends_with("|f") && !told.starts_with("0|"), "{told}");

    for (url, ca) in
        [(url("verify-full"), Some(&other)), (url("verify-full"), None), (by_name, Some(&ours))]
    {
        let mut command = command(&url);
        if let Some(ca) = ca {
            command.arg("--store-ca").arg(ca);
        }
        let line = refused(&mut command);
        assert!(line.contains("no store at postgres://") && line.contains("certificate"), "{line}");
    }
    let without = e2e::Postgres::start();
    let line = refused(&mut command(&format!("{}?sslmode=require", without.url())));
    assert!(line.contains("does not support TLS"), "{line}");
}

#[test]
fn an_authority_that_is_of_no_use_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let flag = ["--store-ca", file.to_str().unwrap()];
    let line = refused(command("rediss://127.0.0.1:1/0").args(flag));
    assert!(line.contains("ca.pem") && line.contains("No such file"), "{line}");
    std::fs::write(&file, "no certificate").unwrap();
    let line = refused(command("rediss://127.0.0.1:1/0").args(flag));
    assert!(line.contains("ca.pem holds no certificate"), "{line}");
    std::fs::write(&file, e2e::Tls::new().authority).unwrap();
    for url in ["redis://127.0.0.1:1/0", "sqlite:coupons.db"] {
        let line = refused(command(url).args(flag));
        assert!(line.contains("--store-ca is for TLS"), "{url}: {line}");
    }
}
