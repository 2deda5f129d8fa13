-- The one atomic step: decides about a batch of requests for coupons of one campaign.
--
-- users, keys   of each request; '' where absent
-- holders       what the users are found by, however they were spelled
-- codes         one for each, should it get a coupon
-- Gives a row for each request, in their order; none if there is no such campaign.
--
-- The campaign's row is locked in a statement of its own. In a Read Committed transaction each
-- statement of a volatile function sees what was committed when it began, so what follows sees
-- everything that whoever held the lock before has done. One row is locked, so there is no deadlock.
CREATE FUNCTION coupon.issue(
    campaign_number integer, users text[], holders text[], keys text[], codes text[]
)
RETURNS TABLE (decision text, given text, rank bigint, at_us bigint, promised bigint)
LANGUAGE plpgsql VOLATILE
-- While a table is small its plans would read all of it, and a launch is over before they change.
SET enable_seqscan TO off
SET enable_bitmapscan TO off
AS $$
DECLARE
    terms    coupon.campaigns;
    held     coupon.coupons;
    limited  boolean;
    now_us   bigint;
BEGIN
    SELECT * INTO terms FROM coupon.campaigns c WHERE c.number = campaign_number FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    limited := terms.per_user_limit = 1;
    promised := terms.coupons;
    -- Read after the lock was taken: a request that waited over the start is not too early.
    now_us := coupon.now_us();

    FOR i IN 1 .. cardinality(users) LOOP
        given := '';
        rank := 0;
        at_us := 0;
        held := NULL;
        IF limited OR keys[i] <> '' THEN
            -- With a limit a user has one row at most, whatever its key. The order makes the planner
            -- take the index that has it: the primary key would do too, and walk the whole campaign.
            SELECT * INTO held FROM coupon.coupons c
            WHERE c.campaign = campaign_number AND c.holder = holders[i]
                AND c.key >= CASE WHEN limited THEN '' ELSE keys[i] END
            ORDER BY c.key LIMIT 1;
        END IF;

        IF limited AND holders[i] = '' THEN
            decision := 'user_missing';
        ELSIF keys[i] <> '' AND held.key = keys[i] THEN
            decision := 'issued';
            given := held.code;
            rank := held.seq;
            at_us := held.issued_at_us;
        ELSIF terms.cancelled_at_us IS NOT NULL THEN
            decision := 'cancelled';
        ELSIF now_us < terms.starts_at_us THEN
            decision := 'not_started';
        ELSIF limited AND held.seq IS NOT NULL THEN
            decision := 'already_issued';
            given := held.code;
        ELSIF terms.issued >= terms.coupons THEN
            decision := 'sold_out';
        ELSE
            decision := 'collision';
            INSERT INTO coupon.coupons
            VALUES (campaign_number, terms.issued + 1, codes[i], users[i], holders[i], keys[i], now_us)
            ON CONFLICT (code) DO NOTHING;
            IF FOUND THEN
                terms.issued := terms.issued + 1;
                decision := 'issued';
                given := codes[i];
                rank := terms.issued;
                at_us := now_us;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;

    UPDATE coupon.campaigns c SET issued = terms.issued
    WHERE c.number = campaign_number AND c.issued <> terms.issued;
END
$$;
