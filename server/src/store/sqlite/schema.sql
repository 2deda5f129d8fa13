-- Layout 2. Created in one transaction; several servers may share the file.
CREATE TABLE campaigns (
    number          INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL,
    coupons         INTEGER NOT NULL,
    starts_at_us    INTEGER NOT NULL,            -- unix microseconds
    per_user_limit  INTEGER NOT NULL,            -- 0 or 1
    issued          INTEGER NOT NULL DEFAULT 0,
    created_at_us   INTEGER NOT NULL,
    create_key      TEXT    UNIQUE,              -- idempotency key of its creation
    cancelled_at_us INTEGER,
    opened_at_us    INTEGER                      -- when the scheduler saw its start; nothing depends on it
);
CREATE INDEX campaigns_to_open ON campaigns (starts_at_us)
WHERE opened_at_us IS NULL AND cancelled_at_us IS NULL;

-- One row: which instance opens campaigns, and until when it does.
CREATE TABLE lead (
    name      TEXT    NOT NULL,
    until_us  INTEGER NOT NULL
);
INSERT INTO lead VALUES ('', 0);

CREATE TABLE coupons (
    campaign      INTEGER NOT NULL,
    seq           INTEGER NOT NULL,              -- from 1
    code          TEXT    NOT NULL,
    user          TEXT,                          -- as it was sent
    holder        TEXT,                          -- what the user is found by, however it is spelled
    key           TEXT,                          -- idempotency key
    issued_at_us  INTEGER NOT NULL,
    PRIMARY KEY (campaign, seq)
) WITHOUT ROWID;

CREATE UNIQUE INDEX coupons_by_code ON coupons (code);
-- Finds both the coupon of a user and the coupon of a user's key.
CREATE INDEX coupons_by_holder ON coupons (campaign, holder, key);

PRAGMA application_id = 1131378032;
PRAGMA user_version = 2;
