-- Layout 1. Created in one transaction; several servers may share the file.
CREATE TABLE campaigns (
    number          INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL,
    coupons         INTEGER NOT NULL,
    starts_at_us    INTEGER NOT NULL,            -- unix microseconds
    per_user_limit  INTEGER NOT NULL,            -- 0 or 1
    issued          INTEGER NOT NULL DEFAULT 0,
    created_at_us   INTEGER NOT NULL
);

CREATE TABLE coupons (
    campaign      INTEGER NOT NULL,
    seq           INTEGER NOT NULL,              -- from 1
    code          TEXT    NOT NULL,
    user          TEXT,
    key           TEXT,                          -- idempotency key
    issued_at_us  INTEGER NOT NULL,
    PRIMARY KEY (campaign, seq)
) WITHOUT ROWID;

CREATE UNIQUE INDEX coupons_by_code ON coupons (code);
-- Finds both the coupon of a user and the coupon of a user's key.
CREATE INDEX coupons_by_user ON coupons (campaign, user, key);

PRAGMA application_id = 1131378032;
PRAGMA user_version = 1;
