-- One row without a coupon where there are none: otherwise there is no such campaign.
SELECT c.seq, c.code, c."user", c.issued_at_us
FROM coupon.campaigns LEFT JOIN LATERAL (
    SELECT seq, code, "user", issued_at_us FROM coupon.coupons
    WHERE campaign = number AND seq > $2 ORDER BY seq LIMIT $3
) c ON true
WHERE number = $1 ORDER BY c.seq;
