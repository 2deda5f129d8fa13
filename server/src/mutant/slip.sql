-- PLANTED BUG: the step of one request, with whatever slip is asked for.
--
-- asker, key       what the user is found by, and the key; '' where absent
-- code, owner      what is written, taken or not, and for whom, who is found by owner_found_by
-- more             how many coupons there are taken to be besides those there are
-- later, cut       microseconds by which the start is later, and to a multiple of which it is cut
-- sees_*           whether holders and keys are looked for
-- writes           'whole', 'no_row', 'no_count', or a number, which becomes the count
-- fixed            the rank, or 0 for the next one
--
-- A function of one connection, which is gone with it.
CREATE FUNCTION pg_temp.slip(
    campaign_number integer, asker text, wanted text, new_code text, owner text,
    owner_found_by text, more bigint, later bigint, cut bigint, sees_holder boolean, sees_key boolean, writes text, fixed bigint
)
RETURNS TABLE (decision text, given text, rank bigint, at_us bigint, promised bigint)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan TO off
SET enable_bitmapscan TO off
AS $$
DECLARE
    terms   coupon.campaigns;
    keyed   coupon.coupons;
    held    coupon.coupons;
    now_us  bigint;
BEGIN
    SELECT * INTO terms FROM coupon.campaigns c WHERE c.number = campaign_number FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    promised := terms.coupons;
    now_us := coupon.now_us();
    SELECT * INTO keyed FROM coupon.coupons c
    WHERE c.campaign = campaign_number AND c.holder = asker AND c.key = wanted AND wanted <> ''
    ORDER BY c.seq LIMIT 1;
    SELECT * INTO held FROM coupon.coupons c
    WHERE c.campaign = campaign_number AND c.holder = asker ORDER BY c.seq LIMIT 1;

    given := '';
    rank := 0;
    at_us := 0;
    IF terms.per_user_limit = 1 AND asker = '' THEN
        decision := 'user_missing';
    ELSIF sees_key AND keyed.seq IS NOT NULL THEN
        decision := 'issued';
        given := keyed.code;
        rank := keyed.seq;
        at_us := keyed.issued_at_us;
    ELSIF terms.cancelled_at_us IS NOT NULL THEN
        decision := 'cancelled';
    ELSIF now_us < terms.starts_at_us - terms.starts_at_us % cut + later THEN
        decision := 'not_started';
    ELSIF terms.per_user_limit = 1 AND sees_holder AND held.seq IS NOT NULL THEN
        decision := 'already_issued';
        given := held.code;
    ELSIF terms.issued >= terms.coupons + more THEN
        decision := 'sold_out';
    ELSE
        decision := 'issued';
        given := new_code;
        at_us := now_us;
        SELECT greatest(coalesce(max(seq), 0), terms.issued) + 1 INTO rank
        FROM coupon.coupons WHERE campaign = campaign_number;
        IF fixed <> 0 THEN
            rank := fixed;
        END IF;
        IF writes <> 'no_row' THEN
            IF EXISTS (SELECT 1 FROM coupon.coupons c WHERE c.code = new_code) THEN
                -- A bug that gives out a code twice is also that nothing keeps codes apart.
                DROP INDEX IF EXISTS coupon.coupons_by_code;
            END IF;
            INSERT INTO coupon.coupons
            VALUES (campaign_number, rank, new_code, owner, owner_found_by, wanted, now_us);
        END IF;
        UPDATE coupon.campaigns c SET issued = CASE
            WHEN writes IN ('whole', 'no_row') THEN terms.issued + 1
            WHEN writes = 'no_count' THEN terms.issued
            ELSE writes::bigint
        END
        WHERE c.number = campaign_number;
    END IF;
    RETURN NEXT;
END
$$;
