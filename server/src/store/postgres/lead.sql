-- Takes or keeps the lead, and opens what is due. next_us is the next start; null where there is none.
CREATE FUNCTION coupon.lead(instance text, lease_us bigint)
RETURNS TABLE (leads boolean, now_us bigint, next_us bigint, opened integer[])
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    now_us := coupon.now_us();
    -- Nobody leads for longer than a lease: one that ends later is of a clock that was put back.
    UPDATE coupon.leader l SET name = instance, until_us = coupon.now_us() + lease_us
    WHERE l.name = instance
        OR l.until_us NOT BETWEEN coupon.now_us() + 1 AND coupon.now_us() + lease_us;
    leads := FOUND;
    IF leads THEN
        WITH due AS (
            UPDATE coupon.campaigns c SET opened_at_us = coupon.now_us()
            WHERE c.opened_at_us IS NULL AND c.cancelled_at_us IS NULL
                AND c.starts_at_us <= coupon.now_us()
            RETURNING c.number
        )
        SELECT array_agg(number) INTO opened FROM due;
        now_us := coupon.now_us();
        SELECT min(c.starts_at_us) INTO next_us
        FROM coupon.campaigns c WHERE c.opened_at_us IS NULL AND c.cancelled_at_us IS NULL;
    END IF;
    RETURN NEXT;
END
$$;
