SELECT code, seq, issued_at_us FROM coupons INDEXED BY coupons_by_user
WHERE campaign = ?1 AND user IS ?2 AND key = ?3 ORDER BY seq LIMIT 1;
