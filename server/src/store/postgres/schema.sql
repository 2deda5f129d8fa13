-- Layout 2. Created in one transaction, under an advisory lock: several servers may start at once.
CREATE SCHEMA coupon;

-- One row. Written to see whether anything can be.
CREATE TABLE coupon.layout (
    version  integer NOT NULL
);
INSERT INTO coupon.layout VALUES (2);

CREATE TABLE coupon.campaigns (
    -- 188^3: the prefix of a code tells no more campaigns apart.
    number          integer GENERATED ALWAYS AS IDENTITY (MAXVALUE 6644672) PRIMARY KEY,
    name            text    NOT NULL,
    coupons         bigint  NOT NULL,
    starts_at_us    bigint  NOT NULL,            -- unix microseconds
    per_user_limit  integer NOT NULL,            -- 0 or 1
    issued          bigint  NOT NULL DEFAULT 0,
    created_at_us   bigint  NOT NULL,
    create_key      text    COLLATE "C" UNIQUE,  -- idempotency key of its creation
    cancelled_at_us bigint,
    opened_at_us    bigint                       -- when the scheduler saw its start; nothing depends on it
) WITH (fillfactor = 50);                        -- room for the next counts beside the last one
CREATE INDEX campaigns_to_open ON coupon.campaigns (starts_at_us)
WHERE opened_at_us IS NULL AND cancelled_at_us IS NULL;

-- One row: which instance opens campaigns, and until when it does.
CREATE TABLE coupon.leader (
    name      text    NOT NULL,
    until_us  bigint  NOT NULL
);
INSERT INTO coupon.leader VALUES ('', 0);

CREATE TABLE coupon.coupons (
    campaign      integer NOT NULL,
    seq           bigint  NOT NULL,              -- from 1
    code          text    COLLATE "C" NOT NULL,
    "user"        text    COLLATE "C" NOT NULL,  -- as it was sent; '' where absent
    holder        text    COLLATE "C" NOT NULL,  -- what the user is found by, however it is spelled
    key           text    COLLATE "C" NOT NULL,  -- idempotency key; '' where absent
    issued_at_us  bigint  NOT NULL,
    PRIMARY KEY (campaign, seq)
);

CREATE UNIQUE INDEX coupons_by_code ON coupon.coupons (code);
-- Finds both the coupon of a user and the coupon of a user's key.
CREATE INDEX coupons_by_holder ON coupon.coupons (campaign, holder, key);

-- The clock of this store. now() would be when the transaction began, before it waited for the lock.
CREATE FUNCTION coupon.now_us() RETURNS bigint LANGUAGE sql VOLATILE
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
